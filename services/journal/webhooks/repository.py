"""SQL of the webhooks: who is served by whom, how far each is, and what became of every push."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.journal.sharing import View
from services.journal.tables import webhook_deliveries, webhooks
from services.journal.webhooks.domain import Outcome, State, Webhook
from shared.db import bulk
from shared.db.where import Where

LEASE_S = 60
"""a sender that is not heard of for so long is dead, and another one serves its webhooks; real time"""
SHOWN = (
    *("id", "url", "types", "batch", "regions", "position", "state", "tries", "failing_since", "last_error"),
    *("give_up_s", "note", "created_at", "created_by", "delivered_at"),
)


async def add(pg: Any, row: dict[str, Any], most: int) -> bool:
    """Store a new webhook; False when its owner has `most` already."""
    await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"webhooks/{row['owner']}")
    if await pg.fetchval(f"SELECT count(*) FROM {webhooks.fullname} WHERE owner = $1", row["owner"]) >= most:
        return False
    await bulk.insert(pg, webhooks, [row])
    return True


async def listed(pg: Any, owner: str | None, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Webhooks of `owner` (None: of all) by id."""
    where = Where()
    if owner is not None:
        where.add("owner = ?", owner)
    if after is not None:
        where.add("id > ?", after)
    rows = await pg.fetch(
        f"SELECT {', '.join(SHOWN)} FROM {webhooks.fullname} WHERE {where} ORDER BY id LIMIT {limit:d}", *where.values
    )
    return [dict(row) for row in rows]


async def one(pg: Any, identifier: str, owner: str | None) -> dict[str, Any] | None:
    """A webhook that `owner` may know of."""
    where = Where()
    where.add("id = ?", identifier)
    if owner is not None:
        where.add("owner = ?", owner)
    row = await pg.fetchrow(
        f"SELECT {', '.join(SHOWN)}, generation FROM {webhooks.fullname} WHERE {where}", *where.values
    )
    return dict(row) if row else None


async def change(pg: Any, identifier: str, **values: Any) -> None:
    """Set columns; whoever serves it just now is told by losing its lease."""
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(values, 2))
    await pg.execute(
        f"UPDATE {webhooks.fullname} SET {sets}, lease = NULL, leased_until = NULL WHERE id = $1",
        identifier,
        *values.values(),
    )


async def rotate(pg: Any, identifier: str, now: datetime) -> int:
    """A new secret; returns its generation."""
    generation: int = await pg.fetchval(
        f"UPDATE {webhooks.fullname} SET generation = generation + 1, rotated_at = $2, lease = NULL,"
        " leased_until = NULL WHERE id = $1 RETURNING generation",
        identifier,
        now,
    )
    return generation


async def remove(pg: Any, identifier: str) -> None:
    await pg.execute(f"DELETE FROM {webhooks.fullname} WHERE id = $1", identifier)


async def deliveries(
    pg: Any, identifier: str, outcome: Outcome | None, after: int | None, limit: int
) -> list[dict[str, Any]]:
    """The pushes of a webhook, the newest first."""
    where = Where()
    where.add("webhook_id = ?", identifier)
    if outcome is not None:
        where.add("outcome = ?", outcome.value)
    if after is not None:
        where.add("number < ?", after)
    rows = await pg.fetch(
        "SELECT number, at, first_position, last_position, events, attempt, outcome, status, error, duration_ms"
        f" FROM {webhook_deliveries.fullname} WHERE {where} ORDER BY number DESC LIMIT {limit:d}",
        *where.values,
    )
    return [dict(row) for row in rows]


async def claim(pg: Any, lease: str, limit: int) -> list[Webhook]:
    """Take over webhooks for which there is news and that nobody serves, those that waited longest first."""
    rows = await pg.fetch(
        f"UPDATE {webhooks.fullname} w SET lease = $1, leased_until = now() + make_interval(secs => {LEASE_S})"
        f" FROM (SELECT id FROM {webhooks.fullname} WHERE state = 'active' AND retry_at <= now()"
        " AND (leased_until IS NULL OR leased_until < now())"
        " AND position < (SELECT coalesce(max(position), 0) FROM journal.head)"
        " ORDER BY retry_at LIMIT $2 FOR UPDATE SKIP LOCKED) due WHERE w.id = due.id RETURNING w.*",
        lease,
        limit,
    )
    return [_webhook(row) for row in rows]


async def advance(
    pg: Any,
    webhook: Webhook,
    lease: str,
    *,
    position: int,
    state: State = State.ACTIVE,
    tries: int = 0,
    failing_since: datetime | None = None,
    error: str | None = None,
    pause_s: float = 0.0,
    delivered: bool = False,
) -> bool:
    """Write down how far it is and keep the lease; False when somebody else serves it now, or it was changed: nothing
    is written then."""
    done = await pg.fetchval(
        f"UPDATE {webhooks.fullname} SET position = $3, state = $4, tries = $5, failing_since = $6, last_error = $7,"
        " retry_at = now() + make_interval(secs => $8), delivered_at = CASE WHEN $9 THEN now() ELSE delivered_at END,"
        f" leased_until = now() + make_interval(secs => {LEASE_S})"
        " WHERE id = $1 AND lease = $2 RETURNING true",
        webhook.id,
        lease,
        position,
        state.value,
        tries,
        failing_since,
        error,
        pause_s,
        delivered,
    )
    return done is not None


async def release(pg: Any, identifier: str, lease: str) -> None:
    """Nobody serves it any more."""
    await pg.execute(
        f"UPDATE {webhooks.fullname} SET lease = NULL, leased_until = NULL WHERE id = $1 AND lease = $2",
        identifier,
        lease,
    )


async def note_delivery(pg: Any, row: dict[str, Any]) -> None:
    """One line of the delivery log."""
    await bulk.insert(pg, webhook_deliveries, [row])


async def last_written_before(pg: Any, after: int, seconds: int) -> tuple[int, int]:
    """The last position behind `after` that was written more than `seconds` ago, and how many there are up to it."""
    row = await pg.fetchrow(
        "SELECT coalesce(max(position), $1) AS last, count(*) AS events FROM journal.events"
        " WHERE position > $1 AND written_at < now() - make_interval(secs => $2)",
        after,
        seconds,
    )
    return row["last"], row["events"]


def _webhook(row: Any) -> Webhook:
    return Webhook(
        id=row["id"],
        url=row["url"],
        types=row["types"],
        batch=row["batch"],
        view=View(_tuple(row["regions"]), tuple(row["withheld"])),
        position=row["position"],
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        give_up_s=row["give_up_s"],
        tries=row["tries"],
        failing_since=row["failing_since"],
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
