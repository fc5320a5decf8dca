"""Clock sets are read and written many at once, under their row locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.sla.domain.clock_set import ClockSet
from services.sla.events import Owner, worst_lamp
from services.sla.reactions import FeedbackFact
from services.sla.repository.seen import seen_by
from services.sla.tables import clock_sets
from shared.clock import rfc3339
from shared.http.pages import Page, cursor_of
from shared.security.principal import Principal

_clock_set = msgspec.json.Decoder(ClockSet)
_early = msgspec.json.Decoder(list[FeedbackFact])
_strings = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode

_NOBODY = Owner((), "", "")

_COLUMNS = "work_order_id, sequence, state, appeal_ids, unit, region_code, next_at, applied_to, early"


@dataclass(slots=True)
class Row:
    """One row of `clock_sets`. `clock_set` None: no event of the order was read yet."""

    work_order_id: str
    stored: bool = False
    sequence: int = 0
    clock_set: ClockSet | None = None
    owner: Owner = _NOBODY
    next_at: datetime | None = None
    applied_to: datetime | None = None
    early: list[FeedbackFact] = field(default_factory=list)


def _row(row: Mapping[str, Any]) -> Row:
    return Row(
        work_order_id=row["work_order_id"],
        stored=True,
        sequence=row["sequence"],
        clock_set=_clock_set.decode(row["state"]) if row["state"] else None,
        owner=Owner(_strings.decode(row["appeal_ids"]), row["unit"], row["region_code"])
        if row["appeal_ids"]
        else _NOBODY,
        next_at=row["next_at"],
        applied_to=row["applied_to"],
        early=_early.decode(row["early"]) if row["early"] else [],
    )


async def lock(pg: Any, ids: Iterable[str]) -> dict[str, Row]:
    """The rows under their locks, taken in one order; fresh ones (not stored) for orders not known."""
    wanted = sorted(set(ids))
    found = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {clock_sets.fullname} WHERE work_order_id = ANY($1) ORDER BY work_order_id FOR UPDATE",
        wanted,
    )
    rows = {row["work_order_id"]: _row(row) for row in found}
    return {work_order_id: rows.get(work_order_id) or Row(work_order_id) for work_order_id in wanted}


async def lock_or_create(pg: Any, ids: Iterable[str]) -> dict[str, Row]:
    """As `lock`, but every row is stored: what waits for an order must be found by the order's first event."""
    wanted = sorted(set(ids))
    await pg.execute(
        f"INSERT INTO {clock_sets.fullname} (work_order_id) SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING",
        wanted,
    )
    return await lock(pg, wanted)


async def lock_free(pg: Any, ids: Iterable[str]) -> dict[str, Row]:
    """The rows that nobody else holds now: timers step aside for events that are being applied."""
    found = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {clock_sets.fullname} WHERE work_order_id = ANY($1)"
        " ORDER BY work_order_id FOR UPDATE SKIP LOCKED",
        sorted(set(ids)),
    )
    return {row["work_order_id"]: _row(row) for row in found}


async def lock_running(pg: Any, after: str, limit: int) -> list[Row]:
    """Orders with running clocks, in the order of their ids after `after`, under their locks."""
    found = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {clock_sets.fullname} WHERE running AND work_order_id > $1"
        f" ORDER BY work_order_id LIMIT {limit:d} FOR UPDATE",
        after,
    )
    return [_row(row) for row in found]


async def running_page(pg: Any, who: Principal, after: str, limit: int) -> list[Row]:
    """As `lock_running`, without locks, of what the caller may see."""
    where = seen_by(who, "running")
    where.add("work_order_id > ?", after)
    found = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {clock_sets.fullname} WHERE {where} ORDER BY work_order_id LIMIT {limit:d}",
        *where.values,
    )
    return [_row(row) for row in found]


async def find(pg: Any, work_order_id: str) -> Row | None:
    """One row, without a lock."""
    row = await pg.fetchrow(f"SELECT {_COLUMNS} FROM {clock_sets.fullname} WHERE work_order_id = $1", work_order_id)
    return None if row is None else _row(row)


_SHAPE = (
    "unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[],"
    " $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[])"
    " AS r(work_order_id, sequence, state, appeal_ids, unit, region_code, lamp, running, due_at, next_at, applied_to,"
    " early)"
)
_NAMES = "sequence, state, appeal_ids, unit, region_code, lamp, running, due_at, next_at, applied_to"


