"""Names of people where the text marks them: beside a form of address, after a label, before a phone."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from shared.redaction.scan import Span

# the hundred most frequent surnames cover 85 % of the population; those that are also everyday words stand apart
_COMMON: Final = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱林何郭罗梁宋郑谢韩唐冯董萧肖程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎闫余潘杜戴夏钟汪"
    "田姜范姚谭廖邹熊陆郝孔崔康毛邱秦史顾侯邵孟龙段雷钱汤尹黎武乔贺赖龚樊兰殷施陶洪翟颜倪严牛温芦季俞章鲁葛韦申尤毕聂"
    "焦向柳邢岳齐梅莫庄辛耿涂祝甘符詹冼麦吉蒙卓邝岑欧柯阮凌冉覃蓝蒲骆裴窦滕屈鲍苗左霍谷辜戚巫桂"
    "马高"
)
_EVERYDAY: Final = frozenset(
    "于任方万石金江白安常文成平关管时和包明祁伍车班全单路宁权凤费乐戈水华曲房党冷解应宗仇项官司甄"
)
_COMPOUND: Final = (
    "欧阳",
    "司马",
    "上官",
    "诸葛",
    "东方",
    "皇甫",
    "尉迟",
    "公孙",
    "慕容",
    "令狐",
    "司徒",
    "端木",
    "夏侯",
)

_PERSON_TITLE: Final = re.compile("先生|女士|小姐|太太|阿姨|大爷|大妈|大叔|大姐|大哥")
_JOB_TITLE: Final = re.compile(
    "(?<!副)(?:同志|师傅|老师|医生|大夫|律师|警官|老板|总?经理|主任|局长|处长|科长|所长|队长|站长|院长|校长|书记|主席"
    "|村长|镇长|区长|市长|会长|园长|店长|护士长?)"
)
_LABEL: Final = re.compile(
    "(?:姓名|联系人|我叫|本人叫|名叫|叫做|投诉人|举报人|申请人|当事人|来电人|反映人|诉求人|报料人|被投诉人|法定代表人|法人代表|法人"
    "|负责人|经办人|收件人|户主|房东|业主|租客|患者|病人|死者|伤者|司机|店主|家长|学生|丈夫|妻子|老公|老婆|父亲|母亲|儿子|女儿|孩子"
    "|爷爷|奶奶|哥哥|弟弟|姐姐|妹妹|邻居|本人|我是|此人|称呼|署名|签名)"
    "([是为叫系名：:( （]{0,3})"
)
_SELF: Final = ("我叫", "本人叫", "名叫", "叫做", "姓名", "联系人", "收件人", "经办人", "署名", "签名", "称呼")
_NEVER_GIVEN: Final = frozenset(
    "替给为让帮由叫找至的了是在有与和或及被把对向跟从到去来想要求请说称认于因为电话手机号反映投诉"
    "咨询住居已曾还就都也不没无未现，。、；：！？（）()《》〔〕“”\"' \n\r\t,.;:!?"
    "0123456789"
)
_NOT_IN_NAME: Final = frozenset("的了说叫我你他她，。、；：！？（）()《》〔〕“”\"' \n\r\t,.;:!?0123456789")
# a place or an office before 村长, 局长, 主任 is no name
_OFFICE: Final = frozenset("村镇乡区市县街道局所队中院园社司店部办组业室处科")
_BOUNDARY: Final = re.compile(
    r"$|[\s，。、；：！？（）()《》〔〕“”\"',.;:!?/]|[0-9+]|的|是|在|有|想|要|反映|来电|住|说|称|认为|于"
    r"|电话|手机|今年|现|因|被|曾|已|等|和|与|先生|女士|同志"
)
_HARD_BOUNDARY: Final = re.compile(r"$|[\s，。、；：！？（）()〔〕,.;:!?/]|[0-9+]|电话|手机|先生|女士")
_NO_NAME_END: Final = frozenset("人生员工者民户主方家校院村市区县面性国期费款")
_BEFORE_NAME: Final = re.compile(r"(?:^|[\s，。、；：！？（）()《》,.;:!?/]|人|是|叫|给|找|由)$")
_FAMILY: Final = re.compile(
    r"(?:我|本人|他|她|其|对方|老板|业主|司机|房东)姓([\u4e00-\u9fff])(?=[\s，。、；,.;（(名]|$)"
)


def find_names(text: str, phones: Collection[Span]) -> list[Span]:
    """Names that the words around them mark as such, and those next to ``phones``, the phones found before."""
    spans = _before_titles(text)
    spans += _after_labels(text)
    spans += [Span(*match.span(1), "name") for match in _FAMILY.finditer(text)]
    for phone in phones:
        spans += _before_phone(text, phone.start)
    return spans


def find_known_names(text: str, names: Collection[str]) -> list[Span]:
    """Every occurrence of a given name of two characters or more, also written with blanks between the characters."""
    spans: list[Span] = []
    for name in names:
        bare = "".join(name.split())
        if len(bare) < 2:
            continue
        pattern = r"[ .]?".join(map(re.escape, bare[:60]))
        spans += [Span(*match.span(), "name") for match in re.finditer(pattern, text)]
    return spans


def _before_titles(text: str) -> list[Span]:
    spans = []
    for pattern, everyday in ((_PERSON_TITLE, True), (_JOB_TITLE, False)):
        for match in pattern.finditer(text):
            end = match.start()
            start = _name_start(text, end, everyday)
            if start is not None:
                spans.append(Span(start, end, "name"))
    return spans


def _name_start(text: str, end: int, everyday: bool) -> int | None:
    """Where the name that ends at ``end`` begins: compound surnames, then a common surname, longest first."""
    for size in (4, 3, 2):
        if end >= size and text[end - size : end - size + 2] in _COMPOUND:
            return end - size
    if not everyday and text[end - 1 : end] in _OFFICE:
        return None
    for size in (3, 2, 1):
        start = end - size
        if start < 0 or not _is_cjk(text, start, end) or any(char in _NOT_IN_NAME for char in text[start:end]):
            continue
        if text[start] in _COMMON:
            return start
    if everyday and end >= 1 and text[end - 1] in _EVERYDAY:
        return end - 1
    return None


def _after_labels(text: str) -> list[Span]:
    spans = []
    for match in _LABEL.finditer(text):
        strong = match.group().startswith(_SELF) or any(char in "：:" for char in match.group(1))
        end = _name_end(text, match.end(), strong)
        if end is not None:
            spans.append(Span(match.end(), end, "name"))
    return spans


def _name_end(text: str, start: int, strong: bool) -> int | None:
    """Where the name that begins at ``start`` ends, or None when no name does.

    After a strong label (我叫, 联系人：) any surname counts and a name without a clear end takes two or three
    characters; otherwise a common surname and a hard boundary are needed.
    """
    surname = 2 if text[start : start + 2] in _COMPOUND else 1
    first = text[start : start + 1]
    if surname == 1 and first not in _COMMON and not (strong and first in _EVERYDAY):
        return None
    boundary = _BOUNDARY if strong else _HARD_BOUNDARY
    for given in (2, 1):
        end = start + surname + given
        if end > len(text) or not _is_cjk(text, start, end):
            continue
        given_name = text[start + surname : end]
        if strong and _HARD_BOUNDARY.match(text, end) and not any(char in _NOT_IN_NAME for char in given_name):
            return end
        if any(char in _NEVER_GIVEN and char not in "有和向来" for char in given_name):
            continue
        if boundary.match(text, end) and (strong or text[end - 1] not in _NO_NAME_END):
            return end
    if not strong:
        return None
    end = start + surname
    while (
        end < len(text) and end < start + surname + 2 and text[end] not in _NEVER_GIVEN and _is_cjk(text, end, end + 1)
    ):
        end += 1
    return end if end > start + surname else None


def _before_phone(text: str, phone: int) -> list[Span]:
    """张三13800138000, 李四：139…; a name here follows a boundary and begins with a common surname."""
    end = phone
    while end > 0 and phone - end < 3 and text[end - 1] in " :：，,(（、":
        end -= 1
    for size in (3, 2):
        start = end - size
        if start < 0 or text[start] not in _COMMON or not _is_cjk(text, start, end):
            continue
        if any(char in _NOT_IN_NAME for char in text[start + 1 : end]):
            continue
        if _BEFORE_NAME.search(text[max(0, start - 1) : start]):
            return [Span(start, end, "name")]
    return []


def _is_cjk(text: str, start: int, end: int) -> bool:
    return all("\u4e00" <= char <= "\u9fff" for char in text[start:end])
