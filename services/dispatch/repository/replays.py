"""The SQL of replays: what is asked, how far it is, which orders would have had another lead."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.dispatch import tables
from services.dispatch.domain.work_order import WorkOrder
from shared.db import bulk

LEASE_S = 60
"""a worker that is not heard of for so long is dead, and another one goes on where it was; real time"""
SHOWN = "id, state, change, opened_from, opened_to, total, examined, moved, error, asked_by, asked_at, ended_at"
_orders = msgspec.json.Decoder(WorkOrder)


async def add(pg: Any, row: Mapping[str, Any]) -> int:
    """Store what is asked; returns how many orders were opened in its time."""
    total: int = await pg.fetchval(
        f"SELECT count(*) FROM {tables.work_orders.fullname} WHERE opened_at >= $1 AND opened_at < $2",
        row["opened_from"],
        row["opened_to"],
    )
    await bulk.insert(
        pg, tables.replays, [{**row, "state": "waiting", "cursor": "", "total": total, "examined": 0, "moved": 0}]
    )
    return total


async def one(pg: Any, identifier: str) -> dict[str, Any] | None:
    row = await pg.fetchrow(f"SELECT {SHOWN} FROM {tables.replays.fullname} WHERE id = $1", identifier)
    return dict(row) if row else None


async def listed(pg: Any, after: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest first."""
    rows = await pg.fetch(
        f"SELECT {SHOWN} FROM {tables.replays.fullname} WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def claim(pg: Any, lease: str) -> dict[str, Any] | None:
    """Take the oldest replay on which nobody works."""
    row = await pg.fetchrow(
        f"UPDATE {tables.replays.fullname} r SET state = 'running', lease = $1,"
        f" leased_until = now() + make_interval(secs => {LEASE_S}) FROM (SELECT id FROM {tables.replays.fullname}"
        " WHERE state IN ('waiting', 'running') AND (leased_until IS NULL OR leased_until < now())"
        " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) w WHERE r.id = w.id RETURNING r.*",
        lease,
    )
    return dict(row) if row else None


async def past_orders(pg: Any, since: datetime, until: datetime, after: str, limit: int) -> list[tuple[WorkOrder, str]]:
    """Orders opened from `since` to before `until` with the text of their first appeal, in the order of their ids."""
    rows = await pg.fetch(
        f"SELECT w.state, c.appeal::json ->> 'text' AS text FROM {tables.work_orders.fullname} w"
        f" LEFT JOIN {tables.cases.fullname} c ON c.appeal_id = w.state::json -> 'appeal_ids' ->> 0"
        " WHERE w.opened_at >= $1 AND w.opened_at < $2 AND w.id > $3 ORDER BY w.id LIMIT $4",
        since,
        until,
        after,
        limit,
    )
    return [(_orders.decode(row["state"]), row["text"] or "") for row in rows]


async def advance(
    pg: Any,
    identifier: str,
    lease: str,
    moves: Sequence[Mapping[str, Any]],
    *,
    cursor: str,
    examined: int,
    state: str = "running",
    error: str | None = None,
    ended_at: datetime | None = None,
) -> bool:
    """Write down a piece of it; False when somebody else works on it now: nothing is written then."""
    kept = await pg.fetchval(
        f"UPDATE {tables.replays.fullname} SET cursor = $3, examined = examined + $4, moved = moved + $5, state = $6,"
        f" error = $7, ended_at = $8, leased_until = now() + make_interval(secs => {LEASE_S})"
        " WHERE id = $1 AND lease = $2 RETURNING true",
        identifier,
        lease,
        cursor,
        examined,
        len(moves),
        state,
        error,
        ended_at,
    )
    if kept and moves:
        await bulk.insert(pg, tables.replay_moves, moves)
    return kept is not None


async def moves(pg: Any, identifier: str, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Orders that would have had another lead, by id."""
    rows = await pg.fetch(
        "SELECT work_order_id, lead, lead_now, lead_then, rule_now, rule_then"
        f" FROM {tables.replay_moves.fullname} WHERE replay_id = $1 AND ($2::text IS NULL OR work_order_id > $2)"
        " ORDER BY work_order_id LIMIT $3",
        identifier,
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def by_unit(pg: Any, identifier: str, limit: int) -> list[dict[str, Any]]:
    """How many orders would go from one lead to another, the most first."""
    rows = await pg.fetch(
        f"SELECT lead_now, lead_then, count(*) AS orders FROM {tables.replay_moves.fullname} WHERE replay_id = $1"
        " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT $2",
        identifier,
        limit,
    )
    return [dict(row) for row in rows]