def _parameters(rows: Sequence[Row]) -> list[list[Any]]:
    sets = [row.clock_set for row in rows]
    running = [[] if s is None else [c for c in s.clocks if c.running] for s in sets]
    return [
        [row.work_order_id for row in rows],
        [row.sequence for row in rows],
        [None if s is None else _encode(s).decode() for s in sets],
        [_encode(list(row.owner.appeal_ids)).decode() for row in rows],
        [row.owner.unit for row in rows],
        [row.owner.region_code for row in rows],
        [None if s is None else worst_lamp(s).value for s in sets],
        [bool(clocks) for clocks in running],
        [min((c.due_at for c in clocks if c.due_at is not None), default=None) for clocks in running],
        [row.next_at for row in rows],
        [row.applied_to for row in rows],
        [_encode(row.early).decode() if row.early else None for row in rows],
    ]


async def save(pg: Any, rows: Sequence[Row]) -> list[Row]:
    """Write rows back: stored ones under their locks, others as new.

    Returns those new rows for which feedback had been waiting, unseen when they were looked for; they are stored and
    locked now, with `early` filled.
    """
    known = sorted((row for row in rows if row.stored), key=lambda row: row.work_order_id)
    fresh = sorted((row for row in rows if not row.stored), key=lambda row: row.work_order_id)
    if known:
        assignments = ", ".join(f"{name} = r.{name}" for name in f"{_NAMES}, early".split(", "))
        await pg.execute(
            f"UPDATE {clock_sets.fullname} t SET {assignments} FROM {_SHAPE} WHERE t.work_order_id = r.work_order_id",
            *_parameters(known),
        )
    surprised: list[Row] = []
    if fresh:
        assignments = ", ".join(f"{name} = excluded.{name}" for name in _NAMES.split(", "))
        written = await pg.fetch(
            f"INSERT INTO {clock_sets.fullname} AS t (work_order_id, {_NAMES}, early)"
            f" SELECT work_order_id, {_NAMES}, early FROM {_SHAPE}"
            f" ON CONFLICT (work_order_id) DO UPDATE SET {assignments}"
            " RETURNING t.work_order_id, t.early",
            *_parameters(fresh),
        )
        waiting = {row["work_order_id"]: row["early"] for row in written if row["early"]}
        for row in fresh:
            row.stored = True
            if row.work_order_id in waiting:
                row.early = _early.decode(waiting[row.work_order_id])
                surprised.append(row)
    return surprised


async def sets_without_timer(pg: Any) -> int:
    """Clock sets whose next instant and armed timer differ; 0 unless a timer is firing at this moment."""
    differences: int = await pg.fetchval(
        f"SELECT count(*) FROM {clock_sets.fullname} c"
        f" FULL JOIN {clock_sets.schema}.timers t ON t.kind = 'clock' AND t.key = c.work_order_id"
        " WHERE c.next_at IS DISTINCT FROM t.due_at AND (t.kind IS NULL OR t.kind = 'clock')"
    )
    return differences


async def lamps(
    pg: Any, who: Principal, unit: str | None, lamp: str | None, page: Page
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """How many orders with running clocks show which lamp, and those orders, the earliest deadline first."""
    where = seen_by(who, "running", unit=unit)
    counted = await pg.fetch(
        f"SELECT lamp, count(*) AS n FROM {clock_sets.fullname} WHERE {where} GROUP BY lamp", *where.values
    )
    counts = {"green": 0, "yellow": 0, "red": 0} | {row["lamp"]: row["n"] for row in counted}
    where.add("due_at IS NOT NULL")
    if lamp is not None:
        where.add("lamp = ?", lamp)
    if (after := cursor_of(page, datetime, str)) is not None:
        where.add("(due_at, work_order_id) > (?, ?)", *after)
    found = await pg.fetch(
        f"SELECT work_order_id, appeal_ids, unit, region_code, lamp, due_at FROM {clock_sets.fullname}"
        f" WHERE {where} ORDER BY due_at, work_order_id LIMIT {page.limit + 1:d}",
        *where.values,
    )
    return counts, [
        {**dict(row), "appeal_ids": _strings.decode(row["appeal_ids"]), "due_at": rfc3339(row["due_at"])}
        for row in found
    ]
