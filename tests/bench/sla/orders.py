"""Invented orders as events of dispatch, put on the log in bulk."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.bus.records import Record
from shared.events.catalog import work_orders
from shared.events.event import Message, encode
from shared.ids import uuid7
from shared.transport.embedded import EmbeddedTransport

PLATFORM = "460100"
DISTRICTS = ("460105", "460106", "460107", "460108")
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """An order of class urgent, of one of forty units in four districts."""

    number: int
    id: str
    received_at: datetime
    due_at: datetime
    """of its `complete` clock, by the bench's own arithmetic"""

    @property
    def unit(self) -> str:
        return f"unit-{self.number % 40}"

    @property
    def region(self) -> str:
        return f"{DISTRICTS[self.number % 4]}{self.number % 8 + 1:03d}"

    def snapshot(self, version: int, status: str = "dispatched") -> work_orders.WorkOrder:
        """As dispatch shows it."""
        return work_orders.WorkOrder(
            id=self.id,
            platform=PLATFORM,
            appeal_ids=[f"{self.id[:-1]}{(int(self.id[-1], 16) + 1) % 16:x}"],
            status=status,
            lead=self.unit,
            lead_name="一号单位",
            lead_region=self.region,
            handling_class="urgent",
            matter="01010101",
            matter_path=["一", "二"],
            kind="help",
            region_code=self.region,
            channel="web",
            dispatch_no=1,
            version=version,
            received_at=self.received_at,
            opened_at=self.received_at,
            dispatched_at=self.received_at,
        )

    def dispatched(self, at: datetime) -> Record:
        """Its first event."""
        event = work_orders.WorkOrderDispatched(actor="system:dispatch", cause="routing", after=self.snapshot(1))
        return record(event, self.id, 1, at)

    def progressed(self, at: datetime) -> Record:
        """A note, its second event: it moves no clock, but sla has to read it."""
        event = work_orders.WorkOrderProgressed(actor="user:bench", after=self.snapshot(2))
        return record(event, self.id, 2, at)

    def completed(self, at: datetime) -> Record:
        """Its second."""
        event = work_orders.WorkOrderCompleted(actor="user:bench", after=self.snapshot(2, "completed"))
        return record(event, self.id, 2, at)


def order(number: int, received_at: datetime, due_at: datetime) -> Order:
    """An order of its own id."""
    return Order(number, uuid7(), received_at, due_at)


def record(event: Any, key: str, sequence: int, at: datetime) -> Record:
    """An event as dispatch's relay would put it on the log."""
    message = Message(uuid7(), event.type, f"/{PLATFORM}/dispatch", key, sequence, at, event)
    headers, value = encode(message)
    return Record(event.topic, key, headers, value)


@asynccontextmanager
async def bus(url: str) -> AsyncIterator[EmbeddedTransport]:
    """The log, to write to."""
    transport = EmbeddedTransport(url)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.stop()


async def publish(transport: EmbeddedTransport, records: Iterable[Record]) -> int:
    """Everything in order, some at a time; returns how many."""
    count = 0
    batch: list[Record] = []
    for one in records:
        batch.append(one)
        if len(batch) == BATCH:
            count += await _send(transport, batch)
            batch = []
    return count + await _send(transport, batch)


async def _send(transport: EmbeddedTransport, records: Sequence[Record]) -> int:
    await transport.publish(records)
    return len(records)
