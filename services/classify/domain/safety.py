"""Safety words (domain.md, Classification): they raise an appeal to `urgent` whatever the model says, unless the
sentence negates them, speaks of the past, asks about them in general, or only fears them ("不漏气了" is no leak)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

CLAUSE = 60
"""characters on either side of a safety word that its sentence may have"""


@dataclass(frozen=True, slots=True)
class SafetyHit:
    """`word` is the text as written, `hazard` the Chinese name of the danger."""

    hazard: str
    word: str
    start: int


_HAZARDS: dict[str, str] = {
    "燃气泄漏": r"(?:燃气|煤气|天然气|液化气|煤气罐|气罐|燃气管|燃气表)[^。；！？\n]{0,6}?"
    r"(?:泄漏|泄露|漏气|漏了|漏得|在漏|一直漏)"
    r"|(?:很浓|很大|好大|强烈|浓重|一股|到处是?)的?(?:煤气|燃气|天然气)味|有煤气味|闻到[^。，；]{0,4}(?:煤气|燃气|天然气)"
    r"|(?<![胎暖冷球垫床])漏气|挖[断破]了?[^。，；]{0,3}(?:燃气|天然气)管"
    r"|(?:燃气|煤气|天然气)管道?[^。，；]{0,4}(?:挖|压|撞)[断破坏裂]",
    "触电": r"触电|被电[到倒伤死晕]|电[到倒]人|电死人|漏电",
    "坍塌": r"坍塌|垮塌"
    r"|(?:房子|房屋|楼房?|墙|围墙|脚手架|塔吊|桥|屋顶|楼板|阳台|山体)[^。，；！？\n]{0,4}(?:塌了|倒塌|塌下来)",
    "溺水": r"溺水|落水|掉[进到入]了?[^。，；！？\n]{0,6}(?:河|湖|水库|海|江|池塘|鱼塘|井)里?|被水冲走",
    "自杀": r"自杀|轻生|跳楼(?!机)|跳河|割腕|不想活|喝农药|烧炭自",
    "火情": r"着火|起火|失火|火灾(?=[^。；]{0,6}(?:正在|现场|烧|被困))|浓烟|冒黑烟|火苗|火越烧越大|爆炸",
    "电梯困人": r"困在[^。，；！？\n]{0,8}[电货扶]梯|[电货扶]梯[^。；！？\n]{0,14}?(?:困人|困住|被困|关在里面|出不来)"
    r"|[电货扶]梯[^。，；]{0,4}坠落",
    "行凶": r"持刀|拿刀|砍人|捅人|劫持|绑架|杀人|追着打",
    "中毒": r"食物中毒|煤气中毒|一氧化碳中毒|农药中毒|集体(?:呕吐|中毒|腹泻)|上吐下泻",
    "危险品": r"危化品泄漏|化学品泄漏|氨气泄漏|毒气|泄爆",
    "急病": r"没有?呼吸|昏迷不醒|心脏骤停|大出血|休克",
}

_PATTERN = re.compile("|".join(f"(?P<h{number}>{pattern})" for number, pattern in enumerate(_HAZARDS.values())))
_NAMES = tuple(_HAZARDS)


# Before the word, in the same clause: the danger is denied, past, only feared, asked about, or a trade.
_BEFORE = re.compile(
    r"(?:没有?|未|不是|不会|并非|并无|无|不存在|已不|不再|排除|解除)(?:再|出现|发生|发现|闻到|任何|有人|什么)*[^，,。；;]{0,2}$"
    r"|(?:去年|前年|上年|以前|之前|曾经?|曾有|当年|多年前|几年前|前几年|前些年|早年|\d+年前|\d{4}年(?!\d+月)|上个?月|上次|上回|过去)"
    r"(?:(?!过的)[^，,。；;！？今现又刚]){0,16}$"
    r"|(?:防止|预防|避免|防|以免|免得|谨防|严防|防范)[^，,。；;]{0,6}$"
    r"|(?:担心|害怕|生怕|怕|万一|如果|假如|要是|一旦|容易|会不会|会导致|会引起)[^，,。；;]{0,10}$"
    r"|(?:烟花|鞭炮|爆竹|礼花)[^，,。；;]{0,6}$"
    r"|(?P<asked>(?:咨询|请问|想问|想了解|宣传|讲座|演练|培训|保险|谣言|电影|新闻|小说|电视剧|游戏)[^，,。；;]{0,8}$)"
)
# After the word: it is over, or it is a word of another thing.
_AFTER = re.compile(
    r"^(?:了?的?(?:隐患|风险|可能|危险|预防|宣传|演练|保险|报警器|报警装置|检测|探测|保护器|开关|保护|知识|赔偿|事故?(?:赔偿|鉴定|善后)|后遗症|疗法|险(?!情)|干预"
    r"|(?:急救|救援|应急)?(?:培训|热线|知识|演习)|后的?(?:重建|赔偿|补助|善后)|一样|似的))"
    r"|^[^。；;！？又再还]{0,6}(?:已经?|都)(?:扑灭|灭了|救出|救上来|排除|解除)"
    r"|^[^，,。；;]{0,4}(?:是谣言|是假的|纯属谣言)"
    r"|^[^，,。；;]{0,4}(?:已经?|都)?(?:修好|解决|处理好|扑灭|灭了|排除|解除|救上来|救出|出来了|没事|恢复|好了)"
    r"|^(?:的?(?:价格|活动|价|大甩卖))"
    r"|^(?:不(?!管|理|处理|来)|没(?!人|有人|来))"
    r"|^[^。；;！？]{0,10}(?:怎么办理|如何预防|怎么预防|是不是真的|吗[？?]?$)"
)
_NOW = re.compile(r"今天|今早|刚刚|刚才|现在|正在|又")
_DENIED_INSIDE = re.compile(r"没有?(?:困|被困|人被)|未困|[怕恐]被?困|担心|万一")
_HERE = re.compile(r"还在(?:里面|水里|漏|烧|屋里|现场)|还没有?(?:捞|救|出来)|快来|赶紧|马上派|救命|家里闻到")
"""what a person says who asks about a danger that is there"""
_SMOKE_OF_OTHERS = re.compile(r"(?:烟囱|汽车|货车|公交车|摩托车|尾气|锅炉|油烟)[^，,。；;]{0,6}$")
_NOT_ANY_MORE = re.compile(r"(?:已经|现在|目前|早就)?(?:不|没有?|没再)(?:再)?$")


def safety_hits(text: str) -> list[SafetyHit]:
    """Every danger that the text reports as present, in order; at most one for each hazard."""
    hits: dict[str, SafetyHit] = {}
    for hit in _named(text):
        if hit.hazard not in hits and not _guarded(text, hit.start, hit.start + len(hit.word)):
            hits[hit.hazard] = hit
    return list(hits.values())


def names_no_danger(text: str) -> bool:
    """Whether the text has safety words, and each is denied, past, feared or asked about."""
    named = _named(text)
    return bool(named) and all(_guarded(text, hit.start, hit.start + len(hit.word)) for hit in named)


def _named(text: str) -> list[SafetyHit]:
    """Every safety word of the text, whatever the sentence says about it."""
    return [
        SafetyHit(_NAMES[int(match.lastgroup[1:])], match.group(), match.start())
        for match in _PATTERN.finditer(text)
        if match.lastgroup is not None
    ]


def _guarded(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - 24) : start]
    after = text[end : end + 16]
    inside = text[start:end]
    if _DENIED_INSIDE.search(inside) or (inside in ("冒黑烟", "浓烟") and _SMOKE_OF_OTHERS.search(before)):
        return True
    if "不" in inside and "不想活" not in inside and "昏迷不醒" not in inside and "出不来" not in inside:
        return True
    if not _NOW.search(inside):
        found = _BEFORE.search(before)
        if found is not None and found.lastgroup == "asked" and _HERE.search(text):
            found = None
        if found is not None or _NOT_ANY_MORE.search(before):
            return True
    return bool(_AFTER.search(after))


def clause(text: str, hit: SafetyHit) -> str:
    """The sentence that a danger stands in, in Chinese characters alone: what is compared once a person judged it."""
    start = max(text.rfind(mark, 0, hit.start) for mark in "。！？；!?;\n") + 1
    ends = [end for mark in "。！？；!?;\n" if (end := text.find(mark, hit.start + len(hit.word))) >= 0]
    said = text[max(start, hit.start - CLAUSE) : min([*ends, hit.start + CLAUSE])]
    return "".join(char for char in said if "\u4e00" <= char <= "\u9fff")


def hazards(hits: Sequence[SafetyHit]) -> str:
    """The words for a timeline: `燃气泄漏（漏气）、触电（漏电）`."""
    return "、".join(f"{hit.hazard}（{hit.word}）" for hit in hits)
