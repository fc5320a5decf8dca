"""Tables partitioned by the month inside their UUIDv7 key: making the partitions, and reading the newest rows first.

A UUIDv7 begins with its millisecond, so a range of keys is a range of time.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table

from shared.db.care import hourly
from shared.db.database import Database

AHEAD = 2
_WIDER = (1, 2, 4, 8)
"""months of the later windows: what is rare is found with few queries, what is common in the first"""


def month_of(instant: datetime, later: int = 0) -> datetime:
    """The first instant (UTC) of the month of `instant`, or of one `later` (negative: earlier)."""
    instant = instant.astimezone(UTC)
    number = instant.year * 12 + instant.month - 1 + later
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def first_key(instant: datetime) -> UUID:
    """The smallest UUIDv7 of `instant`."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


async def make(pg: Any, schema: str, tables: Sequence[Table], now: datetime) -> None:
    """Make the partitions of the month of `now` and of `AHEAD` more where they are missing. Keys are of real time, as
    `now` must be."""
    held = {
        row["relname"]
        for row in await pg.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = $1::regnamespace", schema
        )
    }
    for table in tables:
        for later in range(1 + AHEAD):
            start, end = month_of(now, later), month_of(now, later + 1)
            name = f"{table.name}_{start:%Y%m}"
            if name not in held:
                await pg.execute(
                    f"CREATE TABLE IF NOT EXISTS {schema}.{name} PARTITION OF {schema}.{table.name}"
                    f" FOR VALUES FROM ('{first_key(start)}') TO ('{first_key(end)}')"
                )


class Partitions:
    """The month partitions of one service's tables: made before the service starts, looked after while it runs."""

    def __init__(self, database: Database, tables: Sequence[Table]) -> None:
        self.database = database
        self.tables = tables

    async def make(self) -> None:
        """This month's and the next ones'; two processes at once wait for each other."""
        async with self.database.transaction() as uow:
            await uow.pg.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{self.database.schema}/partitions"
            )
            await make(uow.pg, self.database.schema, self.tables, datetime.now(UTC))

    async def care(self) -> None:
        """Every hour, so that a month never begins without its partitions."""
        await hourly(self.make)


def newest_first(start: datetime) -> Iterator[tuple[UUID | None, UUID | None]]:
    """Ranges of keys (from, to; None: open) that together hold everything, the month of `start` and what is later
    first, then wider and wider ones. A search that walks them touches few partitions at a time and stops when its page
    is full, however many rows match in all."""
    low = month_of(start)
    high: datetime | None = None
    for months in _WIDER:
        yield first_key(low), first_key(high) if high else None
        low, high = month_of(low, -months), low
    yield first_key(low), first_key(high) if high else None
    yield None, first_key(low)
