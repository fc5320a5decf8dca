"""How much is still on its way through the services that share one PostgreSQL (local stacks and tests)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.bus.records import Partition, Transport


async def schemas_of(connection: Any) -> list[str]:
    """Schemas that hold a service's runtime tables."""
    rows = await connection.fetch(
        "SELECT schemaname FROM pg_tables t WHERE tablename = 'timers' AND EXISTS (SELECT 1 FROM pg_tables o"
        " WHERE o.schemaname = t.schemaname AND o.tablename = 'inbox_offsets') ORDER BY 1"
    )
    return [row["schemaname"] for row in rows]


async def backlog(connection: Any, transport: Transport, now: datetime, schemas: Sequence[str]) -> str | None:
    """What is still to do at business instant `now` in these schemas, in words, or None when everything is applied:
    outbox rows to send, timers to fire, records to read."""
    if not schemas:
        return None
    outbox, due = await connection.fetchrow(
        "SELECT "
        + " + ".join(f'(SELECT count(*) FROM "{name}".outbox WHERE parked IS NULL)' for name in schemas)
        + ", "
        + " + ".join(
            f'(SELECT count(*) FROM "{name}".timers WHERE due_at <= $1 AND retry_at IS NULL)' for name in schemas
        ),
        now,
    )
    if outbox:
        return f"{outbox} outbox rows"
    if due:
        return f"{due} due timers"
    read = await connection.fetch(
        " UNION ALL ".join(
            f"SELECT '{name}' AS reader, topic, partition, next_offset FROM \"{name}\".inbox_offsets"
            for name in schemas
        )
    )
    topics = sorted({row["topic"] for row in read})
    ends = await transport.ends(topics) if topics else {}
    behind = [
        f"{row['reader']} at {row['topic']}/{row['partition']}"
        for row in read
        for first, upcoming in [ends.get(Partition(row["topic"], row["partition"]), (0, 0))]
        if upcoming > max(row["next_offset"], first)
    ]
    return f"unread: {', '.join(behind[:5])}" if behind else None
