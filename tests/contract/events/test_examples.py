"""Messages of the past stay readable: every example decodes with today's catalog and passes every consumer."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import shared.events.examples as examples
from shared.bus.records import Record
from shared.events import topics
from shared.events.catalog import DECODERS, EVENTS
from shared.events.event import Message, encode
from shared.ids import uuid7
from shared.service.process import builder
from shared.testing.harness import Harness
from tools.generate import schemas

FOLDER = Path(next(iter(examples.__path__)))
SERVICES = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")


def all_examples() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]


def test_every_event_type_has_two_examples() -> None:
    counts = Counter(example["type"] for example in all_examples())
    assert {kind: counts[kind] for kind in EVENTS if counts[kind] < 2} == {}
    assert set(counts) <= set(EVENTS), "a released type was removed from the catalog"


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: f"{example['type']}-{example['id'][-4:]}")
def test_example_decodes_and_fits_its_published_schema(example: dict[str, Any]) -> None:
    body = json.dumps(example["data"]).encode()
    event = DECODERS[example["type"]].decode(body)
    written = json.loads(msgspec.json.encode(event))
    for schema in (json.loads(schemas()[f"schemas/{example['type']}.json"]),):
        Draft202012Validator(schema).validate(example["data"])
        Draft202012Validator(schema).validate(written)


def record_of(example: dict[str, Any]) -> Record:
    """An example as a record that stands alone: its own aggregate, the first of its facts."""
    fresh = uuid7()
    data = json.loads(json.dumps(example["data"]).replace(example["subject"], fresh))
    message: Message[Any] = Message(
        id=uuid7(),
        type=example["type"],
        source=example["source"],
        key=fresh,
        sequence=1,
        time=datetime.fromisoformat(example["time"]),
        data=DECODERS[example["type"]].decode(json.dumps(data).encode()),
    )
    headers, value = encode(message)
    return Record(EVENTS[example["type"]].topic, fresh, headers, value)


RUNTIME = {"outbox", "timers", "dead_letters", "idempotency_keys", "audit"}


async def contents(hub: Harness) -> dict[str, list[str]]:
    """What every table of every service holds, but for the runtime's own."""
    tables = await hub.query(
        "SELECT schemaname || '.' || tablename AS name, tablename FROM pg_tables t JOIN pg_class c"
        " ON c.oid = format('%I.%I', schemaname, tablename)::regclass WHERE schemaname = ANY($1) AND relkind = 'r'",
        list(SERVICES),
    )
    own = [row["name"] for row in tables if row["tablename"] not in RUNTIME and "inbox" not in row["tablename"]]
    return {
        name: [row["line"] for row in await hub.query(f"SELECT t::text AS line FROM {name} t ORDER BY 1")]
        for name in sorted(own)
    }


async def test_every_example_passes_every_consumer_and_a_repeat_of_it_changes_nothing(server_url: str) -> None:
    async with Harness.fresh(server_url, *SERVICES) as hub:
        records = [record_of(example) for example in all_examples()]
        for record in records:
            await hub.publish(record)
        await hub.settle(60)
        for service in SERVICES:
            letters = (await hub.http.get(f"/ops/{service}/dead-letters", headers=hub.admin)).json()["items"]
            assert [(letter["topic"], letter["reason"]) for letter in letters] == [], service
        before = await contents(hub)
        assert before["evaluate.cases"]
        assert before["dispatch.lamps"]
        for record in reversed(records):
            await hub.publish(record)
        await hub.settle(60)
        after = await contents(hub)
        assert {name: rows for name, rows in after.items() if rows != before[name]} == {}


async def test_the_topic_files_name_the_real_readers(server_url: str) -> None:
    async with Harness.fresh(server_url, *SERVICES) as hub:
        readers: dict[str, set[str]] = {name: set() for name in topics.load()}
        for name, runner in hub.runners.items():
            assert callable(builder(name))
            for subscription in runner.service.subscriptions:
                readers[subscription.topic].add(name)
        assert {name: set(topic.consumers) for name, topic in topics.load().items()} == readers
