"""What is frozen when a month is published: one document, and the only bytes it can have.

Canonical: JSON in UTF-8, keys sorted, no spaces; whole numbers and texts only (rates, scores and decimals of a formula
are texts), so that no machine rounds them. Nothing in it depends on when, where or in which order it was counted; the
names of districts and streets, which come from this release's list of divisions, are left out. The position of the
journal stands beside it, not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from services.evaluate.domain import OWN_LEVELS, Counts, Level, group_of, quotient, rounded, sides, wilson
from services.evaluate.formula import Formula, Purpose, score
from services.evaluate.standings import Standing, ranking

_FIRST_COUNTS = (
    "closed",
    "asked",
    "contacted",
    "solved",
    "answered",
    "satisfied",
    "second_handled",
    "excluded",
    "false_completions_suspected",
    "completed",
    "late",
    "dispatched",
    "returned",
    "shirked",
    "repeats",
)
_FIRST_RATES = ("response", "solution", "satisfaction", "second_handling", "on_time", "return", "repeat")


@dataclass(frozen=True, slots=True)
class Format:
    """What the documents of a release hold."""

    counts: tuple[str, ...]
    rates: tuple[str, ...]
    incentives: bool


FORMATS: Final[Mapping[int, Format]] = {
    1: Format(_FIRST_COUNTS, _FIRST_RATES, incentives=False),
    2: Format(
        (*_FIRST_COUNTS, "false_completions", "tagged", "tags_judged", "tags_right"),
        (*_FIRST_RATES, "tag_coverage", "tag_accuracy"),
        incentives=True,
    ),
}
"""A release that counts more adds a format: a month is rebuilt in the one in which it was published"""
FORMAT: Final = max(FORMATS)
Document = dict[str, Any]


def canonical(document: Document) -> bytes:
    """The bytes of a snapshot."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def digest_of(body: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def rolled_up(
    by_unit: Mapping[str, Counts], regions: Mapping[str, tuple[str, str]], platform: str, level: Level
) -> dict[str, Counts]:
    """The counts of a level from those of the units; `regions`: unit → (name, region code)."""
    if level is Level.UNIT:
        return dict(by_unit)
    found: dict[str, Counts] = {}
    for unit, counts in by_unit.items():
        group = group_of(regions.get(unit, ("", ""))[1], platform, level)
        if group is not None:
            found[group] = found.get(group, Counts()) + counts
    return found


def document_of(
    platform: str,
    period: str,
    formula: Formula,
    incentive: Formula | None,
    by_unit: Mapping[str, Counts],
    units: Mapping[str, tuple[str, str]],
    corrections: Sequence[Mapping[str, Any]],
    form: int = FORMAT,
) -> Document:
    """The snapshot of a month in one of the `FORMATS`; `incentive` for those that have incentives."""
    found: Document = {
        "format": form,
        "platform": platform,
        "period": period,
        "formula": _formula(formula),
        "levels": {
            level.value: [
                _line(
                    form, standing, units.get(standing.name, ("", "")) if level is Level.UNIT else ("", standing.name)
                )
                for standing in ranking(rolled_up(by_unit, units, platform, level), formula)
            ]
            for level in OWN_LEVELS
        },
        "corrections": list(corrections),
    }
    if FORMATS[form].incentives and incentive is not None:
        lines = [
            {"id": standing.name, "rank": standing.rank, "score": _text(standing.score)}
            for standing in ranking(by_unit, incentive)
        ]
        found["incentives"] = {"formula": _formula(incentive), "units": lines}
    return found


def formula_facts(formula: Formula) -> dict[str, Any]:
    """A version of a formula as JSON."""
    return asdict(formula)


def _formula(formula: Formula) -> dict[str, Any]:
    """As documents of every format have it, where its place says what it computes."""
    return {name: value for name, value in formula_facts(formula).items() if name != "purpose"}


def _line(form: int, standing: Standing, where: tuple[str, str]) -> Document:
    return {
        "id": standing.name,
        "name": where[0],
        "region_code": where[1],
        "rank": standing.rank,
        "score": _text(standing.score),
        "counts": {name: getattr(standing.counts, name) for name in FORMATS[form].counts},
        "rates": {rate: rate_of(standing.counts, rate) for rate in FORMATS[form].rates},
    }


def rate_of(counts: Counts, rate: str) -> Document:
    """A rate with its two counts and its interval, decimals as texts."""
    numerator, denominator = sides(counts, rate)
    value, interval = quotient(counts, rate), wilson(numerator, denominator)
    return {
        "numerator": numerator,
        "denominator": denominator,
        "rate": None if value is None else str(rounded(value, 4)),
        "interval": None if interval is None else [str(end) for end in interval],
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def standings_of(document: Document, level: Level) -> list[Standing]:
    """The published ranking of a level, best first."""
    return [
        Standing(
            line["id"],
            Counts(**line["counts"]),
            None if line["score"] is None else Decimal(line["score"]),
            line["rank"],
        )
        for line in document["levels"][level.value]
    ]


def incentives_of(document: Document) -> tuple[Formula, list[Standing]] | None:
    """The formula and the published incentives of the units, best first; None in a format without them."""
    found = document.get("incentives")
    if found is None:
        return None
    counts = counts_of(document)
    lines = [
        Standing(
            line["id"], counts[line["id"]], None if line["score"] is None else Decimal(line["score"]), line["rank"]
        )
        for line in found["units"]
    ]
    return Formula(**found["formula"], purpose=Purpose.INCENTIVE), lines


def counts_of(document: Document) -> dict[str, Counts]:
    """The published counts by unit."""
    return {line["id"]: Counts(**line["counts"]) for line in document["levels"][Level.UNIT.value]}


def formula_of(document: Document) -> Formula:
    """The formula that scored it."""
    return Formula(**document["formula"])


def stated(of: Document, later: Sequence[Document]) -> dict[str, Counts]:
    """What was said of a month so far: its own counts, and the corrections that later publications state."""
    counts = counts_of(of)
    for document in later:
        for correction in document["corrections"]:
            if correction["period"] == of["period"]:
                known = asdict(counts.get(correction["id"], Counts()))
                counts[correction["id"]] = Counts(**known | correction["after"])
    return counts


def corrections_of(of: Document, said: Mapping[str, Counts], now: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """What late facts changed of a published month: per unit the counts that differ, before and after, and both scores
    by that month's own formula. The month itself stays as it was published."""
    formula = formula_of(of)
    found: list[dict[str, Any]] = []
    for unit in sorted(said.keys() | now.keys()):
        before, after = said.get(unit, Counts()), now.get(unit, Counts())
        names = FORMATS[of["format"]].counts
        differing = [name for name in names if getattr(after, name) != getattr(before, name)]
        if not differing:
            continue
        found.append(
            {
                "period": of["period"],
                "id": unit,
                "before": {name: getattr(before, name) for name in differing},
                "after": {name: getattr(after, name) for name in differing},
                "score_before": _text(score(before, formula)),
                "score_after": _text(score(after, formula)),
            }
        )
    return found
