"""A small service that stands for any: it keeps, per key, the order of what it was told, and passes each fact on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.bus.records import Record, Transport
from shared.bus.subscriptions import Subscription
from shared.bus.worker import Worker
from shared.db.database import Database
from shared.events.catalog.appeals import Appeal, AppealReceived, Place, Reporter
from shared.events.event import Event, Message, encode
from shared.ids import uuid7
from shared.outbox.relay import Relay
from shared.outbox.uow import Uow

PARTITIONS = 4


@dataclass
class Counting:
    """The service under test; `trouble(message)` may raise."""

    database: Database
    topic: str
    transport: Transport
    order: str = "facts"
    trouble: Any = None
    calls: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def on_facts(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        self.calls += 1
        for message in batch:
            if self.trouble is not None:
                self.trouble(message)
            await uow.pg.execute(
                "INSERT INTO seen (key, sequence, place) VALUES ($1, $2, (SELECT count(*) FROM seen WHERE key = $1))",
                message.key,
                message.sequence,
            )
            uow.emit(message.data, key=message.key, sequence=message.sequence)

    def worker(self) -> Worker:
        subscription = Subscription(self.topic, self.on_facts, order=self.order)  # type: ignore[arg-type]
        return Worker("counting", [subscription], self.database, self.transport)

    def start(self, *, workers: int = 1, relay: bool = False) -> list[Worker]:
        found = [self.worker() for _ in range(workers)]
        self.tasks += [asyncio.create_task(worker.run()) for worker in found]
        if relay:
            self.tasks.append(asyncio.create_task(Relay(self.database, self.transport).run()))
        return found

    async def crash(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def seen(self) -> dict[str, list[int]]:
        async with self.database.transaction() as uow:
            rows = await uow.pg.fetch("SELECT key, sequence FROM seen ORDER BY key, place")
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(row["key"], []).append(row["sequence"])
        return found

    async def until(self, total: int, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while True:
                async with self.database.transaction() as uow:
                    if await uow.pg.fetchval("SELECT count(*) FROM seen") >= total:
                        return
                await asyncio.sleep(0.05)


def fact(key: str, sequence: int, topic: str, event_id: str | None = None) -> Record:
    event = AppealReceived(
        actor="citizen",
        after=Appeal(
            id=key,
            platform="460100",
            reference_no=f"460100-20261102-{sequence:06d}",
            channel="web",
            text="路灯不亮",
            received_at=datetime(2026, 11, 2, tzinfo=UTC),
            source_platform="460100",
            reporter=Reporter(),
            place=Place(region_code="460106"),
            rating_token_sha256=[],
            status="received",
        ),
    )
    message: Message[Event] = Message(
        id=event_id or uuid7(),
        type=event.type,
        source="/460100/intake",
        key=key,
        sequence=sequence,
        time=datetime(2026, 11, 2, tzinfo=UTC),
        data=event,
    )
    headers, value = encode(message)
    return Record(topic, key, headers, value)


@asynccontextmanager
async def running(service: Counting, **options: Any) -> AsyncIterator[list[Worker]]:
    yield service.start(**options)
    await service.crash()
