"""A process that hangs in the middle of a transaction holds up nobody for long."""

import asyncio

import pytest

from shared.clock import ManualClock
from shared.db import database
from shared.db.database import Database
from shared.errors import Transient
from shared.testing.postgres import fresh_database


async def test_locks_of_a_transaction_that_hangs_are_given_back(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "STALLED_S", 1)
    async with fresh_database(server_url) as url:
        first, second = (Database(url, "public", ManualClock(), platform="460100") for _ in range(2))
        async with first.transaction() as uow:
            await uow.pg.execute("CREATE TABLE one (value int); INSERT INTO one VALUES (1)")

        async def hang() -> None:
            async with first.transaction() as hanging:
                await hanging.pg.execute("UPDATE one SET value = 2")
                async with second.transaction() as other, asyncio.timeout(30):
                    await other.pg.execute("UPDATE one SET value = 3")  # waits until PostgreSQL ends the first
                await hanging.pg.execute("UPDATE one SET value = 4")

        with pytest.raises(Transient, match=r"idle-in-transaction|closed|terminat|another operation"):
            await hang()
        async with second.read() as pg:
            assert await pg.fetchval("SELECT value FROM one") == 3
        await first.close()
        await second.close()
