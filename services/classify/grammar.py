"""Sentences from a grammar file: what the demo model is trained on (cities/demo/grammar.yaml)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<([a-z]+)>")


@dataclass(frozen=True, slots=True)
class Sentence:
    """An invented text and its matter; `pattern` numbers the pattern it grew from, over all matters."""

    text: str
    code: str
    pattern: int


@dataclass(frozen=True, slots=True)
class Grammar:
    """`{a|b}` chooses, `<name>` takes from a list; a sentence is opening + pattern + closing. `strangers` are
    patterns of no matter: what they give is for calibration only."""

    lists: Mapping[str, Sequence[str]]
    openings: Sequence[str]
    closings: Sequence[str]
    patterns: Mapping[str, Sequence[str]]
    strangers: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path) -> Grammar:
        """Raises OSError, yaml.YAMLError or KeyError for a file that is no grammar."""
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        return cls(body["lists"], body["openings"], body["closings"], body["patterns"], body.get("strangers", ()))

    def sentences(self, per_pattern: int, seed: int) -> list[Sentence]:
        """Up to `per_pattern` different sentences of every pattern; the same seed gives the same sentences."""
        chance = random.Random(seed)
        patterns = [(code, pattern) for code in sorted(self.patterns) for pattern in self.patterns[code]]
        return [
            Sentence(text, code, number)
            for number, (code, pattern) in enumerate(patterns)
            for text in self._some(pattern, per_pattern, chance)
        ]

    def stray(self, per_pattern: int, seed: int) -> list[str]:
        """Up to `per_pattern` different texts of every pattern that belongs to no matter."""
        chance = random.Random(seed)
        return [text for pattern in self.strangers for text in self._some(pattern, per_pattern, chance)]

    def _some(self, pattern: str, count: int, chance: random.Random) -> list[str]:
        texts: dict[str, None] = {}
        for _ in range(count * 3):
            opening, closing = chance.choice(self.openings), chance.choice(self.closings)
            texts.setdefault(self._grow(opening + pattern + closing, chance))
            if len(texts) == count:
                break
        return list(texts)

    def _grow(self, form: str, chance: random.Random) -> str:
        while _CHOICE.search(form):
            form = _CHOICE.sub(lambda found: chance.choice(found[1].split("|")), form)
        return _SLOT.sub(lambda found: chance.choice(self.lists[found[1]]), form)
