"""A broker that does not take what it is given: for now (a topic set up wrong), or ever (a record too large)."""

import asyncio
import os
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.bus.records import Record
from shared.ids import uuid7
from shared.outbox.relay import Relay
from tests.contract.bus.counting import Counting, fact

pytestmark = pytest.mark.kafka


async def configured(servers: str, **configs: str) -> str:
    """A fresh topic with these settings of the broker."""
    name = f"test.{uuid7()}.v1"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        topic = NewTopic(name=name, num_partitions=4, replication_factor=1, topic_configs=configs)
        await admin.create_topics([topic])
    finally:
        await admin.close()
    return name


async def configure(servers: str, topic: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
    finally:
        await admin.close()


async def write(service: Counting, *records: Record) -> None:
    async with service.database.transaction() as uow:
        for record in records:
            uow.publish(record)


async def test_a_broker_that_refuses_writes_is_waited_for_and_the_relay_says_so(
    remote: Counting, kafka_servers: str
) -> None:
    # every record is too old for it (of too few replicas Kafka 4 does not complain with a single broker)
    remote.topic = await configured(kafka_servers, **{"message.timestamp.before.max.ms": "1"})
    relay = Relay(remote.database, remote.transport)
    await write(remote, *(fact("k", sequence, remote.topic) for sequence in range(1, 6)))  # accepted all the same
    remote.tasks.append(asyncio.create_task(relay.run()))
    async with asyncio.timeout(30):
        while relay.trouble is None:
            await asyncio.sleep(0.1)
    assert "outbox waits" in relay.trouble
    async with remote.database.read() as pg:
        assert await pg.fetchval("SELECT count(*) FROM outbox WHERE parked IS NULL") == 5
    await configure(kafka_servers, remote.topic, **{"message.timestamp.before.max.ms": "3600000"})
    remote.tasks.append(asyncio.create_task(remote.worker().run()))
    await remote.until(5, 60)
    assert await remote.seen() == {"k": [1, 2, 3, 4, 5]}
    async with asyncio.timeout(10):
        while relay.trouble is not None:
            await asyncio.sleep(0.1)


async def test_a_record_that_the_broker_finds_too_large_holds_only_its_key(
    remote: Counting, kafka_servers: str
) -> None:
    remote.topic = await configured(kafka_servers, **{"max.message.bytes": "4000"})
    small = fact("small", 1, remote.topic)
    large = Record(remote.topic, "large", fact("large", 1, remote.topic).headers, os.urandom(6000))
    await write(remote, large, fact("large", 2, remote.topic), small)
    remote.tasks.append(asyncio.create_task(Relay(remote.database, remote.transport).run()))
    remote.tasks.append(asyncio.create_task(remote.worker().run()))
    await remote.until(1, 60)
    assert await remote.seen() == {"small": [1]}
    left: list[Any] = []
    async with asyncio.timeout(10), remote.database.read() as pg:
        while len(left) != 2:  # what was sent is deleted a little later
            left = await pg.fetch("SELECT key, parked IS NOT NULL AS parked FROM outbox ORDER BY id")
            await asyncio.sleep(0.05)
    assert [(row["key"], row["parked"]) for row in left] == [("large", True), ("large", False)]
