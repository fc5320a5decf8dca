"""A unit's portrait: where it is strong and weak beside all others, in which matters and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.evaluate.domain import LOWER_IS_BETTER, Counts, sides, wilson
from services.evaluate.repository import tags_of
from services.evaluate.tables import Facts, tag_names

SHOWN = 10
"""matters, and tags, of a portrait"""


def marked(own: tuple[int, int], others: tuple[int, int], *, lower_is_better: bool = False) -> str | None:
    """`strong` or `weak` when the share of all others together lies outside the unit's own 95 % interval, None when the
    difference may be chance. Sides are (numerator, denominator)."""
    interval = wilson(*own)
    if interval is None or others[1] == 0:
        return None
    share = others[0] / others[1]
    above, below = float(interval[0]) > share, float(interval[1]) < share
    if not above and not below:
        return None
    return "strong" if above != lower_is_better else "weak"


def profile(unit: str, totals: Mapping[str, Counts], rates: Sequence[str]) -> list[dict[str, Any]]:
    """Each rate of the unit beside that of all others together, with its mark."""
    own = totals.get(unit, Counts())
    rest = sum((counts for name, counts in totals.items() if name != unit), Counts())
    return [
        _beside(rate, sides(own, rate), sides(rest, rate), lower_is_better=rate in LOWER_IS_BETTER) for rate in rates
    ]


@dataclass(frozen=True, slots=True)
class Two:
    """A month and the one before it, each with the facts that it is counted of."""

    platform: str
    now: tuple[Facts, str]
    before: tuple[Facts, str]


async def matters(pg: Any, months: Two, unit: str) -> list[dict[str, Any]]:
    """The unit's most frequent matters with the solution rate beside that of all others in the same matter, and beside
    its own of the month before."""

    def source(of: Facts) -> str:
        return (
            f"SELECT matter AS code, unit, closed, asked, solved FROM {of.cases.fullname}"
            " WHERE platform = $1 AND period = $2"
        )

    return [{"matter": code} | beside for code, beside in await _groups(pg, source, months, unit)]


async def tags(pg: Any, months: Two, unit: str) -> list[dict[str, Any]]:
    """标签画像: the same for the most frequent tags of its appeals, of which each may have several."""

    def source(of: Facts) -> str:
        return (
            f"SELECT tag AS code, c.unit, c.closed, c.asked, c.solved FROM ({tags_of(of)}) told"
            f" JOIN {of.cases.fullname} c ON c.platform = $1 AND c.appeal_id = told.appeal_id,"
            " unnest(told.tags) AS tag WHERE is_last"
        )

    found = await _groups(pg, source, months, unit)
    rows = await pg.fetch(
        f"SELECT code, name, family FROM {tag_names.fullname} WHERE platform = $1 AND code = ANY($2)",
        months.platform,
        [code for code, _ in found],
    )
    known = {row["code"]: {"name": row["name"], "family": row["family"]} for row in rows}
    return [{"tag": code} | known.get(code, {"name": "", "family": ""}) | beside for code, beside in found]


async def _groups(pg: Any, source: Callable[[Facts], str], months: Two, unit: str) -> list[tuple[str, dict[str, Any]]]:
    """(code, what is told of it), the most frequent first."""

    async def sums(of: Facts, period: str) -> list[Any]:
        found: list[Any] = await pg.fetch(
            "SELECT code, sum(closed) FILTER (WHERE unit = $3)::int AS closed,"
            " coalesce(sum(asked) FILTER (WHERE unit = $3), 0)::int AS asked,"
            " coalesce(sum(solved) FILTER (WHERE unit = $3), 0)::int AS solved,"
            " coalesce(sum(asked) FILTER (WHERE unit <> $3), 0)::int AS other_asked,"
            " coalesce(sum(solved) FILTER (WHERE unit <> $3), 0)::int AS other_solved"
            f" FROM ({source(of)}) counted GROUP BY code"
            " HAVING sum(closed) FILTER (WHERE unit = $3) > 0 ORDER BY 2 DESC, code",
            months.platform,
            period,
            unit,
        )
        return found

    then = {row["code"]: (row["solved"], row["asked"]) for row in await sums(*months.before)}
    return [
        (
            row["code"],
            {"closed": row["closed"]}
            | _beside("solution", (row["solved"], row["asked"]), (row["other_solved"], row["other_asked"]))
            | _since((row["solved"], row["asked"]), then.get(row["code"], (0, 0))),
        )
        for row in (await sums(*months.now))[:SHOWN]
    ]


def _since(now: tuple[int, int], then: tuple[int, int]) -> dict[str, Any]:
    """The rate of the month before, and whether it lies outside the interval of now: `better`, `worse`, or None when
    the difference may be chance."""
    changed = {"strong": "better", "weak": "worse", None: None}[marked(now, then)]
    return {"before": round(then[0] / then[1], 4) if then[1] else None, "changed": changed}


def _beside(
    rate: str, own: tuple[int, int], others: tuple[int, int], *, lower_is_better: bool = False
) -> dict[str, Any]:
    interval = wilson(*own)
    return {
        "rate": rate,
        "numerator": own[0],
        "denominator": own[1],
        "value": round(own[0] / own[1], 4) if own[1] else None,
        "interval": None if interval is None else [float(end) for end in interval],
        "others": round(others[0] / others[1], 4) if others[1] else None,
        "mark": marked(own, others, lower_is_better=lower_is_better),
    }
