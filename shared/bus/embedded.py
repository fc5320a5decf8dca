"""The embedded transport: the log lives in PostgreSQL (schema `bus`), for a laptop or a small city.

Offsets are given under the lock of their partition's row, so their order is the order of commit. Membership of a
group is held by session advisory locks: a killed process loses its partitions with its connection. Readers are woken
in process at once, across processes by NOTIFY (sent outside the publishing transaction, at most one per 5 ms), and
look by themselves every half second.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from shared.bus.records import Partition, Received, Record, partition_of
from shared.db.bell import Bell
from shared.db.database import PLANNED_ONCE, is_transient, nothing_to_reset, plain_url
from shared.errors import Transient
from shared.ids import uuid7
from shared.outbox.uow import headers_from, headers_json

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
CREATE TABLE IF NOT EXISTS bus.positions (
  "group" text NOT NULL, topic text NOT NULL, partition int NOT NULL, next_offset bigint NOT NULL,
  PRIMARY KEY ("group", topic, partition));
"""

REBALANCE_S = 1.0
LOOK_S = 0.5
CHANNEL = "sushu_bus"
DEFAULT_PARTITIONS = 1
RECENT = 6000
RECENT_BYTES = 64_000_000
"""records kept in memory per process, so that its groups do not each read (and decode) them from PostgreSQL"""
STALLED_S = 15
"""a member that is silent for so long (it looks every `REBALANCE_S`) loses its partitions: its process hangs or its
machine is gone without a word"""


