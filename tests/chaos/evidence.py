"""What can be seen from outside after a run: the log itself, the journal and its feed, tables, reconcile."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.events import topics
from tests.chaos.scene import SERVICES, Scene


class Line(NamedTuple):
    """One record of the log, in the order of its partition."""

    topic: str
    partition: int
    id: str
    type: str
    key: str
    sequence: int
    time: datetime
    body: bytes


def _line(topic: str, partition: int, key: str, headers: dict[str, str], body: bytes) -> Line:
    return Line(
        topic,
        partition,
        headers["ce_id"],
        headers["ce_type"],
        key,
        int(headers["ce_sequence"]),
        datetime.fromisoformat(headers["ce_time"]),
        body,
    )


async def log_lines(scene: Scene) -> AsyncIterator[Line]:
    """Every record of every topic of the catalogue, repeats included."""
    if scene.transport == "embedded":
        async with scene.sql() as pg, pg.transaction():
            async for row in pg.cursor(
                "SELECT topic, partition, key, headers::text, value FROM bus.log ORDER BY topic, partition, log_offset",
                prefetch=2000,
            ):
                yield _line(row[0], row[1], row[2], dict(orjson.loads(row[3])), row[4])
        return
    consumer = AIOKafkaConsumer(
        bootstrap_servers=scene.stack.facts["kafka"], enable_auto_commit=False, request_timeout_ms=30_000
    )
    await consumer.start()
    try:
        places = [
            TopicPartition(topic.name, number) for topic in topics.load().values() for number in range(topic.partitions)
        ]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        open_ones = {place for place in places if ends[place] > 0}
        while open_ones:
            for place, records in (await consumer.getmany(timeout_ms=1000, max_records=5000)).items():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    yield _line(place.topic, place.partition, record.key.decode(), headers, record.value)
            for place in list(open_ones):
                if await consumer.position(place) >= ends[place]:
                    open_ones.discard(place)
    finally:
        await consumer.stop()


class Entry(NamedTuple):
    """One event of the journal."""

    position: int
    id: str
    topic: str
    key: str
    sequence: int


async def journal_entries(scene: Scene) -> AsyncIterator[Entry]:
    """The journal's table in its order."""
    async with scene.sql() as pg, pg.transaction():
        async for row in pg.cursor(
            "SELECT position, id, topic, subject, sequence FROM journal.events ORDER BY position", prefetch=5000
        ):
            yield Entry(*row)


async def feed_ids(scene: Scene) -> list[str]:
    """Ids of the whole event feed, page by page, as an integrator reads it."""
    found: list[str] = []
    after = ""
    while True:
        answer = await scene.http.get("/v1/events", params={"after": after, "limit": 1000})
        answer.raise_for_status()
        page = orjson.loads(answer.content)
        found += [event["id"] for event in page["items"]]
        if not page["next"]:
            return found
        after = page["next"]


@dataclass
class Tables:
    """What the services' tables say."""

    appeals: set[str]
    """ids of intake's appeals"""
    orders: set[str]
    order_of: dict[str, str]
    """appeal → work order in dispatch"""
    clock_sets: set[str]
    supervisions: dict[tuple[str, str, int, int], int]
    """(order, clock, round, level) → how many that were not taken back"""
    dead_letters: int
    timers_due: int


async def tables(scene: Scene, business_now: datetime) -> Tables:
    """Read the tables by SQL."""
    async with scene.sql() as pg:
        return Tables(
            appeals={row[0] for row in await pg.fetch("SELECT appeal_id::text FROM intake.appeals")},
            orders={row[0] for row in await pg.fetch("SELECT id FROM dispatch.work_orders")},
            order_of=dict(
                await pg.fetch("SELECT appeal_id, work_order_id FROM dispatch.cases WHERE work_order_id IS NOT NULL")
            ),
            clock_sets={
                row[0] for row in await pg.fetch("SELECT work_order_id FROM sla.clock_sets WHERE state IS NOT NULL")
            },
            supervisions={
                (row[0], row[1], row[2], row[3]): row[4]
                for row in await pg.fetch(
                    "SELECT work_order_id, clock, round, level, count(*) FROM sla.supervisions"
                    " WHERE withdrawn_at IS NULL GROUP BY 1, 2, 3, 4"
                )
            },
            dead_letters=await _sum(pg, "SELECT count(*) FROM {}.dead_letters WHERE status IN ('parked', 'waiting')"),
            timers_due=await _sum(pg, "SELECT count(*) FROM {}.timers WHERE due_at <= $1", business_now),
        )


async def _sum(pg: Any, query: str, *arguments: Any) -> int:
    return sum([int(await pg.fetchval(query.format(name), *arguments)) for name in SERVICES])


async def due_timers(scene: Scene) -> int:
    """Timers whose business instant has come and that have not fired."""
    now = await scene.business_now()
    async with scene.sql() as pg:
        return await _sum(pg, "SELECT count(*) FROM {}.timers WHERE due_at <= $1", now)


async def reconcile(scene: Scene) -> dict[str, int]:
    """`service/check` → differences, only those that are not 0."""
    found: dict[str, int] = {}
    for service in SERVICES:
        answer = await scene.http.get(f"/ops/{service}/reconcile", timeout=120)
        if answer.status_code != 200:
            found[f"{service}/answers {answer.status_code}"] = 1
            continue
        found |= {f"{service}/{check}": count for check, count in answer.json()["checks"].items() if count}
    return found
