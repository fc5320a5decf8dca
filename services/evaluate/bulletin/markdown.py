"""A bulletin as Markdown (GitHub tables). What a unit is called comes from outside and is escaped."""

from __future__ import annotations

import re

from services.evaluate.bulletin.content import Bulletin, Intervals, Lines, Part, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def markdown(bulletin: Bulletin) -> str:
    """The text."""
    blocks = [f"# {_plain(bulletin.title)}", f"*{_plain(bulletin.subtitle)}*"]
    for number, section in enumerate(bulletin.sections, start=1):
        blocks.append(f"## {number}. {_plain(section.title)}")
        blocks += [_block(part) for part in section.parts]
    return "\n\n".join(blocks) + "\n"


def _block(part: Part) -> str:
    match part:
        case Table(head, rows):
            return "\n".join([_row(head), _row(["---"] * len(head), plain=False), *(_row(row) for row in rows)])
        case Lines(title, months, values):
            rows = [[name, *("—" if v is None else f"{v:.1f}" for v in series)] for name, series in values.items()]
            return f"{_plain(title)}\n\n" + _block(Table(["", *months], rows, []))
        case Intervals(title, rows):
            shown = [
                [name, f"{value * 100:.1f}", f"{low * 100:.1f}–{high * 100:.1f}"] for name, low, value, high in rows
            ]
            return f"{_plain(title)}\n\n" + _block(Table(["单位", "率", "95%区间"], shown, []))
        case str():
            return _plain(part)


def _row(cells: object, *, plain: bool = True) -> str:
    texts = [str(cell) for cell in cells]  # type: ignore[attr-defined]
    return "| " + " | ".join(_plain(text) if plain else text for text in texts) + " |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
