"""Supervisions: who is to take notice of what, and who did."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.sla.domain.clock_set import ClockSet
from services.sla.repository.seen import seen_by
from services.sla.tables import clock_sets, supervisions
from shared.clock import rfc3339
from shared.db import bulk
from shared.http.pages import Page, after_of
from shared.security.principal import Principal

_clock_set = msgspec.json.Decoder(ClockSet)


_RAISED = (
    *("id", "work_order_id", "clock", "round", "level", "unit", "region_code", "due_at", "raised_at", "late"),
    *("withdrawn_at", "audience", "reach", "told_at"),
)


async def raise_supervisions(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Supervisions that were announced now."""
    await bulk.insert(pg, supervisions, [{name: row[name] for name in _RAISED} for row in rows])


async def withdraw_supervisions(
    pg: Any, keys: Sequence[tuple[str, str, int, int, datetime]]
) -> list[Mapping[str, Any]]:
    """Take back what stands of (work order, clock, round, level, when); returns those rows."""
    return list(
        await pg.fetch(
            f"UPDATE {supervisions.fullname} t SET withdrawn_at = r.at"
            " FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[])"
            " AS r(work_order_id, clock, round, level, at)"
            " WHERE t.work_order_id = r.work_order_id AND t.clock = r.clock AND t.round = r.round AND t.level = r.level"
            " AND t.withdrawn_at IS NULL RETURNING t.*",
            *map(list, zip(*keys, strict=True)),
        )
    )


async def something_is_late(pg: Any, kinds: Sequence[str], before: datetime) -> bool:
    """Whether a timer of these kinds still waits that was due before an instant. One that fails holds nobody up."""
    waits: bool = await pg.fetchval(
        f"SELECT EXISTS (SELECT 1 FROM {supervisions.schema}.timers"
        " WHERE kind = ANY($1) AND due_at < $2 AND retry_at IS NULL)",
        list(kinds),
        before,
    )
    return waits


async def tell_late(pg: Any, audiences: Sequence[str], at: datetime) -> list[Mapping[str, Any]]:
    """Mark what these audiences were not told yet as told, and give it, the oldest first."""
    told = await pg.fetch(
        f"UPDATE {supervisions.fullname} SET told_at = $2 WHERE id IN (SELECT id FROM {supervisions.fullname}"
        " WHERE audience = ANY($1) AND told_at IS NULL AND withdrawn_at IS NULL ORDER BY id FOR UPDATE) RETURNING id",
        audiences,
        at,
    )
    ids = [row["id"] for row in told]
    return list(
        await pg.fetch(
            f"SELECT s.*, c.state::json ->> 'handling_class' AS handling_class FROM {supervisions.fullname} s"
            f" JOIN {clock_sets.fullname} c USING (work_order_id) WHERE s.id = ANY($1) ORDER BY s.raised_at, s.id",
            ids,
        )
    )


async def lock_unnoticed(pg: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Those of the supervisions that stand unacknowledged, with their clock sets and `highest`, the highest level that
    stands for the same clock."""
    found = await pg.fetch(
        f"SELECT s.*, c.state, (SELECT max(o.level) FROM {supervisions.fullname} o WHERE o.withdrawn_at IS NULL AND"
        " (o.work_order_id, o.clock, o.round) = (s.work_order_id, s.clock, s.round)) AS highest"
        f" FROM {supervisions.fullname} s JOIN {clock_sets.fullname} c USING (work_order_id)"
        " WHERE s.id = ANY($1) AND s.acknowledged_at IS NULL AND s.withdrawn_at IS NULL ORDER BY s.id FOR UPDATE OF s",
        list(ids),
    )
    rows = [{**dict(row), "clock_set": _clock_set.decode(row["state"])} for row in found]
    return [{**row, "handling_class": row["clock_set"].handling_class} for row in rows]


async def climb(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store how high supervisions climbed, and who is told of it."""
    changes = [{name: row[name] for name in ("id", "reach", "climbed_at", "audience", "told_at")} for row in rows]
    await bulk.update(pg, supervisions, changes, key=("id",))


def supervision_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `supervisions` as HTTP shows it."""
    times = ("due_at", "raised_at", "withdrawn_at", "acknowledged_at", "told_at", "climbed_at")
    return {name: rfc3339(value) if name in times and value else value for name, value in dict(row).items()}


async def supervisions_of(
    pg: Any, who: Principal, level: int | None, unit: str | None, acknowledged: bool | None, page: Page
) -> list[dict[str, Any]]:
    """Supervisions, the newest first."""
    where = seen_by(who, unit=unit)
    if level is not None:
        where.add("level = ?", level)
    if acknowledged is not None:
        where.add(f"acknowledged_at IS {'NOT ' if acknowledged else ''}NULL")
    if (last := after_of(page, str)) is not None:
        where.add("id < ?", last)
    found = await pg.fetch(
        f"SELECT * FROM {supervisions.fullname} WHERE {where} ORDER BY id DESC LIMIT {page.limit + 1:d}", *where.values
    )
    return [supervision_answer(row) for row in found]
