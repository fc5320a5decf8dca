"""Thousands of events wait, a reader is slow, a key never works: memory stays bounded, nobody else is held up, nothing
is missed. On both transports; `SUSHU_BACKLOG=100000` for the full size."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.bus.records import Transport
from shared.bus.subscriptions import Subscription
from shared.bus.worker import Worker
from shared.clock import ManualClock
from shared.db.database import Database
from shared.db.migrate import migrate
from shared.errors import Poison
from shared.events.event import Message
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.testing.postgres import fresh_database
from shared.transport.embedded import EmbeddedTransport
from shared.transport.kafka import KafkaTransport
from tests.contract.bus.counting import fact

BACKLOG = int(os.environ.get("SUSHU_BACKLOG", "20000"))
KEYS = 1_000
EACH = BACKLOG // KEYS
STUCK, NEVER = "key-7", 3
"""this fact of this key never works"""
LIMIT_MB = 200
"""what a process may grow by while it works off a backlog (its batches, and what it keeps of the log)"""
DRAINED_S = 200.0
"""a backlog of 100,000 is worked off in this time even on a machine that others use; mostly in a quarter of it"""


class Reader:
    """Notes what it is told; `pause` makes it slow."""

    def __init__(self, database: Database, transport: Transport, topic: str, pause: float = 0.0) -> None:
        self.database = database
        self.pause = pause
        subscription = Subscription(topic, self.on_facts, order="facts")
        self.worker = Worker(database.schema, [subscription], database, transport)

    async def on_facts(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        await asyncio.sleep(self.pause)
        if any(message.key == STUCK and message.sequence == NEVER for message in batch):
            raise Poison("on purpose")
        await uow.pg.execute(
            "INSERT INTO seen SELECT * FROM unnest($1::text[], $2::bigint[])",
            [message.key for message in batch],
            [message.sequence for message in batch],
        )

    async def count(self) -> int:
        """Facts that it has handled, and those that wait behind the one that never works."""
        async with self.database.read() as pg:
            return int(await pg.fetchval("SELECT (SELECT count(*) FROM seen) + (SELECT count(*) FROM dead_letters)"))

    async def wrong(self) -> list[str]:
        """Keys that were not told each of their facts once."""
        async with self.database.read() as pg:
            rows = await pg.fetch(
                "SELECT key FROM seen GROUP BY key"
                " HAVING count(*) <> $1 OR count(DISTINCT sequence) <> $1 OR max(sequence) <> $1",
                EACH,
            )
        return [row["key"] for row in rows]

    async def letters(self) -> dict[str, int]:
        """How many dead letters are parked, and wait."""
        async with self.database.read() as pg:
            return dict(await pg.fetch("SELECT status, count(*) FROM dead_letters WHERE key = $1 GROUP BY 1", STUCK))


@dataclass
class Crowd:
    """A quick reader and a slow one in one process, with the backlog before them."""

    quick: Reader
    slow: Reader


@asynccontextmanager
async def crowd(url: str, transport: Transport, folder: Path) -> AsyncIterator[Crowd]:
    await transport.start()
    topic = f"test.backlog.{uuid7()}.v1"
    await transport.ensure_topics({topic: 4})
    found = []
    for name, pause in (("quick", 0.0), ("slow", 0.5)):
        await migrate(url, name, folder / "none")
        database = Database(url, name, ManualClock(), platform="460100")
        async with database.transaction() as uow:
            await uow.pg.execute("CREATE TABLE seen (key text, sequence bigint)")
        found.append(Reader(database, transport, topic, pause))
    for sequence in range(1, EACH + 1):
        await transport.publish([fact(f"key-{number}", sequence, topic) for number in range(KEYS)])
    if isinstance(transport, EmbeddedTransport):
        transport.forget()  # as after a start: all of it stands in PostgreSQL alone
    yield Crowd(*found)
    for reader in found:
        await reader.database.close()
    await transport.stop()


@pytest.fixture
async def readers(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> AsyncIterator[Crowd]:
    async with fresh_database(server_url) as url:
        transport: Transport = (
            KafkaTransport(request.getfixturevalue("kafka_servers"))
            if request.param == "kafka"
            else EmbeddedTransport(url)
        )
        async with crowd(url, transport, tmp_path) as found:
            yield found


@pytest.mark.slow
@pytest.mark.timeout(2 * DRAINED_S + 60)
@pytest.mark.parametrize("readers", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_a_backlog_is_worked_off_in_bounded_memory_beside_a_slow_reader_and_a_stuck_key(readers: Crowd) -> None:
    quick, slow = readers.quick, readers.slow
    here = psutil.Process()
    before = peak = here.memory_info().rss

    async def drained(reader: Reader) -> float:
        nonlocal peak
        began = time.monotonic()
        async with asyncio.timeout(DRAINED_S):
            while await reader.count() < BACKLOG:
                peak = max(peak, here.memory_info().rss)
                await asyncio.sleep(0.1)
        return time.monotonic() - began

    tasks = [asyncio.create_task(reader.worker.run()) for reader in (quick, slow)]
    try:
        seconds = await drained(quick)
        assert await slow.count() < BACKLOG
        assert quick.worker.stopped_because is None
        slow.pause = 0.0
        after = await drained(slow)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"{BACKLOG} drained in {seconds:.1f} s, the slow one {after:.1f} s later; {(peak - before) / 1e6:.0f} MB")
    for reader in (quick, slow):
        assert await reader.wrong() == [STUCK]
        assert await reader.letters() == {"parked": 1, "waiting": EACH - NEVER}
    assert (peak - before) / 1e6 < LIMIT_MB
