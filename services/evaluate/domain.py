"""Rates, scores and ranks of a month (domain.md, "Evaluation").

Pure. A case contributes `Counts` once its feedback is closed; counts add up over cases, units, streets and districts;
rates are quotients of counts, scores a formula over rates. Fractions are exact until they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo

SATISFIED = 3  # domain.md, Evaluation: satisfaction >= 3


class Level(StrEnum):
    UNIT = "unit"
    STREET = "street"
    DISTRICT = "district"
    CITY = "city"


@dataclass(frozen=True, slots=True)
class Closing:
    """How the feedback of one appeal ended. `contacted`, `solved`, `satisfaction` are of the last answer.

    `asked`: a person was reached (refusals included) or a link was answered. `excluded`: the centre granted 剔除.
    """

    asked: bool
    contacted: bool | None = None
    solved: bool | None = None
    satisfaction: int | None = None
    bad_ratings: int = 0
    excluded: bool = False
    false_completion_suspected: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything that is counted of a unit (street, district, city) in a month. Adds up."""

    closed: int = 0  # appeals whose feedback closed
    asked: int = 0
    contacted: int = 0
    solved: int = 0
    answered: int = 0  # a satisfaction value exists
    satisfied: int = 0
    second_handled: int = 0  # of the asked: their first answer was bad
    excluded: int = 0
    false_completions_suspected: int = 0
    completed: int = 0  # orders whose feedback closed
    late: int = 0  # of these: the complete clock became due
    dispatched: int = 0  # dispatches to the unit
    returned: int = 0
    shirked: int = 0  # 推诿: returned after a ruling
    repeats: int = 0  # appeals linked as repeat to a closed case of the unit

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def counted(closing: Closing) -> Counts:
    """What one closed feedback adds. Unreachable and expired are in no rate; excluded leaves both sides of each."""
    if not closing.asked or closing.excluded:
        return Counts(closed=1, excluded=int(closing.excluded))
    rated = closing.satisfaction is not None
    return Counts(
        closed=1,
        asked=1,
        contacted=int(closing.contacted is True),
        solved=int(closing.solved is True),
        answered=int(rated),
        satisfied=int(closing.satisfaction is not None and closing.satisfaction >= SATISFIED),
        second_handled=int(closing.bad_ratings > 0),
        false_completions_suspected=int(closing.false_completion_suspected),
    )


RATES: Mapping[str, tuple[str, str]] = {
    "response": ("contacted", "asked"),
    "solution": ("solved", "asked"),
    "satisfaction": ("satisfied", "answered"),
    "second_handling": ("second_handled", "asked"),
    "on_time": ("on_time", "completed"),
    "return": ("returned", "dispatched"),
    "repeat": ("repeats", "closed"),
}
"""rate → (numerator, denominator), names of counts"""


def sides(counts: Counts, rate: str) -> tuple[int, int]:
    """Numerator and denominator of a rate."""
    upper, lower = RATES[rate]
    numerator = counts.completed - counts.late if upper == "on_time" else getattr(counts, upper)
    return numerator, getattr(counts, lower)


def quotient(counts: Counts, rate: str) -> Fraction | None:
    """The exact rate, None when nothing was counted below the line."""
    numerator, denominator = sides(counts, rate)
    return Fraction(numerator, denominator) if denominator else None


def period_of(at: datetime, zone: ZoneInfo) -> str:
    """The month (YYYY-MM) of an instant in the platform's zone."""
    return f"{at.astimezone(zone):%Y-%m}"


