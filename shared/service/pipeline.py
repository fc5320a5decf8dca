"""How much is still on its way through the services that share one PostgreSQL (local stacks and tests)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.bus.records import Partition, Transport


async def schemas_of(connection: Any) -> list[str]:
    """Schemas that hold a service's runtime tables."""
    rows = await connection.fetch(
        "SELECT n.nspname AS name FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace"
        " WHERE t.relname = 'timers' AND t.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_class o"
        " WHERE o.relname = 'inbox_offsets' AND o.relnamespace = t.relnamespace) ORDER BY 1"
    )
    return [row["name"] for row in rows]


def looks(transport: Transport) -> int:
    """How often in a row `backlog` must find nothing. A batch may just have moved from one place to the next; where the
    log stands in the database too, one look sees all places at one instant."""
    return 1 if transport.ends_sql else 2


async def backlog(connection: Any, transport: Transport, now: datetime, schemas: Sequence[str]) -> str | None:
    """What is still to do at business instant `now` in these schemas, in words, or None when everything is applied:
    outbox rows to send, timers to fire, records to read."""
    if not schemas:
        return None
    reading = " UNION ALL ".join(
        f"SELECT '{name}' AS reader, topic, partition, next_offset FROM \"{name}\".inbox_offsets" for name in schemas
    )
    outbox = " OR ".join(f'EXISTS (SELECT FROM "{name}".outbox WHERE parked IS NULL)' for name in schemas)
    due = " OR ".join(
        f'EXISTS (SELECT FROM "{name}".timers WHERE due_at <= $1 AND retry_at IS NULL)' for name in schemas
    )
    unread = (
        "NULL::text"
        if transport.ends_sql is None
        else (
            "(SELECT 'unread: ' || r.reader || ' at ' || r.topic || '/' || r.partition"
            f" FROM ({reading}) r JOIN ({transport.ends_sql}) e USING (topic, partition)"
            " WHERE e.next_offset > greatest(r.next_offset, e.first_offset) LIMIT 1)"
        )
    )
    # the cheapest that tells most comes first: what comes after an answer is not looked at
    state: str | None = await connection.fetchval(
        f"SELECT coalesce({unread}, CASE WHEN {outbox} THEN 'outbox rows to send' WHEN {due} THEN 'due timers' END)",
        now,
    )
    if state is not None or transport.ends_sql is not None:
        return state
    read = await connection.fetch(reading)
    topics = sorted({row["topic"] for row in read})
    ends = await transport.ends(topics) if topics else {}
    for row in read:
        first, upcoming = ends.get(Partition(row["topic"], row["partition"]), (0, 0))
        if upcoming > max(row["next_offset"], first):
            return f"unread: {row['reader']} at {row['topic']}/{row['partition']}"
    return None
