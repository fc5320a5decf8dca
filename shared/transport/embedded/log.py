"""The log in PostgreSQL.

Offsets are given under the lock of their partition's row, so their order is the order of commit. Readers are woken
in process at once, across processes by NOTIFY (sent outside the publishing transaction, at most one per 5 ms), and
look by themselves every half second.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from shared.bus.records import Partition, Received, Record, partition_of
from shared.db.bell import Bell
from shared.db.database import PLANNED_ONCE, is_transient, nothing_to_reset, plain_url, plans_of
from shared.errors import Transient
from shared.events.stored import headers_json
from shared.events.topics import load as catalogue_topics
from shared.ids import uuid7
from shared.transport.embedded.member import EmbeddedConsumer

log = logging.getLogger(__name__)

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS bus;
CREATE TABLE IF NOT EXISTS bus.topics (topic text PRIMARY KEY, partitions int NOT NULL);
CREATE TABLE IF NOT EXISTS bus.partitions (
  topic text NOT NULL, partition int NOT NULL, next_offset bigint NOT NULL DEFAULT 0,
  first_offset bigint NOT NULL DEFAULT 0, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS bus.log (
  topic text NOT NULL, partition int NOT NULL, log_offset bigint NOT NULL, key text NOT NULL,
  headers jsonb NOT NULL, value bytea NOT NULL, appended_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, partition, log_offset));
"""

