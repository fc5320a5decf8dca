"""A table partitioned by day that keeps so many days: what is past them goes by dropping whole partitions."""

from datetime import UTC, date, timedelta
from typing import Any

from shared.clock import Clock
from shared.db.care import hourly
from shared.db.database import Database

AHEAD = 2


class Days:
    """A service's table of the last days: its partitions are made before the service starts, looked after while it
    runs. Days are those of the business clock, in UTC."""

    def __init__(self, database: Database, clock: Clock, name: str, kept: int) -> None:
        self.database = database
        self.clock = clock
        self.name = name
        self.kept = kept

    async def make(self) -> None:
        today = self.clock.now().astimezone(UTC).date()
        async with self.database.transaction() as uow:
            await keep(uow.pg, self.database.schema, self.name, today, self.kept)

    async def care(self) -> None:
        """Every hour, so that a day never begins without its partition."""
        await hourly(self.make)


async def keep(pg: Any, schema: str, name: str, today: date, kept: int) -> None:
    """Make the partitions of `today` and the days ahead, and drop those more than `kept` days old. On the caller's
    transaction; safe to call at any moment.

    The table has a column `day` and a default partition `<name>_other`: rows of days without a partition are in it and
    move when their day gets its own.
    """
    table = f"{schema}.{name}"
    await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"care/{table}")
    have = {
        row["relname"]
        for row in await pg.fetch(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = $1::regclass",
            table,
        )
    }
    for offset in range(-1, AHEAD + 1):
        day = today + timedelta(days=offset)
        own = f"{name}_{day:%Y%m%d}"
        if own not in have:
            await pg.execute(
                f"CREATE TABLE {schema}.{own} (LIKE {table} INCLUDING ALL);"
                f"WITH moved AS (DELETE FROM {table}_other WHERE day = '{day}' RETURNING *)"
                f" INSERT INTO {schema}.{own} SELECT * FROM moved;"
                f"ALTER TABLE {table} ATTACH PARTITION {schema}.{own}"
                f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
    oldest = today - timedelta(days=kept)
    for own in have:
        suffix = own.removeprefix(f"{name}_")
        if suffix.isdigit() and suffix < f"{oldest:%Y%m%d}":
            await pg.execute(f"DROP TABLE IF EXISTS {schema}.{own}")
    await pg.execute(f"DELETE FROM {table}_other WHERE day < $1", oldest)
