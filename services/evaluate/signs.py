"""What the centre should look at in a month: signs that numbers were made, each with its evidence. Never scored.

A sign is a unit that stands far off from all others together; it proves nothing. The bounds are plain on purpose, so
that who is asked about one can see why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.evaluate.domain import Counts, wilson
from services.evaluate.tables import completions, rating_signs
from shared.clock import ZONE, period_bounds

FEWEST = 10
"""completions below which nothing is said"""
TIMES = 3
"""so many times the share of all others"""
SHOWN = 20
"""orders that are listed as evidence"""

_WORDS: Final = {
    "burst": "本月办结集中在最后24小时",
    "no_contact": "未联系市民即办结",
    "identical_answers": "多件工单答复内容相同",
    "exclusions": "申请剔除获准的比例明显高于其他单位",
    "one_device": "多件评价来自同一设备",
    "same_words": "多件评价文字相同",
}
_LEAST: Final = {"burst": 0.25, "no_contact": 0.2, "identical_answers": 0.3}
"""share of the unit's own completions below which it is no sign"""


async def signs(pg: Any, platform: str, period: str, totals: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """`{unit, sign, words, number, of, share, others, work_orders, appeals}` of a month, the largest share first."""
    _, end = period_bounds(period, ZONE)
    rows = await pg.fetch(
        "SELECT unit, count(*)::int AS of,"
        " count(*) FILTER (WHERE completed_at >= $3::timestamptz - interval '24 hours')::int AS burst,"
        " count(*) FILTER (WHERE NOT contacted)::int AS no_contact"
        f" FROM {completions.fullname} WHERE platform = $1 AND period = $2 GROUP BY unit",
        platform,
        period,
        end,
    )
    same = await pg.fetch(
        "SELECT DISTINCT ON (unit) unit, answer, n FROM (SELECT unit, answer, count(DISTINCT work_order_id)::int AS n"
        f" FROM {completions.fullname} WHERE platform = $1 AND period = $2 AND answer IS NOT NULL"
        " GROUP BY unit, answer) a ORDER BY unit, n DESC, answer",
        platform,
        period,
    )
    alike = {row["unit"]: (row["n"], row["answer"]) for row in same}
    found: list[dict[str, Any]] = []
    whole = {name: sum(row[name] for row in rows) for name in ("of", "burst", "no_contact")}
    for row in rows:
        if row["of"] < FEWEST:
            continue
        for sign in ("burst", "no_contact"):
            rest = whole["of"] - row["of"]
            others = (whole[sign] - row[sign]) / rest if rest else 0.0
            share = row[sign] / row["of"]
            if share >= _LEAST[sign] and share >= TIMES * others:
                where = "completed_at >= $4::timestamptz - interval '24 hours'" if sign == "burst" else "NOT contacted"
                listed = await _orders(pg, platform, period, row["unit"], where, end if sign == "burst" else None)
                found.append(_sign(row["unit"], sign, row[sign], row["of"], others, listed))
        number, answer = alike.get(row["unit"], (0, ""))
        if number >= FEWEST and number / row["of"] >= _LEAST["identical_answers"]:
            listed = await _orders(pg, platform, period, row["unit"], "answer = $4::text", answer)
            found.append(_sign(row["unit"], "identical_answers", number, row["of"], None, listed))
    found += _exclusions(totals)
    found += await _of_ratings(pg, platform, period)
    return sorted(found, key=lambda one: (-one["share"], one["unit"], one["sign"]))


async def _of_ratings(pg: Any, platform: str, period: str) -> list[dict[str, Any]]:
    """What feedback saw; it alone knows devices and words."""
    rows = await pg.fetch(
        f"SELECT unit, sign, number, rated, appeals FROM {rating_signs.fullname}"
        " WHERE platform = $1 AND period = $2 AND number > 0 AND rated > 0",
        platform,
        period,
    )
    return [
        _sign(row["unit"], row["sign"], row["number"], row["rated"], None, None) | {"appeals": row["appeals"]}
        for row in rows
    ]


def _exclusions(totals: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """Units whose share of excluded ratings lies above twice that of all others, with 95 % confidence."""
    excluded = sum(counts.excluded for counts in totals.values())
    rated = sum(counts.excluded + counts.asked for counts in totals.values())
    found = []
    for unit, counts in totals.items():
        own = counts.excluded + counts.asked
        interval = wilson(counts.excluded, own)
        others = (excluded - counts.excluded) / (rated - own) if rated > own else 0.0
        if counts.excluded >= 3 and interval is not None and float(interval[0]) > 2 * others:
            found.append(_sign(unit, "exclusions", counts.excluded, own, others, None))
    return found


async def _orders(pg: Any, platform: str, period: str, unit: str, where: str, value: Any) -> list[str]:
    rows = await pg.fetch(
        f"SELECT DISTINCT work_order_id FROM {completions.fullname}"
        f" WHERE platform = $1 AND period = $2 AND unit = $3 AND {where} ORDER BY 1 LIMIT {SHOWN}",
        platform,
        period,
        unit,
        *(() if value is None else (value,)),
    )
    return [row["work_order_id"] for row in rows]


def _sign(
    unit: str, sign: str, number: int, of: int, others: float | None, work_orders: list[str] | None
) -> dict[str, Any]:
    return {
        "unit": unit,
        "sign": sign,
        "words": _WORDS[sign],
        "number": number,
        "of": of,
        "share": round(number / of, 4),
        "others": None if others is None else round(others, 4),
        "work_orders": work_orders,
        "appeals": None,
    }
