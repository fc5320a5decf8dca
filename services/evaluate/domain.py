"""Rates, scores and ranks of a month (domain.md, "Evaluation").

Pure. A case contributes `Counts` once its feedback is closed; counts add up over cases, units, streets and districts;
rates are quotients of counts, scores a formula over rates. Fractions are exact until they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, localcontext
from enum import StrEnum
from fractions import Fraction

SATISFIED = 3  # domain.md, Evaluation: satisfaction >= 3


class Level(StrEnum):
    UNIT = "unit"
    STREET = "street"
    DISTRICT = "district"
    CITY = "city"
    PLATFORM = "platform"
    """side by side, for a province: whole platforms whose events it has"""


OWN_LEVELS = (Level.UNIT, Level.STREET, Level.DISTRICT, Level.CITY)
"""what one platform ranks and publishes"""


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
    false_completions: int = 0  # 虚假办结: completions of the unit that the centre confirmed to be false in the month
    tagged: int = 0  # closed appeals with a tag
    tags_judged: int = 0  # tags of closed appeals that were set, or meant by the first reviewer
    tags_right: int = 0  # of these: set and meant

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
    "tag_coverage": ("tagged", "closed"),
    "tag_accuracy": ("tags_right", "tags_judged"),
}
"""rate → (numerator, denominator), names of counts"""
LOWER_IS_BETTER = frozenset({"second_handling", "return", "repeat"})


SCORED_COUNTS = tuple(f.name for f in fields(Counts) if f.name != "false_completions_suspected")
"""the counts that a formula may name: a suspicion is a hint for the centre and never scored"""


def sides(counts: Counts, rate: str) -> tuple[int, int]:
    """Numerator and denominator of a rate."""
    upper, lower = RATES[rate]
    numerator = counts.completed - counts.late if upper == "on_time" else getattr(counts, upper)
    return numerator, getattr(counts, lower)


def quotient(counts: Counts, rate: str) -> Fraction | None:
    """The exact rate, None when nothing was counted below the line."""
    numerator, denominator = sides(counts, rate)
    return Fraction(numerator, denominator) if denominator else None


def rounded(value: Fraction, places: int) -> Decimal:
    """A value ≥ 0 rounded half up, as people round."""
    units = (2 * value.numerator * 10**places + value.denominator) // (2 * value.denominator)
    return Decimal(units).scaleb(-places)


def before(period: str, months: int = 1) -> str:
    """The period so many months earlier (not before 0001-01)."""
    year, month = divmod(max(12, int(period[:4]) * 12 + int(period[5:]) - 1 - months), 12)
    return f"{year:04d}-{month + 1:02d}"


def later(period: str) -> str:
    """The next period (not after 9999-12)."""
    year, month = divmod(min(9999 * 12 + 11, int(period[:4]) * 12 + int(period[5:])), 12)
    return f"{year:04d}-{month + 1:02d}"


def wilson(numerator: int, denominator: int) -> tuple[Decimal, Decimal] | None:
    """The 95 % interval of a share, four decimals (Wilson 1927, "Probable inference"): what the rate would be if many
    more had been asked. None when nothing was counted, and for quotients that are no share (more above than below)."""
    if denominator <= 0 or not 0 <= numerator <= denominator:
        return None
    with localcontext(prec=40):
        n, z = Decimal(denominator), Decimal("1.959963984540054")
        share = Decimal(numerator) / n
        centre = share + z * z / (2 * n)
        spread = z * (share * (1 - share) / n + z * z / (4 * n * n)).sqrt()
        below = 1 + z * z / n
        low, high = max(Decimal(0), (centre - spread) / below), min(Decimal(1), (centre + spread) / below)
        return rounded(Fraction(low), 4), rounded(Fraction(high), 4)


def group_of(region_code: str, platform: str, level: Level) -> str | None:
    """The street (9 digits) or district (6 digits) of a region code inside the platform, None when it lies above it."""
    if level is Level.CITY:
        return platform
    digits = 9 if level is Level.STREET else 6
    code = region_code[:digits]
    return code if len(code) == digits and code != platform else None
