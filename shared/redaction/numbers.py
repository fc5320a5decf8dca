"""Phones, identity numbers and bank cards: runs of digits that are valid, however they are split."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from shared.redaction.scan import Span

# a run: digits with up to three blanks, dashes or dots between two of them; always matches what it starts, hence linear
_RUN: Final = re.compile(r"[0-9](?:[ .\-_()]{0,3}[0-9])*(?:[ \-]?[Xx](?![A-Za-z0-9]))?")
_GROUP: Final = re.compile(r"[0-9]+[Xx]?|[Xx]")
_MASKED: Final = re.compile(r"(?<![0-9*])1[3-9][0-9][*×xX]{4}[0-9]{4}(?![0-9])")
_EXTENSION: Final = re.compile(r" ?(?:转|-|分机) ?[0-9]{1,5}(?![0-9])")

_SPELLED: Final = {"〇": "0", "零": "0", "○": "0", "幺": "1", "两": "2"} | {
    char: str(value) for row in ("一二三四五六七八九", "壹贰叁肆伍陆柒捌玖") for value, char in enumerate(row, start=1)
}
_SPELLED_CLASS: Final = "0-9" + "".join(_SPELLED)
_SPELLED_RUN: Final = re.compile(rf"[{_SPELLED_CLASS}](?:[ .\-、，,]{{0,2}}[{_SPELLED_CLASS}])*")

# words right before a number that say what it is
_PHONE_WORD: Final = re.compile(
    r"(?:电话|手机|座机|固话|号码|联系方式|来电|致电|拨打|回电|传真|热线|tel|phone|mobile|TEL|Tel)"
    r"(?:号码|号|是|为|[:：]|[ (（])*$"
)
_ID_WORD: Final = re.compile(r"(?:身份证|证件|身份)(?:号码|号|是|为|[:：]|[ (（])*$")
_CARD_WORD: Final = re.compile(
    r"(?:银行卡|卡号|账号|帐号|账户|帐户|储蓄卡|信用卡|借记卡|尾号)(?:号码|号|是|为|[:：]|[ (（])*$"
)
_OTHER_WORD: Final = re.compile(
    r"(?:工单|单号|订单|编号|表号|户号|电表|水表|气表|燃气表|流水|运单|快递|车架|合同|发票|案件|案号|文号|批号|条码|型号|受理|受理号|凭证|序号|资产号|设备号|纳税人识别|信用代码)"
    r"(?:号码|编号|单号|号|是|为|[:：#]|[ (（])*$"
)
_LOOK_BACK: Final = 14

_PROVINCES: Final = frozenset(
    str(code)
    for code in (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66))
) | {"71", "81", "82", "83"}
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK: Final = "10X98765432"
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CARD_PREFIX: Final = re.compile(r"62|4|5[1-5]|35|60|69|68|955[89]|940|900|2[2-7]|84|87|9[08]")
_LANDLINE: Final = re.compile(r"0(?:10|2[0-9])[2-9][0-9]{7}|0[3-9][0-9]{2}[2-9][0-9]{6,7}")
_SERVICE: Final = re.compile(r"[48]00[0-9]{7}")
_MOBILE: Final = re.compile(r"(?:00?86|86)?1[3-9][0-9]{9}")


def is_id_number(value: str) -> bool:
    """Whether ``value`` is a citizen's number: 18 characters with the check of GB 11643-1999, or the old 15 digits."""
    if len(value) == 18:
        if not value[:17].isdigit() or value[:2] not in _PROVINCES:
            return False
        if not "1880" <= value[6:10] <= "2099" or not _is_day(value[10:14]):
            return False
        return _CHECK[sum(int(d) * w for d, w in zip(value, _WEIGHTS, strict=False)) % 11] == value[17].upper()
    return len(value) == 15 and value.isdigit() and value[:2] in _PROVINCES and _is_day(value[8:12])


