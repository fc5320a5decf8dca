"""The ledger of suspensions and extensions as auditors read it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.sla.repository.seen import seen_by
from services.sla.tables import clock_sets, suspensions
from shared.clock import rfc3339
from shared.http.pages import Page, cursor_of
from shared.security.principal import Principal


async def suspensions_of(
    pg: Any, who: Principal, begin: datetime, end: datetime, unit: str | None, what: str | None, page: Page
) -> list[dict[str, Any]]:
    """What was asked for, decided or running in [begin, end), the oldest first."""
    where = seen_by(who, unit=unit)
    where.add("requested_at < ?", end)
    where.add("greatest(requested_at, decided_at, coalesce(ended_at, until_at)) >= ?", begin)
    if what is not None:
        where.add("what = ?", what)
    if (last := cursor_of(page, datetime, str)) is not None:
        where.add("(requested_at, id) > (?, ?)", *last)
    found = await pg.fetch(
        f"SELECT * FROM {suspensions.fullname} WHERE {where} ORDER BY requested_at, id LIMIT {page.limit + 1:d}",
        *where.values,
    )
    return [_answer(row) for row in found]


async def shares(pg: Any, who: Principal, begin: datetime, end: datetime, unit: str | None) -> list[dict[str, Any]]:
    """By unit: orders in hand in [begin, end), how many of them were suspended at some time in it, extended in it."""
    hand = seen_by(who, unit=unit)
    hand.add("(running OR applied_to >= ?)", begin)
    hand.add("(state::json ->> 'counts_from')::timestamptz < ?", end)
    in_hand = await pg.fetch(
        f"SELECT unit, count(*) AS orders FROM {clock_sets.fullname} WHERE {hand} GROUP BY unit", *hand.values
    )
    where = seen_by(who, "status = 'approved'", unit=unit)
    where.add("decided_at < ?", end)
    where.add("coalesce(ended_at, until_at, decided_at) >= ?", begin)
    stopped = await pg.fetch(
        "SELECT unit, count(DISTINCT work_order_id) FILTER (WHERE what = 'suspension') AS suspended,"
        " count(DISTINCT work_order_id) FILTER (WHERE what = 'extension') AS extended"
        f" FROM {suspensions.fullname} WHERE {where} GROUP BY unit",
        *where.values,
    )
    counts = {row["unit"]: dict(row) for row in stopped}
    orders = {row["unit"]: row["orders"] for row in in_hand}
    result = [_share(name, orders.get(name, 0), counts.get(name, {})) for name in sorted({*orders, *counts})]
    return sorted(result, key=lambda row: (-row["share"], row["unit"]))


def _share(unit: str, orders: int, counts: Mapping[str, Any]) -> dict[str, Any]:
    suspended = counts.get("suspended", 0)
    orders = max(orders, suspended)  # suspended here, then led by another unit
    return {
        "unit": unit,
        "orders": orders,
        "suspended": suspended,
        "extended": counts.get("extended", 0),
        "share": round(suspended / orders, 4) if orders else 0.0,
    }


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    answer = {
        name: rfc3339(value) if name.endswith("_at") and value is not None else value for name, value in row.items()
    }
    ended = row["ended_at"]
    return answer | {"ended_by_itself": None if ended is None else ended >= row["until_at"]}
