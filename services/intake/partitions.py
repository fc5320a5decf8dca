"""Month partitions: a UUIDv7 begins with its millisecond, so a range of keys is a range of time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.intake.tables import PARTITIONED, SCHEMA
from shared.db.database import Database
from shared.errors import Transient

log = logging.getLogger(__name__)

MONTHS_AHEAD = 2
_CARE_S = 3600


def months(now: datetime) -> list[tuple[datetime, datetime]]:
    """First instants of the month of `now` and the next ones, each with its end."""
    found = []
    year, month = now.year, now.month
    for _ in range(1 + MONTHS_AHEAD):
        start = datetime(year, month, 1, tzinfo=UTC)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        found.append((start, datetime(year, month, 1, tzinfo=UTC)))
    return found


def first_key(instant: datetime) -> UUID:
    """The smallest UUIDv7 of `instant`."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


async def make(pg: Any, now: datetime) -> None:
    """Make the partitions of this month and the next two where they are missing. Keys are of real time, as `now`."""
    held = {row["relname"] for row in await pg.fetch("SELECT relname FROM pg_class WHERE relkind = 'r'")}
    for table in PARTITIONED:
        for start, end in months(now):
            name = f"{table.name}_{start:%Y%m}"
            if name not in held:
                await pg.execute(
                    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{name} PARTITION OF {SCHEMA}.{table.name}"
                    f" FOR VALUES FROM ('{first_key(start)}') TO ('{first_key(end)}')"
                )


async def make_once(database: Database) -> None:
    """Before the service starts; two processes at once wait for each other."""
    async with database.transaction() as uow:
        await uow.pg.execute("SELECT pg_advisory_xact_lock(hashtextextended('intake/partitions', 0))")
        await make(uow.pg, datetime.now(UTC))


async def care(database: Database) -> None:
    """Every hour, so that a month never begins without its partitions."""
    while True:
        await asyncio.sleep(_CARE_S)
        try:
            await make_once(database)
        except Transient as error:
            log.warning("partitions are looked after later", extra={"error": str(error)})
