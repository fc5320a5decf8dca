"""What every finder shares: the span it reports and the width-normalised text it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple


class Span(NamedTuple):
    """Half-open range of characters and what was found in it."""

    start: int
    end: int
    kind: str


# one character to one character, so positions in the normalised text are positions in the original
_WIDTH: Final = {
    **{0xFF01 + i: 0x21 + i for i in range(94)},
    **{0x2460 + i: 0x31 + i for i in range(9)},  # ①…⑨
    **{0x1D7CE + i: 0x30 + i % 10 for i in range(50)},  # mathematical digits
    **{0x0660 + i: 0x30 + i for i in range(10)},
    **dict.fromkeys((0xA0, 0x3000, *range(0x2000, 0x2010), 0x202F, 0x205F, 0x2060, 0xFEFF, 0x09), 0x20),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0x2500, 0x30FC, 0xFE58), 0x2D),
    **dict.fromkeys((0xB7, 0x2022, 0x2027, 0x2219, 0x22C5, 0x30FB), 0x2E),
}


def normalise(text: str) -> str:
    """The same text with full-width and look-alike digits, letters, blanks, dashes and dots made ASCII; same length."""
    return text if text.isascii() else text.translate(_WIDTH)


class Claims:
    """Which characters are taken; the first finder to claim a range keeps it. A look-up costs the range's length."""

    def __init__(self, length: int) -> None:
        self._taken = bytearray(length)
        self.spans: list[Span] = []

    def add(self, found: Iterable[Span]) -> None:
        """Keep those of ``found`` that touch nothing taken before."""
        for span in found:
            if self._taken.find(1, span.start, span.end) < 0:
                self._taken[span.start : span.end] = b"\x01" * (span.end - span.start)
                self.spans.append(span)
