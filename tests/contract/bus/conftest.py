"""The counting service on a fresh database, over each transport or over the embedded one alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.bus.records import Transport
from shared.clock import ManualClock
from shared.db.database import Database
from shared.db.migrate import migrate
from shared.ids import uuid7
from shared.testing.postgres import fresh_database
from shared.transport.embedded import EmbeddedTransport
from shared.transport.kafka import KafkaTransport
from tests.contract.bus.counting import PARTITIONS, Counting


@asynccontextmanager
async def _service(server_url: str, folder: Path, kafka_servers: str | None) -> AsyncIterator[Counting]:
    async with fresh_database(server_url) as url:
        transport: Transport = KafkaTransport(kafka_servers) if kafka_servers else EmbeddedTransport(url)
        await transport.start()
        topic = f"test.{uuid7()}.v1"
        await transport.ensure_topics({topic: PARTITIONS})
        await migrate(url, "counting", folder / "none")
        database = Database(url, "counting", ManualClock(), platform="460100", role="sushu_counting")
        async with database.transaction() as uow:
            await uow.pg.execute("CREATE TABLE seen (key text, sequence bigint, place bigint)")
        service = Counting(database, topic, transport)
        try:
            yield service
        finally:
            await service.crash()
            await database.close()
            await transport.stop()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def counting(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> AsyncIterator[Counting]:
    """What must hold on both transports."""
    servers = request.getfixturevalue("kafka_servers") if request.param == "kafka" else None
    async with _service(server_url, tmp_path, servers) as service:
        yield service


@pytest.fixture
async def local(server_url: str, tmp_path: Path) -> AsyncIterator[Counting]:
    """What has nothing to do with the transport, or is about the embedded one."""
    async with _service(server_url, tmp_path, None) as service:
        yield service


@pytest.fixture
async def remote(server_url: str, tmp_path: Path, kafka_servers: str) -> AsyncIterator[Counting]:
    """What is about Apache Kafka alone."""
    async with _service(server_url, tmp_path, kafka_servers) as service:
        yield service
