"""What we emit, read with other people's tools: the CloudEvents SDK and plain JSON Schema."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from jsonschema import Draft202012Validator

from shared.events.catalog import TOPICS
from tests.bench.stack import ROOT, Stack
from tests.system.test_whole_life import advance, ok


def schema_of(kind: str) -> Draft202012Validator:
    body = json.loads((ROOT / "docs" / "generated" / "schemas" / f"{kind}.json").read_text())
    Draft202012Validator.check_schema(body)
    return Draft202012Validator(body)


async def read_all(servers: str) -> list[Any]:
    consumer = AIOKafkaConsumer(*TOPICS, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    records = []
    try:
        while batch := await consumer.getmany(timeout_ms=3000):
            records += [record for found in batch.values() for record in found]
    finally:
        await consumer.stop()
    return records


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_cloudevents_sdk_and_the_schemas_accept_every_event(http: httpx.Client, stack: Stack) -> None:
    for number in range(5):
        body = {"channel": "phone", "text": f"琼山区府城街道第{number}栋楼停水一天了，什么时候恢复？"}
        ok(http.post("/v1/appeals", json=body), 201)
    advance(http, 3600)
    seen: set[str] = set()
    if stack.transport == "kafka":
        for record in asyncio.run(read_all(stack.facts["kafka"])):
            event = from_binary_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value))
            assert event.get_specversion() == "1.0"
            assert event.get_subject() == record.key.decode()
            assert event.get_time() is not None
            schema_of(event.get_type()).validate(event.get_data())
            seen.add(event.get_type())
    else:
        after = ""
        while (page := ok(http.get("/v1/events", params={"after": after})))["next"]:
            for event in page["items"]:
                assert event["specversion"] == "1.0"
                assert datetime.fromisoformat(event["time"]).astimezone(UTC)
                schema_of(event["type"]).validate(event["data"])
                seen.add(event["type"])
            after = page["next"]
    assert {"appeal.received", "label.classified", "work_order.dispatched", "clock.started"} <= seen