def is_bank_card(value: str) -> bool:
    """Whether ``value`` is a card number of 16–19 digits with an issuer's prefix and Luhn's check (ISO/IEC 7812)."""
    if not (16 <= len(value) <= 19 and value.isdigit() and _CARD_PREFIX.match(value)):
        return False
    total = 0
    for index, char in enumerate(reversed(value)):
        digit = int(char) * (1 + index % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def _is_day(mmdd: str) -> bool:
    month, day = int(mmdd[:2]), int(mmdd[2:])
    return 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]


def kind_of(value: str) -> str | None:
    """The kind a bare number has by its own shape, or None."""
    size = len(value)
    if size in (15, 18) and is_id_number(value):
        return "id_number"
    if 16 <= size <= 19 and is_bank_card(value):
        return "bank_card"
    if 11 <= size <= 15 and _MOBILE.fullmatch(value):
        return "phone"
    if (10 <= size <= 12 and _LANDLINE.fullmatch(value)) or (size == 10 and _SERVICE.fullmatch(value)):
        return "phone"
    return None


def find_numbers(text: str) -> list[Span]:
    """Phones, identity numbers and cards written in digits."""
    spans = [Span(*match.span(), "phone") for match in _MASKED.finditer(text)] if "*" in text or "×" in text else []
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= 7:
            spans += _in_run(text, run.start(), run.end())
    return spans


def _in_run(text: str, start: int, end: int) -> list[Span]:
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    spans: list[Span] = []
    index = 0
    while index < len(groups):
        span, used = _at(text, groups, index)
        if span is not None:
            spans.append(span)
        index += used
    return spans


def _at(text: str, groups: list[tuple[int, int]], index: int) -> tuple[Span | None, int]:
    """What begins at group ``index`` and how many groups it takes; (None, 1) when nothing does."""
    start, end = groups[index]
    value = text[start:end]
    last = len(groups) - 1
    before = text[max(0, start - _LOOK_BACK) : start]
    foreign = before.endswith("+")
    if (kind := kind_of(value)) is not None:
        return _accept(text, before, start, end, kind), 1
    if len(value) >= 20:
        return (Span(start, end, _kind_of_chain(value)), 1) if _kind_of_chain(value) else (None, 1)
    joined, separator, best = value, "", None
    for stop in range(index + 1, min(last, index + 18) + 1):
        gap = text[groups[stop - 1][1] : groups[stop][0]].strip(" ") or " "
        gap = gap.strip("()") or " "
        # 139 2018-01-01 is a number and a date: one number keeps one separator, a country or area code may differ
        if stop > index + (2 if joined in ("86", "0086") else 1) and separator and gap != separator:
            break
        separator = "" if len(joined) <= 4 and joined[0] in "08" and stop == index + 1 else gap
        joined += text[groups[stop][0] : groups[stop][1]]
        if len(joined) > 19:
            break
        if (kind := kind_of(joined)) is not None:
            best = (stop, kind)
    if best is not None:
        stop, kind = best
        return _accept(text, before, start, groups[stop][1], kind), stop - index + 1
    return _by_words(text, groups, index, before, foreign)


def _by_words(
    text: str, groups: list[tuple[int, int]], index: int, before: str, foreign: bool
) -> tuple[Span | None, int]:
    """Numbers that are only what the words before them say: local landlines, foreign phones, mistyped ones."""
    start, end = groups[index]
    size = end - start
    if foreign:
        stop, total = index, size
        while stop + 1 < len(groups) and total < 8:
            stop += 1
            total += groups[stop][1] - groups[stop][0]
        if 8 <= total <= 15:
            return Span(start - 1, groups[stop][1], "phone"), stop - index + 1
    if 15 <= size <= 19 and _ID_WORD.search(before):
        return Span(start, end, "id_number"), 1
    if 12 <= size <= 19 and _CARD_WORD.search(before):
        return Span(start, end, "bank_card"), 1
    if _PHONE_WORD.search(before):
        if 7 <= size <= 13:
            return Span(start, _with_extension(text, end), "phone"), 1
        if 3 <= size <= 4 and index + 1 < len(groups):
            total = size + groups[index + 1][1] - groups[index + 1][0]
            if total in (7, 8):  # 6688 6688
                return Span(start, _with_extension(text, groups[index + 1][1]), "phone"), 2
    return None, 1


