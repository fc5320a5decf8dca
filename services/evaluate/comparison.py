"""A month beside the one before it and beside its peers: trend, races, who moved and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from statistics import median
from typing import Any

from services.evaluate.domain import RATES, Counts, Level
from services.evaluate.formula import Formula
from services.evaluate.standings import Standing, last_tenth, race, reasons


@dataclass(frozen=True)
class Comparison:
    """`now` and `before` are the rankings of two months that follow each other; `formula` is that of `now`."""

    level: Level
    formula: Formula
    now: Sequence[Standing]
    before: Sequence[Standing]

    @cached_property
    def lines(self) -> dict[str, dict[str, Any]]:
        """id → what a ranking shows beside rank and score.

        `small_sample`: fewer asked than the formula's `min_asked`. `trend`: score and rank of the month before and the
        change (ranks: positive = places won). `peers`: the median score of those who are ranked on this level, and the
        distance to it. `race`: the rank in each rate. `last_tenth`: see `standings.last_tenth`.
        """
        then = {standing.name: standing for standing in self.before}
        scores = [standing.score for standing in self.now if standing.rank is not None and standing.score is not None]
        middle = median(scores) if scores else None
        races, last = race(list(self.now)), last_tenth(list(self.now))
        return {
            one.name: {
                "small_sample": one.counts.asked < self.formula.min_asked,
                "last_tenth": one.name in last,
                "trend": _trend(then.get(one.name), one),
                "peers": {"median_score": _number(middle), "distance": _difference(one.score, middle)},
                "race": {rate: races[rate].get(one.name) for rate in RATES},
            }
            for one in self.now
        }

    def reasons(self, name: str) -> list[dict[str, Any]]:
        """What moved the score of one since the month before: `{name, points}`, the strongest first; by the formula of
        this month, also where the month before was scored by another."""
        if name not in self._reasons:
            before, now = self._counts[1].get(name, Counts()), self._counts[0].get(name, Counts())
            found = reasons(before, now, self.formula)
            self._reasons[name] = [{"name": word, "points": float(points)} for word, points in found]
        return self._reasons[name]

    @cached_property
    def _reasons(self) -> dict[str, list[dict[str, Any]]]:
        return {}

    @cached_property
    def _counts(self) -> tuple[dict[str, Counts], dict[str, Counts]]:
        return {one.name: one.counts for one in self.now}, {one.name: one.counts for one in self.before}

    def moved(self, most: int) -> tuple[list[str], list[str]]:
        """Who won and who lost the most places among those ranked in both months, at most so many of each."""
        then = {one.name: one.rank for one in self.before}
        steps = [
            (before - one.rank, one.name)
            for one in self.now
            if one.rank is not None and (before := then.get(one.name)) is not None
        ]
        up = sorted((step for step in steps if step[0] > 0), key=lambda step: (-step[0], step[1]))
        down = sorted(step for step in steps if step[0] < 0)
        return [name for _, name in up[:most]], [name for _, name in down[:most]]


def _trend(before: Standing | None, now: Standing) -> dict[str, Any] | None:
    if before is None:
        return None
    places = before.rank - now.rank if before.rank is not None and now.rank is not None else None
    return {
        "score": _number(before.score),
        "rank": before.rank,
        "score_change": _difference(now.score, before.score),
        "places": places,
    }


def _difference(one: Decimal | None, other: Decimal | None) -> float | None:
    return None if one is None or other is None else float(one - other)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
