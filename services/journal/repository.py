"""SQL of the journal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.journal.domain import Entry
from shared.db.months import month_of
from shared.db.where import Where, prefixed
from shared.events.event import Event, Message
from shared.security.scope import prefix

LOOK_AT = 5_000
"""positions of one query, whatever is asked for: the journal holds years"""
_REGION = "coalesce(data #>> '{after,region_code}', data #>> '{after,place,region_code}')"
"""of the case that an event tells of"""


async def append(pg: Any, platform: str, messages: Sequence[Message[Event]]) -> int:
    """Write `messages` behind the last position and return the new one.

    The head's row lock lets one writer give positions at a time, so positions rise in the order of commits and a reader
    that has seen position n has seen everything below it.
    """
    written_at = datetime.now(UTC)
    last: int = await pg.fetchval(
        "WITH head AS (INSERT INTO journal.head VALUES ($1, $2)"
        " ON CONFLICT (platform) DO UPDATE SET position = journal.head.position + $2 RETURNING position),"
        " written AS (INSERT INTO journal.events (written_at, position, id, type, source, subject, sequence, time,"
        " topic, traceparent, data)"
        " SELECT $3, head.position - $2 + n, id, type, source, subject, sequence, time, topic,"
        " nullif(traceparent, ''), data::json"
        " FROM head, unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::timestamptz[],"
        " $10::text[], $11::text[], $12::text[])"
        " WITH ORDINALITY AS r(id, type, source, subject, sequence, time, topic, traceparent, data, n))"
        " SELECT position FROM head",
        platform,
        len(messages),
        written_at,
        [message.id for message in messages],
        [message.type for message in messages],
        [message.source for message in messages],
        [message.key for message in messages],
        [message.sequence for message in messages],
        [message.time for message in messages],
        [message.topic for message in messages],
        [message.traceparent or "" for message in messages],
        [message.raw.decode() for message in messages],
    )
    return last


async def read(
    pg: Any, after: int, types: Sequence[str], limit: int, regions: Sequence[str] | None = None, *, whole: bool = False
) -> tuple[list[Entry], int | None]:
    """Entries behind position `after` in order (`types` empty = all; of events in `regions`, None = all), and where to
    go on; None at the end. `whole`: nobody will look into their data, which is handed on as the text that it is.

    One call looks at no more than `LOOK_AT` positions: of a rare type a page may be short, or empty, and not the last.
    """
    where = Where()
    where.add("position > ?", after)
    where.add("position <= ?", after + LOOK_AT)
    if types:
        where.add("type = ANY(?)", list(types))
    if regions is not None:
        where.add(f"{_REGION} LIKE ANY(?)", [prefixed(prefix(code)) for code in regions])
    chosen = bool(types) or regions is not None
    end = await last_position(pg) if chosen else 0  # before the look: what is appended meanwhile must not be skipped
    rows = await pg.fetch(
        "SELECT position, id, type, source, subject, sequence, time, traceparent,"
        f" data{'::text AS data' if whole else ''} FROM journal.events"
        f" WHERE {where} ORDER BY position LIMIT {where.parameter(limit)}",
        *where.values,
    )
    upcoming: int | None = rows[-1]["position"] if rows else None
    if len(rows) < limit and end > after + LOOK_AT:
        upcoming = after + LOOK_AT
    return [_entry(row, whole=whole) for row in rows], upcoming


async def last_position(pg: Any) -> int:
    """The end of the journal."""
    found: int = await pg.fetchval("SELECT coalesce(max(position), 0) FROM journal.head")
    return found


def _entry(row: Any, *, whole: bool = False) -> Entry:
    return Entry(
        row["position"],
        row["id"],
        row["type"],
        row["source"],
        row["subject"],
        row["sequence"],
        row["time"],
        orjson.Fragment(row["data"]) if whole else row["data"],
        row["traceparent"],
    )


async def counts(pg: Any, after: int) -> tuple[dict[str, int], int]:
    """Events by type in the next `LOOK_AT` positions behind `after`, and the last position that was looked at."""
    rows = await pg.fetch(
        "SELECT type, count(*) AS n, max(position) AS last FROM journal.events WHERE position > $1 AND position <= $2"
        " GROUP BY type",
        after,
        after + LOOK_AT,
    )
    return {row["type"]: row["n"] for row in rows}, max((row["last"] for row in rows), default=after)


async def care(pg: Any, now: datetime) -> None:
    """Make the partitions of the month of `now` and of the next one."""
    for later in range(2):
        start, end = month_of(now, later), month_of(now, later + 1)
        await pg.execute(
            f"CREATE TABLE IF NOT EXISTS journal.events_{start:%Y%m} PARTITION OF journal.events"
            f" FOR VALUES FROM ('{start}') TO ('{end}')"
        )
