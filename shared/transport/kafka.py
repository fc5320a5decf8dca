"""Apache Kafka behind the `Transport` Protocol, with aiokafka.

Offsets are committed for the broker's lag figures only: after an assignment the worker seeks to where its inbox says.
Partitions stay paused from their assignment until that seek.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError, TopicAlreadyExistsError

from shared.bus.records import Partition, Received, Record, Rejected, partition_of
from shared.errors import Transient
from shared.events.topics import load as catalogue_topics
from shared.settings import Settings

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 1_000_000
PUBLISH_S = 30.0
REBALANCE_S = 30.0
"""longer than any rebalance may last: the broker itself ends one after a session's 10 s"""
COMMIT_S = 5.0
LEAVE_S = 10.0
GATHER_BYTES, GATHER_S = 64 * 1024, 0.03
RETRY_MS = 250
"""between two tries of a client whose broker is away"""
TELL_S = 1.0
"""positions are told to the broker at most so often"""
_TROUBLE = (KafkaError, OSError, RuntimeError)
"""what a client of Kafka raises when it has lost its broker; RuntimeError: uvloop, of a connection that was cut"""


class KafkaTransport:
    """One producer and one metadata reader per process; each group has its own consumer."""

    name = "kafka"
    ends_sql: str | None = None

    def __init__(self, bootstrap_servers: str, **security: Any) -> None:
        """`security`: aiokafka's own arguments (`security_protocol`, `sasl_…`, `ssl_context`), see `security_of`."""
        self.connection = {"bootstrap_servers": bootstrap_servers, **security}
        self._producer: AIOKafkaProducer | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._counts: dict[str, int] = {}
        self._starting = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Nothing is opened before it is needed: the broker may come up after us."""

    async def stop(self) -> None:
        self._drop_producer()
        self._drop_reader()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=LEAVE_S)

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._leave(producer)

    def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._leave(reader)

    def _leave(self, client: Any) -> None:
        """Close beside the work: a client that has lost its broker may not end, and nobody must wait for it."""
        task = asyncio.create_task(_closed(client), name="kafka-leave")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _producing(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self.connection,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=2,
                    max_batch_size=256 * 1024,
                    max_request_size=MAX_RECORD_BYTES + 65536,
                    request_timeout_ms=15_000,
                    metadata_max_age_ms=30_000,
                    retry_backoff_ms=RETRY_MS,
                )
                try:
                    await asyncio.wait_for(producer.start(), 15)
                except BaseException:
                    self._leave(producer)
                    raise
                self._producer = producer
            return self._producer

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        admin = AIOKafkaAdminClient(**self.connection, request_timeout_ms=15_000)
        try:
            await admin.start()
            known = set(await admin.list_topics())
            fresh = [_new_topic(topic, partitions) for topic, partitions in topics.items() if topic not in known]
            if fresh:
                answer = await admin.create_topics(fresh)
                for topic, code, *rest in answer.topic_errors:
                    if code not in (0, TopicAlreadyExistsError.errno):
                        raise Transient(f"kafka: topic {topic} could not be made: {code} {rest}")
        except KafkaError as error:
            raise Transient(f"kafka: {error!r}") from error
        finally:
            await asyncio.gather(admin.close(), return_exceptions=True)

    async def _count(self, producer: AIOKafkaProducer, topic: str) -> int:
        if topic not in self._counts:
            known = producer.client.cluster.partitions_for_topic(topic)
            if not known:
                await self.ensure_topics({topic: 1})
                known = await asyncio.wait_for(producer.partitions_for(topic), 10)
            self._counts[topic] = len(known)
        return self._counts[topic]

    async def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        for record in records:
            if len(record.value) > MAX_RECORD_BYTES:
                raise Rejected(record, f"{len(record.value)} bytes; a record may have {MAX_RECORD_BYTES}")
        try:
            async with asyncio.timeout(PUBLISH_S):  # an idempotent producer tries for ever
                producer = await self._producing()
                places: dict[Partition, list[Record]] = {}
                for record in records:
                    number = partition_of(record.key, await self._count(producer, record.topic))
                    places.setdefault(Partition(record.topic, number), []).append(record)
                await asyncio.gather(*(self._append(producer, place, own) for place, own in places.items()))
        except (MessageSizeTooLargeError, RecordTooLargeError) as error:
            raise Rejected(max(records, key=lambda record: len(record.value)), str(error)) from error
        except _TROUBLE as error:
            self._counts.clear()
            self._drop_producer()  # a broken idempotent producer never heals; a fresh one resends
            raise Transient(f"kafka: {error!r}") from error

    async def _append(self, producer: AIOKafkaProducer, place: Partition, records: Sequence[Record]) -> None:
        """Records of one partition, in order, as whole batches: a batch costs one future, not each record its own."""
        sent = []
        batch = producer.create_batch()
        for record in records:
            line = {
                "timestamp": None,
                "key": record.key.encode(),
                "value": record.value,
                "headers": list(record.headers),
            }
            if batch.append(**line) is None:  # full
                sent.append(await producer.send_batch(batch, place.topic, partition=place.number))
                batch = producer.create_batch()
                if batch.append(**line) is None:
                    raise Rejected(record, "larger than a batch of the producer")
        sent.append(await producer.send_batch(batch, place.topic, partition=place.number))
        await asyncio.gather(*sent)

    def consumer(self, group: str, topics: Iterable[str], *, pace_s: float = 0.0) -> "KafkaConsumer":
        return KafkaConsumer(self.connection, group, list(topics), pace_s)

    async def ends(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        wanted = list(topics)
        async with self._reading:
            try:
                if self._reader is None:
                    reader = AIOKafkaConsumer(**self.connection, request_timeout_ms=15_000)
                    try:
                        await asyncio.wait_for(reader.start(), 15)
                    except BaseException:
                        self._leave(reader)
                        raise
                    self._reader = reader
                reader = self._reader
                producer = await self._producing()
                places = [
                    TopicPartition(topic, number)
                    for topic in wanted
                    for number in sorted(await asyncio.wait_for(producer.partitions_for(topic), 10))
                ]
                first = await asyncio.wait_for(reader.beginning_offsets(places), 10)
                upcoming = await asyncio.wait_for(reader.end_offsets(places), 10)
            except _TROUBLE as error:
                self._drop_reader()
                raise Transient(f"kafka: {error!r}") from error
        return {Partition(place.topic, place.partition): (first[place], upcoming[place]) for place in places}


async def _closed(client: Any) -> None:
    """End a producer or consumer; its trouble interests nobody any more."""
    try:
        async with asyncio.timeout(LEAVE_S):
            await client.stop()
    except Exception as error:
        log.warning("a client of Kafka did not end, ending its parts", extra={"error": repr(error)})
        # a member that still beats would keep its partitions from the one that follows
        coordinator, fetcher = getattr(client, "_coordinator", None), getattr(client, "_fetcher", None)
        sender, network = getattr(client, "_sender", None), getattr(client, "_client", None)
        for part, name in (
            (coordinator, "_coordination_task"),
            (coordinator, "_heartbeat_task"),
            (coordinator, "_commit_refresh_task"),
            (fetcher, "_fetch_task"),
            (sender, "_sender_task"),
        ):
            if (task := getattr(part, name, None)) is not None:
                task.cancel()
        if network is not None:
            await asyncio.gather(asyncio.wait_for(network.close(), 1), return_exceptions=True)


def security_of(settings: Settings) -> dict[str, Any]:
    """aiokafka's arguments for TLS and SASL by the settings; none for plain connections."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return {}
    found: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        found["ssl_context"] = ssl.create_default_context(
            cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        )
    if protocol.startswith("SASL"):
        found |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password,
        }
    return found


