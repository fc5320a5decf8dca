"""The Kafka transport when its broker is killed, hangs, or is cut off: nothing waits without end, nothing is lost."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import Popen

import pytest
import pytest_asyncio

from deploy.local import ports
from deploy.local.kafka import Kafka, ensure_jars, find_java
from deploy.local.process import spawn
from shared.bus.records import Record
from shared.errors import Transient
from shared.ids import uuid7
from shared.transport import kafka
from shared.transport.kafka import KafkaConsumer, KafkaTransport
from tests.chaos.scene import reset

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


class Broker:
    """A broker of our own that may be hurt."""

    def __init__(self, folder: Path) -> None:
        port = ports.free_port()
        controller = ports.free_port(frozenset({port}))
        self.kafka = Kafka(folder, port, controller, find_java(), ensure_jars(folder / "lib"), folder / "kafka.log")
        self.process: Popen[bytes] | None = None
        self.topic = ""

    async def start(self) -> None:
        program = self.kafka.program()
        assert program.before_start is not None
        await asyncio.to_thread(program.before_start)
        self.process = spawn(program)
        async with asyncio.timeout(90):
            while not await program.is_ready():
                await asyncio.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(kafka_possible: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    found = Broker(tmp_path_factory.mktemp("broker"))
    await found.start()
    yield found
    found.kill()


@pytest.fixture
async def transport(broker: Broker) -> AsyncIterator[KafkaTransport]:
    found = KafkaTransport(broker.kafka.bootstrap_servers)
    broker.topic = f"test.{uuid7()}.v1"
    await found.ensure_topics({broker.topic: 3})
    yield found
    await found.stop()


def record(topic: str, number: int) -> Record:
    return Record(topic, f"k{number % 7}", (), str(number).encode())


async def publish(transport: KafkaTransport, topic: str, number: int) -> None:
    """As the relay does: again until the bus has it."""
    while True:
        try:
            await transport.publish([record(topic, number)])
            return
        except Transient:
            await asyncio.sleep(0.1)


class Reader:
    """Reads as a worker does, from the start."""

    def __init__(self, transport: KafkaTransport, topic: str) -> None:
        self.topic = topic
        self.consumer: KafkaConsumer = transport.consumer(f"group-of-{topic}", [topic])
        self.values: set[bytes] = set()

    async def run(self) -> None:
        await self.consumer.start()
        try:
            while True:
                with contextlib.suppress(Transient):
                    for partition in self.consumer.unplaced():
                        self.consumer.seek(partition, 0)
                    records = await self.consumer.poll(100, 0.5)
                    self.values |= {found.value for found in records}
                    await self.consumer.commit({found.partition: found.offset + 1 for found in records})
        finally:
            await self.consumer.stop()

    async def until(self, count: int, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while len(self.values) < count:
                await asyncio.sleep(0.05)


@pytest.fixture
async def reader(broker: Broker, transport: KafkaTransport) -> AsyncIterator[Reader]:
    found = Reader(transport, broker.topic)
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_broker_that_hangs_is_told_as_trouble_and_works_again(
    broker: Broker, transport: KafkaTransport, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "PUBLISH_S", 2.0)
    await publish(transport, reader.topic, 0)
    await reader.until(1)
    broker.send(signal.SIGSTOP)
    try:
        for _ in range(2):  # with the producer that was at work, and with a fresh one
            with pytest.raises(Transient):
                async with asyncio.timeout(10):
                    await transport.publish([record(reader.topic, 1)])
    finally:
        broker.send(signal.SIGCONT)
    await publish(transport, reader.topic, 1)
    await reader.until(2)


async def test_connections_that_are_cut_are_made_anew(
    broker: Broker, transport: KafkaTransport, reader: Reader
) -> None:
    for round_ in range(3):
        await publish(transport, reader.topic, round_)
        await transport.ends([reader.topic])
        await reader.until(round_ + 1)
        try:
            assert reset({broker.kafka.port}, os.getpid()) >= 2
        except PermissionError as error:
            pytest.skip(f"another process's sockets cannot be touched here: {error}")
    await publish(transport, reader.topic, 3)
    await reader.until(4)
    await transport.ends([reader.topic])


@pytest.mark.parametrize("part", ["ensure_coordinator_known", "_do_heartbeat"])
async def test_a_member_whose_inner_life_has_died_joins_anew(
    transport: KafkaTransport, reader: Reader, part: str
) -> None:
    async def cut() -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    await publish(transport, reader.topic, 0)
    await reader.until(1)
    before = reader.consumer._consumer
    setattr(before._coordinator, part, cut)  # what a connection that is cut at the wrong moment does to aiokafka
    before._coordinator.coordinator_dead()
    async with asyncio.timeout(60):
        while reader.consumer._consumer is before:
            await asyncio.sleep(0.05)
    await publish(transport, reader.topic, 1)
    await reader.until(2)


async def test_everything_arrives_although_the_broker_is_killed_in_the_middle(
    broker: Broker, transport: KafkaTransport, reader: Reader
) -> None:
    for number in range(20):
        await publish(transport, reader.topic, number)
    await reader.until(20)
    publishing = asyncio.create_task(publish(transport, reader.topic, 20))
    broker.kill()
    await broker.start()
    await publishing
    for number in range(21, 40):
        await publish(transport, reader.topic, number)
    await reader.until(40)