def _accept(text: str, before: str, start: int, end: int, kind: str) -> Span | None:
    """Drop what the words before call something else, such as a meter's number of eleven digits."""
    if _OTHER_WORD.search(before) and not _PHONE_WORD.search(before):
        return None
    if kind == "phone":
        if before.endswith("+") or (before.endswith("(") and ")" in text[start:end]):
            start -= 1
        if text[start] in "0(48":
            end = _with_extension(text, end)
    return Span(start, end, kind)


def _with_extension(text: str, end: int) -> int:
    match = _EXTENSION.match(text, end)
    return match.end() if match else end


def _kind_of_chain(value: str) -> str:
    """The kind when a long run is nothing but phones and identity numbers written without a gap; "" otherwise."""
    position, kind = 0, ""
    while position < len(value):
        for size in (18, 11):
            part = value[position : position + size]
            if len(part) == size and kind_of(part) in ("id_number", "phone"):
                kind = kind or kind_of(part) or ""
                position += size
                break
        else:
            return ""
    return kind


def digits_of(text: str) -> str:
    """``text`` with digits for numbers written in Chinese."""
    return "".join(_SPELLED.get(char, char) for char in text)


def find_spelled_numbers(text: str) -> list[Span]:
    """Phones and identity numbers with some or all digits written in Chinese: 一三八零零一三八零零零."""
    spans: list[Span] = []
    for run in _SPELLED_RUN.finditer(text):
        if run.end() - run.start() < 7:
            continue
        places = [i for i in range(run.start(), run.end()) if text[i] in _SPELLED or text[i].isdigit()]
        digits = "".join(_SPELLED.get(text[i], text[i]) for i in places)
        if len(digits) < 7 or all(text[i] not in _SPELLED for i in places):
            continue
        before = text[max(0, run.start() - _LOOK_BACK) : run.start()]
        if _OTHER_WORD.search(before) and not _PHONE_WORD.search(before):
            continue
        for size in (18, 15, 11, 12, 10):
            kind = kind_of(digits[:size]) if len(digits) >= size else None
            if kind is not None and (size == len(digits) or (size in (18, 11) and _ends(text, places, size))):
                spans.append(Span(places[0], places[size - 1] + 1, kind))
                break
        else:
            if 7 <= len(digits) <= 12 and _PHONE_WORD.search(before):
                spans.append(Span(run.start(), run.end(), "phone"))
    return spans


def _ends(text: str, places: list[int], size: int) -> bool:
    """Whether a number may end after its first ``size`` digits: not in the middle of a group of plain digits."""
    last, after = places[size - 1], places[size]
    return not (after == last + 1 and text[last].isdecimal() and text[after].isdecimal())


def find_known_numbers(text: str, numbers: Collection[str]) -> list[Span]:
    """Wherever the digits of ``numbers`` appear, split or spelled in any way; below seven digits is ignored."""
    wanted = []
    for number in numbers:
        value = "".join(char for char in number if char.isdigit() or char in "Xx").upper()
        value = value.removeprefix("0086") if value.startswith("0086") else value
        value = value[2:] if len(value) == 13 and value.startswith("86") else value
        if len(value) >= 7:
            wanted.append((value, "id_number" if len(value) in (15, 18) else "phone"))
    if not wanted:
        return []
    spans: list[Span] = []
    for run in _SPELLED_RUN.finditer(text):
        if run.end() - run.start() < 7:
            continue
        places = [i for i in range(run.start(), run.end()) if text[i] in _SPELLED or text[i].isdigit()]
        tail = re.match(r"[ \-]?[Xx]", text[run.end() : run.end() + 2])
        if tail:
            places.append(run.end() + tail.end() - 1)
        digits = "".join(_SPELLED.get(text[i], text[i]) for i in places).upper()
        for value, kind in wanted:
            at = digits.find(value)
            while at >= 0:
                spans.append(Span(places[at], places[at + len(value) - 1] + 1, kind))
                at = digits.find(value, at + len(value))
    return spans
