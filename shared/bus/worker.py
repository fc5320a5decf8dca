"""The consumer runtime: batches in, effects and outbox rows out, exactly once (architecture.md, "The runtime").

    BEGIN → lock offsets, drop what was seen → handlers(batch, uow) → outbox rows, timers → COMMIT → commit offsets

A failing batch is split until the failing record is alone; it is tried again a few times and then becomes a dead
letter, and later records of its key wait behind it. `Transient` never dead-letters: the records are tried again with
back-off, partition by partition, while others flow.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.bus.dead_letters import DeadLetters, reason_of
from shared.bus.inbox import Inbox
from shared.bus.records import Consumer, Partition, Received, Transport
from shared.bus.sequences import Sequences
from shared.bus.subscriptions import BatchHandler, Subscription
from shared.clock import loop_time
from shared.db.database import Database
from shared.errors import Poison, Transient
from shared.events import catalog
from shared.events.event import Event, Headers, Message, decode, read_from, without_body
from shared.outbox.uow import Uow
from shared.telemetry import metrics

log = logging.getLogger(__name__)

BATCH = 500
ATTEMPTS = 4
BACK_OFF_S = (0.05, 5.0)
"""first and longest pause before the next try"""
JOIN_S = 10.0
"""a member without partitions counts as ready after so long: others own them all"""
DEAD_IN_A_ROW = 50
"""so many dead letters without one success in between stop the worker: something is wrong with us, not with them"""
WAITS = 3
"""so many tries in vain and a paused partition is said to wait: passing trouble should have passed"""
FAILURES = 10
"""so many failed rounds in a row and the worker leaves its group and joins anew: its consumer may be beyond mending"""
CARE_S = 3600.0
LOOK_S = 30.0
"""timers wait for kept facts whose turn has come: what was left of them must not lie for long"""


def decode_event(headers: Headers, value: bytes) -> Message[Event]:
    """The message in a record by the catalog. Raises `Poison`."""
    return decode(catalog.EVENTS, catalog.DECODERS, headers, value)


def back_off(attempt: int) -> float:
    """Seconds before the try after `attempt` (1, 2, …): doubling with jitter."""
    first, longest = BACK_OFF_S
    return float(min(longest, first * 2**attempt) * random.uniform(0.5, 1.0))


class Worker:
    """One member of a service's consumer group."""

    def __init__(
        self,
        group: str,
        subscriptions: Sequence[Subscription],
        database: Database,
        transport: Transport,
        *,
        decoder: Callable[[Headers, bytes], Message[Event]] = decode_event,
        batch: int = BATCH,
        pace_s: float = 0.0,
    ) -> None:
        """`pace_s`: at most one batch in so many seconds. The first event after a pause is handled at once; a stream
        is gathered, which makes each event much cheaper."""
        self.group = group
        self.subscriptions: Mapping[str, Subscription] = {
            subscription.topic: subscription for subscription in subscriptions
        }
        self.database = database
        self.transport = transport
        self.inbox = Inbox(database.schema)
        self.sequences = Sequences(database.schema)
        self.dead_letters = DeadLetters(database.schema, group)
        self.decoder = decoder
        self.batch = batch
        self.pace_s = pace_s
        self.stopped_because: str | None = "has not joined its group yet"
        """why the worker gave up, or what it waits for; None while it flows"""
        self.waits: dict[Partition, str] = {}
        """partitions that stand still after `WAITS` tries, and the trouble that they wait out"""
        self._dead_in_a_row = 0
        self._positions: dict[Partition, int] = {}
        self._paused: dict[Partition, tuple[float, int]] = {}
        self._attempts: dict[tuple[Partition, int], int] = {}
        self._next_care = 0.0
        self._next_look = 0.0

    async def run(self) -> None:
        """Read and handle until cancelled."""
        while True:
            consumer = self.transport.consumer(self.group, list(self.subscriptions), pace_s=self.pace_s)
            try:
                await consumer.start()
            except Exception as error:  # the broker may come up after us
                self.stopped_because = f"cannot join the group: {error}"
                log.warning("cannot join the group", extra={"group": self.group, "error": str(error)})
                await asyncio.sleep(1)
                continue
            try:
                await self._loop(consumer)
            except Exception as error:
                log.error("leaving the group to join it anew", extra={"group": self.group}, exc_info=error)
            finally:
                self._positions.clear()
                self._paused.clear()
                self.waits.clear()
                await asyncio.shield(consumer.stop())

    async def _loop(self, consumer: Consumer) -> None:
        failures = 0
        joined = loop_time()
        next_batch = 0.0
        while True:
            try:
                await asyncio.sleep(max(0.0, next_batch - loop_time()))
                await self._care()
                await self._take_over(consumer)
                self._resume(consumer)
                placed = consumer.assigned() or loop_time() > joined + JOIN_S
                if placed and failures == 0 and self._dead_in_a_row < DEAD_IN_A_ROW:
                    self.stopped_because = None
                records = await consumer.poll(self.batch, 0.5)
                if self._dead_in_a_row >= DEAD_IN_A_ROW:
                    self.stopped_because = (
                        f"{self._dead_in_a_row} dead letters in a row: look at"
                        f" /ops/{self.database.schema}/dead-letters, mend the cause and restart"
                    )
                    await asyncio.sleep(5)
                    self._rewind(consumer)
                    continue
                if records:
                    full = len(records) >= self.batch // 2
                    next_batch = 0.0 if full else loop_time() + self.pace_s
                    await self._handle(consumer, records)
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                failures += 1
                self.stopped_because = f"trying again: {error}"
                level = logging.WARNING if isinstance(error, Transient) else logging.ERROR
                log.log(
                    level,
                    "worker trouble, trying again",
                    extra={"group": self.group, "error": str(error), "failures": failures},
                    exc_info=not isinstance(error, Transient),
                )
                if failures >= FAILURES:
                    raise
                await asyncio.sleep(back_off(failures))
                self._rewind(consumer)

    def _rewind(self, consumer: Consumer) -> None:
        """Read again what was polled and not handled."""
        for partition in consumer.assigned():
            if partition in self._positions:
                consumer.seek(partition, self._positions[partition])

    async def _care(self) -> None:
        """House-keeping of the inbox, at the start and every hour; kept facts whose turn came without anybody handing
        them over, more often. Its trouble never stops the work."""
        now = loop_time()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        try:
            if now >= self._next_care:
                async with self.database.transaction() as uow:
                    await self.inbox.care(uow.pg)
                self._next_care = now + CARE_S
            async with self.database.look_up() as pg:
                overdue = await self.sequences.overdue(pg)
            for topic, key in overdue:
                await self.release(topic, key)
        except Exception as error:
            self._next_look = loop_time() + (BACK_OFF_S[1] if isinstance(error, Transient) else LOOK_S)
            log.error("house-keeping of the inbox failed", extra={"group": self.group}, exc_info=error)

    async def _take_over(self, consumer: Consumer) -> None:
        """Start newly assigned partitions where the inbox says."""
        assigned = consumer.assigned()
        for gone in [partition for partition in self._positions if partition not in assigned]:
            del self._positions[gone]
            self._paused.pop(gone, None)
            self.waits.pop(gone, None)
        fresh = consumer.unplaced()
        if not fresh:
            return
        self._next_look = 0.0  # who had them may have died between two kept facts: timers wait for these
        topics = sorted({partition.topic for partition in fresh})
        async with self.database.look_up() as pg:
            known = await self.inbox.positions(pg, topics)
        ends = await self.transport.ends(topics)  # after the positions, which may still move: never behind them
        fresh = fresh & ends.keys()  # one that was added just now may not be known to all yet
        async with self.database.transaction() as uow:
            await self.inbox.begin(
                uow.pg, {partition: ends[partition][0] for partition in fresh if partition not in known}
            )
            for partition in fresh:
                first, upcoming = ends[partition]
                position = known.get(partition, first)
                if position > upcoming:
                    log.error(
                        "the log is shorter than what was read: it was made anew; reading it from its start",
                        extra={"topic": partition.topic, "partition": partition.number, "read": position},
                    )
                    await self.inbox.rewind(uow.pg, partition, first)
                    position = first
                known[partition] = max(position, first)
        for partition in fresh:
            self._paused.pop(partition, None)
            consumer.resume(partition)
            self._positions[partition] = known[partition]
            consumer.seek(partition, known[partition])

    def _resume(self, consumer: Consumer) -> None:
        now = loop_time()
        for partition, (until, offset) in list(self._paused.items()):
            if now >= until:
                del self._paused[partition]
                consumer.resume(partition)
                consumer.seek(partition, offset)

    async def _handle(self, consumer: Consumer, records: Sequence[Received]) -> None:
        started = time.perf_counter()
        try:
            await self._apply(records)
        except Exception as error:
            await self._handle_by_partition(consumer, records, error)
        metrics.BATCH_SECONDS.labels(self.group).observe(time.perf_counter() - started)
        metrics.BATCH_RECORDS.labels(self.group).observe(len(records))
        positions: dict[Partition, int] = {}
        for record in records:
            if record.partition not in self._paused:
                positions[record.partition] = record.offset + 1
                self.waits.pop(record.partition, None)
        self._positions.update(positions)
        try:
            await consumer.commit(positions)
        except Exception as error:  # the inbox holds the truth, this is for the broker's lag figures
            log.warning("the broker did not take the positions", extra={"group": self.group, "error": str(error)})

    async def _handle_by_partition(self, consumer: Consumer, records: Sequence[Received], error: BaseException) -> None:
        """Something in the batch failed: go on partition by partition, so that one cannot hold up the others."""
        by_partition: dict[Partition, list[Received]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for partition, part in by_partition.items():
            try:
                await self._divide(part, error if len(by_partition) == 1 else None)
                for record in part:
                    self._attempts.pop((partition, record.offset), None)
            except Transient as trouble:
                first = await self._first_open(partition, part)
                attempt = self._attempts.get((partition, first), 0) + 1
                self._attempts = {place: count for place, count in self._attempts.items() if place[0] != partition} | {
                    (partition, first): attempt
                }
                pause = back_off(attempt)
                log.warning(
                    "partition paused",
                    extra={
                        "group": self.group,
                        "topic": partition.topic,
                        "partition": partition.number,
                        "seconds": round(pause, 2),
                        "error": str(trouble),
                    },
                )
                metrics.PAUSES.labels(self.group).inc()
                consumer.pause(partition)
                self._paused[partition] = (loop_time() + pause, first)
                if attempt >= WAITS:
                    self.waits[partition] = f"{partition.topic}/{partition.number} waits: {trouble}"

    async def _first_open(self, partition: Partition, part: Sequence[Received]) -> int:
        try:
            async with self.database.look_up() as raw:
                known = await self.inbox.positions(raw, [partition.topic])
            return max(known.get(partition, 0), part[0].offset)
        except Transient:
            return part[0].offset  # the inbox will drop what was done

    async def _divide(self, records: Sequence[Received], error: BaseException | None) -> None:
        """Apply `records`; on failure halves, down to the one that fails, which becomes a dead letter."""
        if error is None:
            try:
                await self._apply(records)
                return
            except Exception as failure:
                error = failure
        if isinstance(error, Transient):
            raise error
        if len(records) > 1:
            middle = len(records) // 2
            await self._divide(records[:middle], None)
            await self._divide(records[middle:], None)
            return
        attempt = 1
        while not isinstance(error, Poison) and attempt < ATTEMPTS:
            await asyncio.sleep(back_off(attempt))
            attempt += 1
            try:
                await self._apply(records)
                return
            except Transient:
                raise
            except Exception as failure:
                error = failure
        if not await self._works_alone(records[0]):
            await self._bury(records[0], error, attempt)

    async def _works_alone(self, record: Received) -> bool:
        """A fact lets through the early ones of its key: when one of those is what fails, it must not pay for it."""
        topic = record.partition.topic
        subscription = self.subscriptions[topic]
        if subscription.order != "facts":
            return False
        try:
            key = self._message(record, subscription).key  # also of a type that nobody reads: it counts in its sequence
        except Poison:
            return False
        try:
            await self._apply([record], alone=True)
        except Transient:
            raise
        except Exception:
            return False
        try:
            await self.release(topic, key)
        except Transient:
            self._next_look = 0.0  # no record leads to these any more: house-keeping finds them
        return True

    async def release(self, topic: str, key: str) -> None:
        """Hand over the kept facts of `key` whose turn has come, each in its own transaction, up to one that fails:
        that becomes a dead letter."""
        while True:
            sequence = 0
            record: Received | None = None
            try:
                async with self.database.transaction() as uow:
                    kept = await self.sequences.early(uow.pg, topic, key)
                    if kept is None:
                        return
                    sequence, headers, value = kept
                    record = Received(Partition(topic, -1), -1, key, headers, value)
                    await self.deliver(uow, [record], alone=True)
            except Exception as error:
                if record is None or isinstance(error, Transient):
                    raise
                async with self.database.transaction() as uow:
                    if not await self.sequences.drop_early(uow.pg, topic, key, sequence):
                        return  # another reader, or house-keeping, came to the same end just before
                    await self.dead_letters.add(uow, [record], reason_of(error), 1, "parked")
                metrics.DEAD_LETTERS.labels(self.group, topic).inc()
                return

    async def _bury(self, record: Received, error: BaseException, attempts: int) -> None:
        if self._dead_in_a_row >= DEAD_IN_A_ROW:
            raise Transient("too many dead letters in a row") from error
        reason = reason_of(error)
        log.error(
            "dead letter",
            extra={"group": self.group, "topic": record.partition.topic, "offset": record.offset, "reason": reason},
            exc_info=None if isinstance(error, Poison) else error,
        )
        async with self.database.transaction() as uow:
            fresh, _ = await self._claim(uow.pg, [record])
            if fresh:
                await self.dead_letters.add(uow, [record], reason, attempts, "parked")
        metrics.DEAD_LETTERS.labels(self.group, record.partition.topic).inc()
        self._dead_in_a_row += 1

    async def _claim(self, pg: Any, records: Sequence[Received]) -> tuple[list[Received], bool]:
        """Those of `records` that were not dealt with yet, and whether any dead letter is open."""
        upcoming: dict[Partition, int] = {}
        for record in records:
            upcoming[record.partition] = record.offset + 1
        before, letters = await self.inbox.claim(pg, upcoming)
        fresh = [record for record in records if record.offset >= before.get(record.partition, 0)]
        # who has waited for another reader of the partition does not see the letters that this one has just written
        return fresh, letters or len(fresh) < len(records)

    async def _apply(self, records: Sequence[Received], *, alone: bool = False) -> None:
        """One transaction over `records`."""
        if not any(self._concerns_us(record) for record in records):
            async with self.database.look_up() as pg:
                await self._claim(pg, records)
            return
        async with self.database.transaction() as uow:
            fresh, letters = await self._claim(uow.pg, records)
            held = await self.dead_letters.held_keys(uow.pg, fresh) if letters and fresh else set()
            if held:
                waiting = [record for record in fresh if (record.partition.topic, record.key) in held]
                await self.dead_letters.add(uow, waiting, "waits behind a dead letter of its key", 0, "waiting")
                fresh = [record for record in fresh if (record.partition.topic, record.key) not in held]
            await self.deliver(uow, fresh, alone=alone)
        self._dead_in_a_row = 0

    def _concerns_us(self, record: Received) -> bool:
        """False for what needs neither a place in a sequence nor a handler: only the offset moves on."""
        subscription = self.subscriptions[record.partition.topic]
        return subscription.order == "facts" or not (kind := record.type) or subscription.reads(kind)

    def _message(self, record: Received, subscription: Subscription) -> Message[Event]:
        """The message in a record; the body of a type that is not read stays closed. Raises `Poison`."""
        if record.message is not None:
            return record.message
        topic = record.partition.topic
        if not subscription.reads(record.type):
            return read_from(topic, without_body(record.headers))
        record.message = read_from(topic, self.decoder(record.headers, record.value))
        return record.message

    async def deliver(self, uow: Uow, records: Sequence[Received], *, alone: bool = False) -> None:
        """Hand the unseen messages in `records` to their handlers, inside the caller's transaction. `alone`: without
        the early facts that they let through."""
        facts: list[tuple[Message[Event], Received]] = []
        latest: list[Message[Event]] = []
        ready: dict[str, list[Message[Event]]] = {}
        for record in records:
            subscription = self.subscriptions[record.partition.topic]
            message = self._message(record, subscription)
            if subscription.order == "facts":
                facts.append((message, record))
            elif subscription.wants(message):
                if subscription.keyed:
                    ready.setdefault(record.partition.topic, []).append(message)
                else:
                    latest.append(message)
        if latest:
            for message in await self.inbox.unseen(uow.pg, latest):
                ready.setdefault(message.topic, []).append(message)
        if facts:
            for message in await self.sequences.in_order(uow.pg, facts, self.decoder, alone=alone):
                if self.subscriptions[message.topic].wants(message):  # the others have had their turn, too
                    ready.setdefault(message.topic, []).append(message)
        await self._hand_over(uow, ready)

    async def _hand_over(self, uow: Uow, ready: Mapping[str, Sequence[Message[Event]]]) -> None:
        together: dict[BatchHandler, list[Message[Event]]] = {}
        for topic, subscription in self.subscriptions.items():
            if messages := ready.get(topic):
                together.setdefault(subscription.handler, []).extend(messages)
                metrics.HANDLED.labels(self.group, topic).inc(len(messages))
        for handler, batch in together.items():
            uow.caused_by(batch)
            await handler(batch, uow)