_TRIM = """
WITH old AS (SELECT log_offset FROM (SELECT log_offset, appended_at FROM bus.log WHERE topic = $1 AND partition = $2
    ORDER BY log_offset LIMIT $4) l WHERE appended_at < now() - make_interval(days => $3)),
  kept AS (UPDATE bus.partitions SET first_offset = greatest(first_offset, (SELECT max(log_offset) + 1 FROM old))
    WHERE topic = $1 AND partition = $2 AND EXISTS (SELECT 1 FROM old))
DELETE FROM bus.log WHERE topic = $1 AND partition = $2 AND log_offset IN (SELECT log_offset FROM old)
RETURNING log_offset
"""
TRIM_S = 3600.0
TRIM_ROWS = 5000
CHANNEL = "sushu_bus"
DEFAULT_PARTITIONS = 1
RECENT = 6000
RECENT_BYTES = 64_000_000
"""records kept in memory per process, so that its groups do not each read (and decode) them from PostgreSQL"""


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Trouble of PostgreSQL that passes is `Transient`."""
    try:
        yield
    except Exception as error:
        if is_transient(error) and not isinstance(error, Transient):
            raise Transient(f"embedded log: {error}") from error
        raise


class EmbeddedTransport:
    """The log in PostgreSQL behind the `Transport` Protocol. One object per process."""

    name = "embedded"
    ends_sql: str | None = "SELECT topic, partition, first_offset, next_offset FROM bus.partitions"

    def __init__(self, database_url: str) -> None:
        self.url = plain_url(database_url)
        self._pool: Any = None
        self._partitions: dict[str, int] = {}
        self._consumers: set[EmbeddedConsumer] = set()
        self._listener: asyncio.Task[None] | None = None
        self._trimmer: asyncio.Task[None] | None = None
        self._name = uuid7()
        self._bell = Bell(CHANNEL, self._execute)
        self._recent: OrderedDict[tuple[Partition, int], Received] = OrderedDict()
        self._recent_bytes = 0

    def remember(self, record: Received) -> Received:
        """The one object of this process for a committed record."""
        known = self._recent.setdefault((record.partition, record.offset), record)
        if known is record:
            self._recent_bytes += len(record.value)
            while len(self._recent) > RECENT or self._recent_bytes > RECENT_BYTES:
                _, gone = self._recent.popitem(last=False)
                self._recent_bytes -= len(gone.value)
        return known

    def forget(self) -> None:
        """Believe PostgreSQL alone: after a lost connection it may be another one, with another end of the log."""
        self._recent.clear()
        self._recent_bytes = 0

    def recent(self, partition: Partition, offset: int) -> Received | None:
        """A committed record, when this process still has it in memory."""
        return self._recent.get((partition, offset))

    async def start(self) -> None:
        self._pool = await asyncpg.create_pool(
            self.url,
            min_size=1,
            max_size=8,
            timeout=10,
            command_timeout=60,
            server_settings={
                "application_name": "sushu-bus",
                "jit": "off",
                **plans_of(PLANNED_ONCE),
            },
            reset=nothing_to_reset,
        )
        await self._pool.execute("SELECT pg_advisory_xact_lock(7402); " + SCHEMA)
        self._trimmer = asyncio.create_task(self._keep_short(), name="bus-trim")

    async def stop(self) -> None:
        await self._bell.stop()
        for task in (self._listener, self._trimmer):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()

    async def _execute(self, sql: str, *values: Any) -> None:
        await self._pool.execute(sql, *values)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Rows of a query. Raises `Transient` when PostgreSQL is away."""
        async with _answering():
            return list(await self._pool.fetch(sql, *values))

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            for topic, partitions in topics.items():
                await connection.execute(
                    "INSERT INTO bus.topics VALUES ($1, $2) ON CONFLICT DO NOTHING", topic, partitions
                )
                await connection.execute(
                    "INSERT INTO bus.partitions (topic, partition)"
                    " SELECT t.topic, n FROM bus.topics t, generate_series(0, t.partitions - 1) n WHERE t.topic = $1"
                    " ON CONFLICT DO NOTHING",
                    topic,
                )
        self._partitions.clear()

    async def _count(self, topic: str) -> int:
        if topic not in self._partitions:
            rows = await self._pool.fetch("SELECT topic, partitions FROM bus.topics")
            self._partitions = {row["topic"]: row["partitions"] for row in rows}
            if topic not in self._partitions:
                await self.ensure_topics({topic: DEFAULT_PARTITIONS})
                self._partitions[topic] = DEFAULT_PARTITIONS
        return self._partitions[topic]

    async def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        async with _answering():
            by_partition: dict[Partition, list[Record]] = {}
            for record in records:
                number = partition_of(record.key, await self._count(record.topic))
                by_partition.setdefault(Partition(record.topic, number), []).append(record)
            places = list(by_partition)
            lines = [
                (place.topic, place.number, offset, record.key, headers_json(record.headers), record.value)
                for place, own in by_partition.items()
                for offset, record in enumerate(own)
            ]
            # one statement, one transaction: the partitions' rows are locked, so offsets rise in the order of commits
            rows = await self._pool.fetch(
                "WITH taken AS (UPDATE bus.partitions p SET next_offset = p.next_offset + w.n"
                " FROM unnest($1::text[], $2::int[], $3::int[]) AS w(topic, partition, n)"
                " WHERE p.topic = w.topic AND p.partition = w.partition"
                " RETURNING p.topic, p.partition, p.next_offset - w.n AS first),"
                " written AS (INSERT INTO bus.log (topic, partition, log_offset, key, headers, value)"
                " SELECT r.topic, r.partition, t.first + r.n, r.key, r.headers, r.value FROM"
                " unnest($4::text[], $5::int[], $6::bigint[], $7::text[], $8::jsonb[], $9::bytea[])"
                " AS r(topic, partition, n, key, headers, value) JOIN taken t USING (topic, partition))"
                " SELECT * FROM taken",
                [place.topic for place in places],
                [place.number for place in places],
                [len(own) for own in by_partition.values()],
                *(list(column) for column in zip(*lines, strict=True)),
            )
        if len(rows) < len(places):
            self._partitions.clear()
            raise Transient("embedded log: a topic is gone; it is made again")
        for row in rows:
            place = Partition(row["topic"], row["partition"])
            for offset, record in enumerate(by_partition[place], row["first"]):
                self.remember(Received(place, offset, record.key, record.headers, record.value))
        self._wake({place.topic for place in by_partition})

    def _wake(self, topics: set[str]) -> None:
        for consumer in self._consumers:
            if not topics.isdisjoint(consumer.topics):
                consumer.woken.set()
        self._bell.ring({self._name, *topics})

    async def _listen(self) -> None:
        def heard(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
            topics = payload.split(",")
            if self._name in topics:
                return  # woken already, and in memory
            for consumer in self._consumers:
                if not consumer.topics.isdisjoint(topics):
                    consumer.look = True
                    consumer.woken.set()

        while True:
            try:
                connection = await asyncpg.connect(
                    self.url, timeout=10, server_settings={"application_name": "sushu-bus-listen"}
                )
                try:
                    await connection.add_listener(CHANNEL, heard)
                    while not connection.is_closed():
                        await asyncio.sleep(1)
                finally:
                    if not connection.is_closed():
                        await connection.close(timeout=1)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.debug("listener away", extra={"error": str(error)})
                await asyncio.sleep(1)

    async def _keep_short(self) -> None:
        while True:
            await asyncio.sleep(TRIM_S)
            try:
                await self.trim()
            except Exception as error:
                log.warning("the log could not be trimmed", extra={"error": str(error)})

    async def trim(self) -> int:
        """Forget records older than their topic's retention, as Kafka does; returns how many."""
        gone = 0
        for topic in catalogue_topics().values():
            for number in range(await self._count(topic.name)):
                while rows := await self.fetch(_TRIM, topic.name, number, topic.retention_days, TRIM_ROWS):
                    gone += len(rows)
        return gone

    def consumer(self, group: str, topics: Iterable[str], *, pace_s: float = 0.0) -> EmbeddedConsumer:
        if self._listener is None:  # who reads nothing need not be woken
            self._listener = asyncio.create_task(self._listen(), name="bus-listen")
        return EmbeddedConsumer(self, group, frozenset(topics))

    async def ends(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        wanted = list(topics)
        async with _answering():
            for topic in wanted:
                await self._count(topic)
            rows = await self._pool.fetch(
                "SELECT topic, partition, first_offset, next_offset FROM bus.partitions WHERE topic = ANY($1)", wanted
            )
        return {Partition(row["topic"], row["partition"]): (row["first_offset"], row["next_offset"]) for row in rows}
