"""Which deadlines new rules moved."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.sla.repository.seen import seen_by
from services.sla.tables import moved_deadlines
from shared.clock import rfc3339
from shared.db import bulk
from shared.http.pages import Page, cursor_of
from shared.security.principal import Principal


async def record_moves(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Deadlines that other rules moved; counted again after an event read late, the last word counts."""
    key = ("effective_from", "work_order_id", "clock", "round")
    latest = {tuple(row[name] for name in key): row for row in rows}
    await bulk.insert(pg, moved_deadlines, list(latest.values()), conflict=key, update=("to_at",))


async def moves_of(
    pg: Any, who: Principal, effective_from: datetime, unit: str | None, page: Page
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How many deadlines of which unit were moved by the rules of an instant, and those deadlines."""
    where = seen_by(who, unit=unit)
    where.add("effective_from = ?", effective_from)
    counted = await pg.fetch(
        "SELECT unit, count(*) AS moved, count(*) FILTER (WHERE to_at < from_at) AS earlier,"
        " count(*) FILTER (WHERE to_at > from_at) AS later"
        f" FROM {moved_deadlines.fullname} WHERE {where} GROUP BY unit ORDER BY unit",
        *where.values,
    )
    if (last := cursor_of(page, str, str, int)) is not None:
        where.add("(work_order_id, clock, round) > (?, ?, ?)", *last)
    found = await pg.fetch(
        "SELECT work_order_id, unit, clock, round, from_at, to_at"
        f" FROM {moved_deadlines.fullname} WHERE {where} ORDER BY work_order_id, clock, round"
        f" LIMIT {page.limit + 1:d}",
        *where.values,
    )
    return [dict(row) for row in counted], [move_answer(**dict(row)) for row in found]


def move_answer(
    *, work_order_id: str, unit: str, clock: str, round: int, from_at: datetime | None, to_at: datetime | None
) -> dict[str, Any]:
    """A moved deadline as HTTP shows it; null while a suspension is open."""
    return {
        "work_order_id": work_order_id,
        "unit": unit,
        "clock": clock,
        "round": round,
        "from": rfc3339(from_at) if from_at else None,
        "to": rfc3339(to_at) if to_at else None,
    }