def period_bounds(period: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First instant of the month and of the next one. Raises `ValueError` for anything but YYYY-MM."""
    year, dash, month = period.partition("-")
    if not (dash and len(year) == 4 and len(month) == 2 and (year + month).isdecimal() and year.isascii()):
        raise ValueError(f"a period is YYYY-MM, not {period!r}")
    start = datetime(int(year), int(month), 1, tzinfo=zone)
    ends_year, ends_month = divmod(start.year * 12 + start.month, 12)
    return start, datetime(ends_year, ends_month + 1, 1, tzinfo=zone)


@dataclass(frozen=True, slots=True)
class Formula:
    """A version of the score: weights of rates (adding up to 1), points deducted per count, capped; data, not code.

    `effective_from` is the first period (YYYY-MM) it scores; units with fewer than `min_asked` asked are unranked.
    """

    version: str
    effective_from: str
    weights: Mapping[str, Decimal] = field(
        default_factory=lambda: {
            "response": Decimal("0.10"),
            "solution": Decimal("0.45"),
            "satisfaction": Decimal("0.45"),
        }
    )
    deductions: Mapping[str, Decimal] = field(default_factory=lambda: {"shirked": Decimal(2), "late": Decimal("0.5")})
    cap: Decimal = Decimal(20)
    min_asked: int = 20

    def __post_init__(self) -> None:
        period_bounds(self.effective_from, ZoneInfo("UTC"))
        if unknown := self.weights.keys() - RATES.keys():
            raise ValueError(f"weights: {', '.join(sorted(unknown))} is no rate; rates are {', '.join(RATES)}")
        names = {f.name for f in fields(Counts)}
        if unknown := self.deductions.keys() - names:
            raise ValueError(
                f"deductions: {', '.join(sorted(unknown))} is no count; counts are {', '.join(sorted(names))}"
            )
        if sum(self.weights.values()) != 1 or any(w < 0 for w in self.weights.values()):
            raise ValueError("weights are not negative and add up to 1")
        if self.cap < 0 or self.min_asked < 1 or any(d < 0 for d in self.deductions.values()):
            raise ValueError("deductions and cap are not negative, min_asked is at least 1")


DEFAULT_FORMULA = Formula("default", "2000-01")
"""domain.md, Evaluation. 虚假办结 is not deducted yet: the centre's confirmation of it is not recorded."""


def formula_for(formulas: Iterable[Formula], period: str, default: Formula = DEFAULT_FORMULA) -> Formula:
    """The formula with the latest `effective_from` not after the period; `default` when there is none."""
    fitting = [f for f in formulas if f.effective_from <= period]
    return max(fitting, key=lambda f: f.effective_from, default=default)


def score(counts: Counts, formula: Formula) -> Decimal | None:
    """0–100, two decimals: weighted rates × 100 minus deductions, not below 0. None when a weighted rate is missing."""
    total = Fraction(0)
    for rate, weight in formula.weights.items():
        value = quotient(counts, rate)
        if value is None:
            return None
        total += Fraction(weight) * value * 100
    deducted = sum(
        (Fraction(points) * getattr(counts, name) for name, points in formula.deductions.items()), Fraction(0)
    )
    return rounded(max(Fraction(0), total - min(deducted, Fraction(formula.cap))), 2)


def rounded(value: Fraction, places: int) -> Decimal:
    """A value ≥ 0 rounded half up, as people round."""
    units = (2 * value.numerator * 10**places + value.denominator) // (2 * value.denominator)
    return Decimal(units).scaleb(-places)


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
    ranked = {name: s for name, s in scores.items() if s is not None and totals[name].asked >= formula.min_asked}
    ranks = {name: 1 + sum(other > own for other in ranked.values()) for name, own in ranked.items()}
    standings = [Standing(name, counts, scores[name], ranks.get(name)) for name, counts in totals.items()]
    return sorted(standings, key=lambda s: (s.rank is None, s.rank or 0, s.name))


def group_of(region_code: str, platform: str, level: Level) -> str | None:
    """The street (9 digits) or district (6 digits) of a region code inside the platform, None when it lies above it."""
    if level is Level.CITY:
        return platform
    digits = 9 if level is Level.STREET else 6
    code = region_code[:digits]
    return code if len(code) == digits and code != platform else None
