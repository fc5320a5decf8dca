"""Terms for the search over Chinese text: overlapping pairs of characters, whole words of letters and digits."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_RUN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+|[a-z0-9]+")
_LONGEST_WORD: Final = 40


def terms(text: str) -> set[str]:
    """All pairs and words of ``text``: 路灯不亮 → 路灯, 灯不, 不亮. A single character on its own is kept as it is."""
    found: set[str] = set()
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).lower()):
        if run[0] < "\u3400" or len(run) == 1:
            found.add(run[:_LONGEST_WORD])
        else:
            found.update(run[i : i + 2] for i in range(len(run) - 1))
    return found


def vector(*texts: str | None) -> str:
    """The text form of PostgreSQL's ``tsvector`` without positions; terms hold neither quotes nor backslashes."""
    return " ".join(sorted(f"'{term}'" for term in terms(" ".join(filter(None, texts)))))


def query(words: str) -> str | None:
    """The text form of a ``tsquery`` for texts that hold every run of ``words``; None when they hold none.

    A run is covered with as few pairs as possible, 核实处理 → 核实, 处理: pairs that overlap are anything but
    independent, and a planner that multiplies their frequencies takes everyday words for rare ones.
    """
    found: set[str] = set()
    for run in _RUN.findall(unicodedata.normalize("NFKC", words).lower()):
        if run[0] < "\u3400" or len(run) == 1:
            found.add(run[:_LONGEST_WORD])
        else:
            found.update(run[i : i + 2] for i in range(0, len(run) - 1, 2))
            found.add(run[-2:])
    return " & ".join(f"'{term}'" for term in sorted(found)) or None


def long_runs(words: str) -> list[str]:
    """Runs of three Chinese characters and more, as written: to be found side by side."""
    return [run for run in _RUN.findall(words) if len(run) >= 3 and run[0] >= "\u3400"]
