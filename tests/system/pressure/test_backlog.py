"""100,000 events wait, one reader is slow: memory stays bounded, the quick reader is not held up, nothing is missed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.bus.subscriptions import Subscription
from shared.bus.worker import Worker
from shared.clock import ManualClock
from shared.db.database import Database
from shared.db.migrate import migrate
from shared.events.event import Message
from shared.outbox.uow import Uow
from shared.testing.postgres import fresh_database
from shared.transport.embedded import EmbeddedTransport
from tests.contract.bus.counting import fact

BACKLOG = 100_000
KEYS = 1_000
TOPIC = "test.backlog.v1"
LIMIT_MB = 200
"""what a process may grow by while it works off a backlog (its batches, and what it keeps of the log)"""


class Reader:
    """Counts what it is told; `pause` makes it slow."""

    def __init__(self, database: Database, transport: EmbeddedTransport, pause: float = 0.0) -> None:
        self.database = database
        self.pause = pause
        subscription = Subscription(TOPIC, self.on_facts, order="facts")
        self.worker = Worker(database.schema, [subscription], database, transport)

    async def on_facts(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        await asyncio.sleep(self.pause)
        await uow.pg.execute(
            "INSERT INTO seen SELECT * FROM unnest($1::text[], $2::bigint[])",
            [message.key for message in batch],
            [message.sequence for message in batch],
        )

    async def count(self) -> int:
        async with self.database.read() as pg:
            return int(await pg.fetchval("SELECT count(*) FROM seen"))


@pytest.fixture
async def readers(server_url: str, tmp_path: Path) -> AsyncIterator[tuple[Reader, Reader]]:
    """A quick one and a slow one in one process, with the backlog before them."""
    async with fresh_database(server_url) as url:
        transport = EmbeddedTransport(url)
        await transport.start()
        await transport.ensure_topics({TOPIC: 4})
        found = []
        for name, pause in (("quick", 0.0), ("slow", 0.5)):
            await migrate(url, name, tmp_path / "none")
            database = Database(url, name, ManualClock(), platform="460100")
            async with database.transaction() as uow:
                await uow.pg.execute("CREATE TABLE seen (key text, sequence bigint)")
            found.append(Reader(database, transport, pause))
        for sequence in range(1, BACKLOG // KEYS + 1):
            await transport.publish([fact(f"key-{number}", sequence, TOPIC) for number in range(KEYS)])
        transport.forget()  # as after a start: all of it stands in PostgreSQL alone
        yield found[0], found[1]
        for reader in found:
            await reader.database.close()
        await transport.stop()


@pytest.mark.slow
async def test_a_backlog_is_worked_off_in_bounded_memory_beside_a_slow_reader(readers: tuple[Reader, Reader]) -> None:
    quick, slow = readers
    here = psutil.Process()
    before = peak = here.memory_info().rss
    tasks = [asyncio.create_task(reader.worker.run()) for reader in readers]
    try:
        async with asyncio.timeout(200):
            while await quick.count() < BACKLOG:
                peak = max(peak, here.memory_info().rss)
                await asyncio.sleep(0.1)
        assert 0 < await slow.count() < BACKLOG
        slow.pause = 0.0
        async with asyncio.timeout(200):
            while await slow.count() < BACKLOG:
                peak = max(peak, here.memory_info().rss)
                await asyncio.sleep(0.1)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for reader in readers:
        async with reader.database.read() as pg:
            wrong = await pg.fetchval(
                "SELECT count(*) FROM (SELECT key FROM seen GROUP BY key"
                " HAVING count(*) <> $1 OR count(DISTINCT sequence) <> $1) w",
                BACKLOG // KEYS,
            )
        assert wrong == 0
    assert (peak - before) / 1e6 < LIMIT_MB
