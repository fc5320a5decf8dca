"""The ceiling beside bench-ingest: the same bytes over the same hops and commits, with no logic at all.

Every service becomes a stage that reads the same topics, writes the bytes it read to a table and the bytes that the
service published (as many records of the same size) to an outbox, commits, sends them and deletes them. No HTTP, no
inbox, no rules, no decoding: what is left is what Kafka (or the log in PostgreSQL), PostgreSQL and their drivers cost.
On Kafka each stage is its own process, as in `make up`; on the embedded log all share one, as in `make run`.

    python -m tests.bench.ceiling <plan as JSON>        # one process; the bench starts them
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from shared.bus.records import Record, Transport
from shared.service.process import run_async
from shared.transport.embedded import EmbeddedTransport
from shared.transport.kafka import KafkaTransport
from tests.bench.stack import ROOT, Stack

BATCH = 500
IN_ONE_COMMIT = 200
"""appeals of one group commit, as many as the command queue takes"""


@dataclass(frozen=True)
class Stage:
    """`reads`: topics; for each record of `after` it writes `records` of `size` bytes to `writes`."""

    name: str
    reads: list[str]
    after: str = ""
    writes: str = ""
    records: int = 0
    size: int = 0


@dataclass(frozen=True)
class Plan:
    """What one process does: its stages, and how many appeals the source puts in."""

    transport: str
    kafka: str
    database: str
    stages: list[Stage]
    appeals: int
    size: int


def stages(events: dict[str, tuple[int, int]]) -> list[Stage]:
    """The seven services by the (records per appeal, bytes) of their topics."""

    def out(topic: str) -> dict[str, Any]:
        records, size = events[topic]
        return {"writes": _own(topic), "records": records, "size": size}

    appeals, labels, orders = "intake.appeals.v1", "classify.labels.v1", "dispatch.work-orders.v1"
    clocks, ratings = "sla.clocks.v1", "feedback.ratings.v1"
    plan = [
        Stage("intake", [labels, orders, clocks, ratings]),
        Stage("classify", [appeals], appeals, **out(labels)),
        Stage("dispatch", [appeals, labels, clocks, ratings], labels, **out(orders)),
        Stage("sla", [orders, ratings], orders, **(out(clocks) | {"records": 1})),
        Stage("feedback", [appeals, orders]),
        Stage("evaluate", [orders, clocks, ratings]),
        Stage("journal", [appeals, labels, orders, clocks, ratings]),
    ]
    return [Stage(s.name, [_own(topic) for topic in s.reads], _own(s.after), s.writes, s.records, s.size) for s in plan]


def _own(topic: str) -> str:
    return f"ceiling.{topic}" if topic else ""


async def observed(stack: Stack, appeals: int) -> dict[str, tuple[int, int]]:
    """(records per appeal, bytes of one) by topic, from the journal of the run before."""
    pg: Any = await asyncpg.connect(stack.facts["database_url"])
    rows = await pg.fetch(
        "SELECT topic, count(*) AS n, avg(octet_length(data::text))::int AS size FROM journal.events GROUP BY topic"
    )
    await pg.close()
    found = {row["topic"]: (max(1, round(row["n"] / appeals)), row["size"]) for row in rows}
    return {"feedback.ratings.v1": (0, 0), "sla.clocks.v1": (0, 0)} | found


async def run_stage(stage: Stage, transport: Transport, pg: Any) -> None:
    """Read, write, commit, send, delete; until cancelled."""
    consumer = transport.consumer(f"ceiling-{stage.name}", stage.reads)
    await consumer.start()
    ends = {place: first for place, (first, _) in (await transport.ends(stage.reads)).items()}
    read, outbox = f"ceiling.{stage.name}", f"ceiling.{stage.name}_outbox"
    try:
        while True:
            for place in consumer.unplaced():
                consumer.seek(place, ends.get(place, 0))
            records = await consumer.poll(BATCH, 0.2)
            if not records:
                continue
            made = sum(stage.records for record in records if record.partition.topic == stage.after)
            keys = [r.key for r in records if r.partition.topic == stage.after for _ in range(stage.records)]
            async with pg.transaction():
                await pg.execute(
                    f"INSERT INTO {read} SELECT * FROM unnest($1::text[], $2::bytea[])",
                    [record.key for record in records],
                    [record.value for record in records],
                )
                if made:
                    await pg.execute(
                        f"INSERT INTO {outbox} (key, value) SELECT * FROM unnest($1::text[], $2::bytea[])",
                        keys,
                        [b"x" * stage.size] * made,
                    )
            ends |= {record.partition: record.offset + 1 for record in records}
            if made:
                await send(stage.writes, transport, pg, outbox)
    finally:
        await consumer.stop()


async def send(topic: str, transport: Transport, pg: Any, outbox: str) -> None:
    """What the relay does, at its barest."""
    rows = await pg.fetch(f"SELECT id, key, value FROM {outbox} ORDER BY id LIMIT 1000")
    await transport.publish([Record(topic, row["key"], (), row["value"]) for row in rows])
    await pg.execute(f"DELETE FROM {outbox} WHERE id = ANY($1)", [row["id"] for row in rows])


async def source(plan: Plan, transport: Transport, pg: Any) -> None:
    """Appeals: stored and sent in group commits."""
    for start in range(0, plan.appeals, IN_ONE_COMMIT):
        keys = [f"{number:036d}" for number in range(start, min(start + IN_ONE_COMMIT, plan.appeals))]
        values = [b"x" * plan.size] * len(keys)
        async with pg.transaction():
            for table in ("source", "source_outbox"):
                await pg.execute(
                    f"INSERT INTO ceiling.{table} (key, value) SELECT * FROM unnest($1::text[], $2::bytea[])",
                    keys,
                    values,
                )
        await send(_own("intake.appeals.v1"), transport, pg, "ceiling.source_outbox")


async def work(plan: Plan) -> None:
    """One process: its stages, and the source when it has appeals to put in; ends when it is ended."""
    transport: Transport = KafkaTransport(plan.kafka) if plan.transport == "kafka" else EmbeddedTransport(plan.database)
    await transport.start()
    tasks = []
    for stage in plan.stages:
        tasks.append(asyncio.create_task(run_stage(stage, transport, await asyncpg.connect(plan.database))))
    if plan.appeals:
        await asyncio.sleep(3)  # readers have joined
        print("go", flush=True)
        await source(plan, transport, await asyncpg.connect(plan.database))
    await asyncio.gather(*tasks)


async def prepare(stack: Stack, plan: list[Stage]) -> None:
    pg: Any = await asyncpg.connect(stack.facts["database_url"])
    await pg.execute("DROP SCHEMA IF EXISTS ceiling CASCADE; CREATE SCHEMA ceiling")
    for name in ["source", *(stage.name for stage in plan)]:
        await pg.execute(
            f"CREATE TABLE ceiling.{name} (key text, value bytea);"
            f"CREATE TABLE ceiling.{name}_outbox (id bigserial PRIMARY KEY, key text, value bytea)"
        )
    await pg.close()
    topics = {topic: 6 for stage in plan for topic in (*stage.reads, stage.writes) if topic}
    transport: Transport = (
        KafkaTransport(stack.facts["kafka"])
        if stack.transport == "kafka"
        else EmbeddedTransport(stack.facts["database_url"])
    )
    await transport.start()
    await transport.ensure_topics(topics)
    await transport.stop()


def measure(stack: Stack, appeals: int, counted: int) -> float:
    """Appeals per second of the bare pipeline on a running, quiet stack; `counted`: appeals in its journal."""
    events = asyncio.run(observed(stack, counted))
    plan = stages(events)
    asyncio.run(prepare(stack, plan))
    database = stack.facts["database_url"]
    whole = Plan(stack.transport, stack.facts["kafka"], database, plan, appeals, events["intake.appeals.v1"][1])
    parts = [whole]
    if stack.transport == "kafka":
        parts = [Plan(whole.transport, whole.kafka, database, [], appeals, whole.size)]
        parts += [Plan(whole.transport, whole.kafka, database, [stage], 0, 0) for stage in plan]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.ceiling", json.dumps(asdict(part))],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in parts
    ]
    try:
        assert processes[0].stdout is not None
        assert processes[0].stdout.readline().strip() == "go"
        start = time.perf_counter()
        asyncio.run(_until_done(database, plan, appeals))
        return appeals / (time.perf_counter() - start)
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _until_done(database: str, plan: list[Stage], appeals: int) -> None:
    made = {_own("intake.appeals.v1"): appeals}
    for stage in plan:  # in the order of the flow
        if stage.writes:
            made[stage.writes] = made[stage.after] * stage.records
    expected = {stage.name: sum(made.get(topic, 0) for topic in stage.reads) for stage in plan}
    pg: Any = await asyncpg.connect(database)
    try:
        while True:
            counts = [await pg.fetchval(f"SELECT count(*) FROM ceiling.{name}") for name in expected]
            if all(count >= wanted for count, wanted in zip(counts, expected.values(), strict=True)):
                return
            await asyncio.sleep(0.1)
    finally:
        await pg.close()


def main() -> None:
    told = json.loads(sys.argv[1])
    run_async(work(Plan(**told | {"stages": [Stage(**stage) for stage in told["stages"]]})))


if __name__ == "__main__":
    main()
