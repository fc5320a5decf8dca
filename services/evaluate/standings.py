"""Who stands where, and why it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.evaluate.domain import LOWER_IS_BETTER, RATES, Counts, quotient, rounded
from services.evaluate.formula import Formula, score, values_of


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of a ranking. `rank` None: fewer than `min_asked` asked, or no score."""

    name: str
    counts: Counts
    score: Decimal | None
    rank: int | None


def ranking(totals: Mapping[str, Counts], formula: Formula) -> list[Standing]:
    """Best first, unranked last, then by name. Equal shown scores share a rank, the next is skipped (1, 2, 2, 4)."""
    scores = {name: score(counts, formula) for name, counts in totals.items()}
    ranked = {name: s for name, s in scores.items() if s is not None and formula.ranks(totals[name])}
    ranks = ranks_of(ranked)
    standings = [Standing(name, counts, scores[name], ranks.get(name)) for name, counts in totals.items()]
    return sorted(standings, key=lambda s: (s.rank is None, s.rank or 0, s.name))


def ranks_of(values: Mapping[str, Decimal | Fraction]) -> dict[str, int]:
    """1 for the highest; equals share a rank and the next is skipped."""
    ranks: dict[str, int] = {}
    before: tuple[Decimal | Fraction, int] | None = None
    for place, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1], reverse=True), start=1):
        rank = before[1] if before is not None and before[0] == value else place
        ranks[name], before = rank, (value, rank)
    return ranks


def race(standings: list[Standing]) -> dict[str, dict[str, int]]:
    """赛马: the rank in each rate among those who are ranked; a low rate of returns, repeats and second handlings is
    the better one."""
    tables: dict[str, dict[str, int]] = {}
    for rate in RATES:
        values = {
            s.name: value for s in standings if s.rank is not None and (value := quotient(s.counts, rate)) is not None
        }
        tables[rate] = ranks_of({name: -v if rate in LOWER_IS_BETTER else v for name, v in values.items()})
    return tables


def reasons(before: Counts, after: Counts, formula: Formula) -> list[tuple[str, Decimal]]:
    """(rate or count, points) that moved the score from `before` to `after`, the strongest first: by how much the score
    of now would differ if this one name still had its value of then. Empty when one of the two has no score."""
    then, now = values_of(before, formula.names), values_of(after, formula.names)
    present = formula.exact(now)
    if present is None or formula.exact(then) is None:
        return []
    found: list[tuple[str, Decimal]] = []
    for name in formula.names:
        without = formula.exact(now | {name: then[name]})
        if without is not None and (points := present - without):
            found.append((name, rounded(abs(points), 2).copy_sign(1 if points > 0 else -1)))
    return sorted(found, key=lambda item: (-abs(item[1]), item[0]))


def last_tenth(standings: list[Standing]) -> set[str]:
    """The last tenth of those who are ranked: with n ranked units the places below the first n − ⌊n/10⌋. Units that
    share a rank are in it together, or not at all: they are only when all of them lie below that line."""
    ranked = [standing for standing in standings if standing.rank is not None]
    limit = len(ranked) - len(ranked) // 10
    return {standing.name for standing in ranked if standing.rank is not None and standing.rank > limit}