class EmbeddedTransport:
    """The log in PostgreSQL behind the `Transport` Protocol. One object per process."""

    name = "embedded"

    def __init__(self, database_url: str) -> None:
        self.url = plain_url(database_url)
        self._pool: Any = None
        self._partitions: dict[str, int] = {}
        self._consumers: set[EmbeddedConsumer] = set()
        self._listener: asyncio.Task[None] | None = None
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
                "plan_cache_mode": PLANNED_ONCE,
            },
            reset=nothing_to_reset,
        )
        await self._pool.execute("SELECT pg_advisory_xact_lock(7402); " + SCHEMA)
        self._listener = asyncio.create_task(self._listen(), name="bus-listen")

    async def stop(self) -> None:
        await self._bell.stop()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()

    async def _execute(self, sql: str, *values: Any) -> None:
        await self._pool.execute(sql, *values)

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
        try:
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
        except Exception as error:
            if is_transient(error):
                raise Transient(f"embedded log: {error}") from error
            raise
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

    def consumer(self, group: str, topics: Iterable[str], *, pace_s: float = 0.0) -> "EmbeddedConsumer":
        return EmbeddedConsumer(self, group, frozenset(topics))

    async def ends(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        wanted = list(topics)
        try:
            for topic in wanted:
                await self._count(topic)
            rows = await self._pool.fetch(
                "SELECT topic, partition, first_offset, next_offset FROM bus.partitions WHERE topic = ANY($1)", wanted
            )
        except Exception as error:
            if is_transient(error):
                raise Transient(f"embedded log: {error}") from error
            raise
        return {Partition(row["topic"], row["partition"]): (row["first_offset"], row["next_offset"]) for row in rows}


class EmbeddedConsumer:
    """A member of a group. It owns the partitions whose advisory lock its own connection holds."""

    def __init__(self, transport: EmbeddedTransport, group: str, topics: frozenset[str]) -> None:
        self.transport = transport
        self.group = group
        self.topics = topics
        self.woken = asyncio.Event()
        self.look = True
        """whether PostgreSQL may have records that this process has not in memory"""
        self._session: Any = None
        self._owned: dict[Partition, int | None] = {}
        self._paused: set[Partition] = set()
        self._balancer: asyncio.Task[None] | None = None
        self._looked = 0.0

    async def start(self) -> None:
        try:
            await self._join()
            await self._balance()
        except BaseException:  # a member that is no more must not count as one
            await self._leave()
            raise
        self.transport._consumers.add(self)
        self._balancer = asyncio.create_task(self._keep_balance(), name=f"bus-balance-{self.group}")

    async def stop(self) -> None:
        self.transport._consumers.discard(self)
        if self._balancer is not None:
            self._balancer.cancel()
            await asyncio.gather(self._balancer, return_exceptions=True)
        await self._leave()

    async def _leave(self) -> None:
        self._owned.clear()
        if self._session is not None and not self._session.is_closed():
            await asyncio.gather(self._session.close(timeout=2), return_exceptions=True)

    async def _join(self) -> None:
        self.transport.forget()
        self._session = await asyncpg.connect(
            self.transport.url,
            timeout=10,
            command_timeout=10,
            server_settings={
                "application_name": f"sushu-bus-{self.group}",
                "idle_session_timeout": str(STALLED_S * 1000),
            },
        )
        await self._session.execute("SELECT pg_advisory_lock_shared(hashtext('sushu-group'), hashtext($1))", self.group)

    async def _keep_balance(self) -> None:
        while True:
            await asyncio.sleep(REBALANCE_S)
            try:
                if self._session.is_closed():
                    self._owned.clear()  # the locks went with the connection
                    await self._join()
                await self._balance()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("group membership lost, joining again", extra={"group": self.group, "error": str(error)})
                await self._leave()

    async def _balance(self) -> None:
        """Own a fair share of the partitions: give back what is too much, take what is free."""
        members = await self._session.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid = hashtext('sushu-group')::bigint & 4294967295"
            " AND objid = hashtext($1)::bigint & 4294967295 AND granted",
            self.group,
        )
        every = sorted(await self.transport.ends(self.topics))
        share = -(-len(every) // max(1, members))
        for partition in sorted(self._owned)[share:]:
            self._owned.pop(partition)
            await self._session.execute(
                "SELECT pg_advisory_unlock(hashtext($1), $2)", self._name(partition), partition.number
            )
        for partition in every:
            if len(self._owned) >= share:
                break
            if partition not in self._owned and await self._session.fetchval(
                "SELECT pg_try_advisory_lock(hashtext($1), $2)", self._name(partition), partition.number
            ):
                self._owned[partition] = None
                self.woken.set()

    def _name(self, partition: Partition) -> str:
        return f"{self.group}/{partition.topic}"

    def assigned(self) -> frozenset[Partition]:
        return frozenset(self._owned)

    def unplaced(self) -> frozenset[Partition]:
        return frozenset(partition for partition, offset in self._owned.items() if offset is None)

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._owned:
            self._owned[partition] = offset
            self.look = True
            self.woken.set()

    def pause(self, partition: Partition) -> None:
        self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self._paused.discard(partition)

    async def poll(self, limit: int, timeout: float) -> Sequence[Received]:
        self.woken.clear()
        records = await self._read(limit)
        if not records:
            try:
                async with asyncio.timeout(min(timeout, LOOK_S)):  # wait_for of 3.11 may swallow a cancellation
                    await self.woken.wait()
            except TimeoutError:
                self.look = True
            records = await self._read(limit)
        return records

    async def _read(self, limit: int) -> list[Received]:
        """From memory, and from PostgreSQL what is not there: a partition that lags must not wait for quiet others."""
        records = self._from_memory(limit)
        now = asyncio.get_running_loop().time()
        if self.look or now > self._looked + LOOK_S:
            self._looked = now
            self.look = False
            found = await self._from_log(limit, {record.partition for record in records})
            self.look = self.look or bool(found)
            records += found
        return records

    def _places(self) -> dict[Partition, int]:
        return {
            partition: offset
            for partition, offset in self._owned.items()
            if offset is not None and partition not in self._paused
        }

    def _from_memory(self, limit: int) -> list[Received]:
        """Records that follow each position without a gap, as far as this process has them in memory."""
        records: list[Received] = []
        recent = self.transport.recent
        places = [(place, offset) for place, offset in self._places().items() if recent(place, offset)]
        each = max(1, limit // max(1, len(places)))
        for partition, start in places:
            offset = start
            while offset < start + each and (record := recent(partition, offset)) is not None:
                records.append(record)
                offset += 1
            self._owned[partition] = offset
        return records

    async def _from_log(self, limit: int, served: Container[Partition]) -> list[Received]:
        places = {place: offset for place, offset in self._places().items() if place not in served}
        if not places:
            return []
        each = max(1, limit // len(places)) if len(places) > 1 else limit
        try:
            rows = await self.transport._pool.fetch(
                "SELECT l.topic, l.partition, l.log_offset, l.key, l.headers, l.value"
                " FROM unnest($1::text[], $2::int[], $3::bigint[]) AS w(topic, partition, start)"
                " CROSS JOIN LATERAL (SELECT * FROM bus.log l WHERE l.topic = w.topic AND l.partition = w.partition"
                " AND l.log_offset >= w.start ORDER BY l.log_offset LIMIT $4) l",
                [place.topic for place in places],
                [place.number for place in places],
                list(places.values()),
                each,
            )
        except Exception as error:
            self.look = True
            if is_transient(error):
                raise Transient(f"embedded log: {error}") from error
            raise
        records: list[Received] = []
        for row in rows:
            partition = Partition(row["topic"], row["partition"])
            if self._owned.get(partition) is None:
                continue  # given back while we read
            known = self.transport.recent(partition, row["log_offset"])
            records.append(
                known
                or self.transport.remember(
                    Received(partition, row["log_offset"], row["key"], headers_from(row["headers"]), row["value"])
                )
            )
            self._owned[partition] = row["log_offset"] + 1
        return records

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nothing to tell: the inbox of the service is in the same PostgreSQL."""
