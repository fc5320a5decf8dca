"""The exact part of an address: the street, the estate and the region stay, door and room go (domain.md, Privacy)."""

from __future__ import annotations

import re
from typing import Final

from shared.redaction.scan import Claims, Span

_NUMERAL: Final = "0-9一二三四五六七八九十百零〇"
_DOOR: Final = re.compile(
    rf"(?<=[路街道巷弄里同村坊条组队社])(?:第)?(?:[{_NUMERAL}]{{1,5}}(?:-[0-9]{{1,4}})?(?:之[{_NUMERAL}]{{1,2}})?)"
    r"号(?!线|令|文|公交|台风|地铁)(?:院)?"
)
_PART: Final = rf"(?:[A-Za-z]?[{_NUMERAL}]{{1,5}}[A-Za-z]?|[A-Za-z])"
# a building or floor by itself tells no one apart; one with a unit or a room does
_CHAIN: Final = re.compile(
    rf"{_PART}(?:栋|幢|号楼|座|单元|梯|楼|层)"
    rf"(?:[ ,，\-]?{_PART}(?:栋|幢|号楼|座|单元|梯|楼|层)){{0,3}}"
    rf"[ ,，\-]?(?:{_PART}(?:单元|号房|号|室|房|户)(?:[ ,，\-]?[A-Za-z]?[0-9]{{3,4}}(?![0-9]))?"
    r"|[A-Za-z]?[0-9]{3,4}(?![0-9年月日元米平]))"
)
_BUILDING_ROOM: Final = re.compile(
    rf"{_PART}(?:栋|幢|号楼|座|单元)[ \-]?(?:[A-Za-z]?[0-9]{{3,4}}[A-Za-z]?(?:室|房|户|号)?)(?![0-9年月日元])"
)
_ROOM: Final = re.compile(
    r"(?<![0-9A-Za-z])[A-Za-z]?[0-9]{3,4}[A-Za-z]?(?:-[0-9]{1,4})?(?:号房|室|房(?![屋产东价租贷地]))"
)
_DASHED: Final = re.compile(
    r"(?<=[苑园区城庭府湾轩居院村邸阁墅])[A-Za-z]?[0-9]{1,3}(?:-[0-9]{1,4}){2}(?![0-9\-年月日])"
)
_HAS_NUMBER: Final = re.compile(rf"[{_NUMERAL}A-Za-z]")


def find_addresses(text: str) -> list[Span]:
    """Door numbers behind a street, chains of building, unit and room, and rooms of three or four digits."""
    if not _HAS_NUMBER.search(text):
        return []
    claims = Claims(len(text))
    for pattern in (_CHAIN, _BUILDING_ROOM, _DASHED, _ROOM, _DOOR):
        claims.add(Span(*match.span(), "address") for match in pattern.finditer(text))
    return _merged(text, sorted(claims.spans))


def _merged(text: str, spans: list[Span]) -> list[Span]:
    """Neighbouring parts are one place: 72号3栋501房."""
    merged: list[Span] = []
    for span in spans:
        if merged and text[merged[-1].end : span.start].strip(" ,，-") == "":
            merged[-1] = Span(merged[-1].start, span.end, "address")
        else:
            merged.append(span)
    return merged
