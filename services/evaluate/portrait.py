"""A unit's portrait: where it is strong and weak beside all others, in which matters, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.evaluate.domain import Counts, sides, wilson
from services.evaluate.tables import LIVE

MATTERS = 10
LOWER_IS_BETTER: Final = frozenset({"second_handling", "return", "repeat"})


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


async def matters(pg: Any, platform: str, period: str, unit: str) -> list[dict[str, Any]]:
    """The unit's most frequent matters with the solution rate beside that of all others in the same matter."""
    rows = await pg.fetch(
        "SELECT matter, sum(closed) FILTER (WHERE unit = $3)::int AS closed,"
        " coalesce(sum(asked) FILTER (WHERE unit = $3), 0)::int AS asked,"
        " coalesce(sum(solved) FILTER (WHERE unit = $3), 0)::int AS solved,"
        " coalesce(sum(asked) FILTER (WHERE unit <> $3), 0)::int AS other_asked,"
        " coalesce(sum(solved) FILTER (WHERE unit <> $3), 0)::int AS other_solved"
        f" FROM {LIVE.cases.fullname} WHERE platform = $1 AND period = $2 GROUP BY matter"
        f" HAVING sum(closed) FILTER (WHERE unit = $3) > 0 ORDER BY 2 DESC, matter LIMIT {MATTERS}",
        platform,
        period,
        unit,
    )
    return [
        {"matter": row["matter"], "closed": row["closed"]}
        | _beside("solution", (row["solved"], row["asked"]), (row["other_solved"], row["other_asked"]))
        for row in rows
    ]


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