def _new_topic(name: str, partitions: int) -> NewTopic:
    """A topic with the broker's default replication and the retention of its topic file."""
    known = catalogue_topics().get(name)
    configs = {"retention.ms": str(known.retention_days * 86_400_000)} if known else None
    topic = NewTopic(name=name, num_partitions=partitions, replication_factor=1, topic_configs=configs)
    topic.replication_factor = -1  # the broker's default; NewTopic's own check does not know it
    return topic


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A member of a Kafka consumer group."""

    def __init__(self, connection: dict[str, Any], group: str, topics: list[str], pace_s: float) -> None:
        self.pace_s = pace_s
        self.connection = connection
        self.group = group
        self.topics = topics
        self._consumer: Any = None
        self._unplaced: set[TopicPartition] = set()
        self._told = 0.0
        self._to_tell: dict[TopicPartition, int] = {}
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        consumer = AIOKafkaConsumer(
            **self.connection,
            group_id=f"sushu.{self.group}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            max_poll_interval_ms=120_000,
            metadata_max_age_ms=30_000,
            retry_backoff_ms=RETRY_MS,
            # a paced reader lets the broker gather: an answer for every few records costs both sides more than they do
            fetch_min_bytes=GATHER_BYTES if self.pace_s >= GATHER_S else 1,
            fetch_max_wait_ms=int(min(self.pace_s, 0.5) * 1000) if self.pace_s >= GATHER_S else 500,
            request_timeout_ms=40_000,
        )
        consumer.subscribe(self.topics, listener=self)
        try:
            await asyncio.wait_for(consumer.start(), 30)
        except BaseException:
            await _closed(consumer)
            raise
        self._consumer = consumer

    async def stop(self) -> None:
        if self._consumer is not None:
            last = asyncio.create_task(self._tell())
            await asyncio.wait({last, *({self._telling} if self._telling else ())}, timeout=1)
            for task in (last, self._telling):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            await _closed(self._consumer)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The worker learns it from `assigned`; a batch in flight is fenced by the inbox."""
        self._unplaced.difference_update(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Hold new partitions until the worker has said where to start."""
        places = list(assigned)
        self._unplaced = set(places)
        if places and self._consumer is not None:
            self._consumer.pause(*places)

    def assigned(self) -> frozenset[Partition]:
        return frozenset(Partition(place.topic, place.partition) for place in self._consumer.assignment())

    def unplaced(self) -> frozenset[Partition]:
        owned = self._consumer.assignment()
        return frozenset(Partition(place.topic, place.partition) for place in self._unplaced if place in owned)

    def seek(self, partition: Partition, offset: int) -> None:
        place = TopicPartition(*partition)
        if place in self._consumer.assignment():
            self._consumer.seek(place, offset)
            if place in self._unplaced:
                self._unplaced.discard(place)
                self._consumer.resume(place)

    def pause(self, partition: Partition) -> None:
        place = TopicPartition(*partition)
        if place in self._consumer.assignment():
            self._consumer.pause(place)

    def resume(self, partition: Partition) -> None:
        place = TopicPartition(*partition)
        if place in self._consumer.assignment() and place not in self._unplaced:
            self._consumer.resume(place)

    async def poll(self, limit: int, timeout: float) -> Sequence[Received]:
        try:
            async with asyncio.timeout(timeout + REBALANCE_S):  # aiokafka waits without end for a rebalance
                batches = await self._consumer.getmany(timeout_ms=int(timeout * 1000), max_records=limit)
        except Exception as error:
            if getattr(error, "retriable", False):
                raise Transient(f"kafka: {error!r}") from error
            # its coordination or heart has died, or would be waited for without end: only a new member goes on
            await self.stop()
            self._unplaced.clear()
            await self.start()
            raise Transient(f"kafka: joined the group anew after {error!r}") from error
        return [
            Received(
                Partition(place.topic, place.partition),
                record.offset,
                (record.key or b"").decode(errors="replace").replace("\x00", "\ufffd"),  # PostgreSQL holds no NUL
                tuple(record.headers),
                record.value or b"",
            )
            for place, records in batches.items()
            if place not in self._unplaced
            for record in records
        ]

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Beside the work, at most every `TELL_S`: nothing waits for the broker's figures."""
        self._to_tell |= {TopicPartition(*partition): offset for partition, offset in positions.items()}
        now = asyncio.get_running_loop().time()
        if now < self._told + TELL_S or (self._telling is not None and not self._telling.done()):
            return
        self._told = now
        self._telling = asyncio.create_task(self._tell(), name=f"kafka-commit-{self.group}")

    async def _tell(self) -> None:
        owned = self._consumer.assignment()
        known = {place: offset for place, offset in self._to_tell.items() if place in owned}
        self._to_tell = {}
        try:
            async with asyncio.timeout(COMMIT_S):  # aiokafka tries for ever while the broker is away
                if known:
                    await self._consumer.commit(known)
        except Exception as error:
            log.warning("the broker did not take the positions", extra={"group": self.group, "error": repr(error)})
