"""bench-timers: a million armed clocks, a hundred thousand of them due within one minute, three workers, one killed.

    make bench-timers [n=1000000] [due=100000] [seconds=60] [folder=/tmp/timers] [growth=no]

The real sla service in three processes on the log in PostgreSQL. An order's clocks are made once by the service
itself and cloned with COPY; its next instant (the yellow lamp of `accept`) is what falls due. One worker, drawn at
random, is killed with SIGKILL in the middle and stays away. Judged by the log: each due order has exactly one
`clock.turned_yellow`; the lag is the millisecond in that event's UUIDv7, taken in the transaction that fires it,
minus the instant that was due. For the growth a tenth of it all goes before, at the same rate. The last line is one
JSON object.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from shared.clock import ManualClock
from shared.events.catalog import work_orders
from shared.ids import uuid7
from shared.service.process import ensure_topics, migrate_service
from shared.settings import Settings
from shared.testing.harness import Harness
from shared.testing.postgres import url_of
from shared.transport.embedded import EmbeddedTransport
from tests.bench import load
from tests.bench.growth import growth
from tests.bench.server import Server, kept_folder, postgres
from tests.bench.stack import ROOT, TOKEN, free_port, machine
from tools.seed.cost import load_average

WORKERS = 3
LEAD_S = 45.0
"""between the end of arming and the first due instant: the workers start in it"""
ARMED_PER_S = 8_000
"""how fast they can be written at least; the first falls due after that"""
PATIENCE_S = 120.0
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00|\+00|\+08:00)")


async def one_order(server_url: str) -> tuple[dict[str, str], datetime]:
    """The row of a fresh order in `clock_sets` as text, and the instant of its timer: written by sla itself."""
    clock = ManualClock(datetime(2026, 1, 5, 2, 0, tzinfo=UTC))
    async with Harness.fresh(server_url, "sla", clock=clock) as hub:
        now, order_id = clock.now(), uuid7()
        order = work_orders.WorkOrder(
            id=order_id,
            platform="460100",
            appeal_ids=[uuid7()],
            status="dispatched",
            lead="unit-1",
            lead_name="一号单位",
            lead_region="460106",
            handling_class="livelihood",
            matter="01010101",
            matter_path=["一", "二"],
            kind="help",
            region_code="460106",
            channel="phone",
            dispatch_no=1,
            version=1,
            received_at=now,
            opened_at=now,
            dispatched_at=now,
        )
        event = work_orders.WorkOrderDispatched(actor="system:dispatch", cause="routing", after=order)
        await hub.emit(event, key=order_id, sequence=1)
        await hub.settle()
        pg: Any = await asyncpg.connect(hub.settings.database_url, server_settings={"timezone": "UTC"})
        try:
            columns = [
                row["column_name"]
                for row in await pg.fetch(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = 'sla'"
                    " AND table_name = 'clock_sets' ORDER BY ordinal_position"
                )
            ]
            casts = ", ".join(f'"{name}"::text AS "{name}"' for name in columns)
            row = await pg.fetchrow(f"SELECT {casts} FROM sla.clock_sets")
            timer: datetime = await pg.fetchval("SELECT due_at FROM sla.timers")
        finally:
            await pg.close()
        return dict(row), timer


async def arm(url: str, armed: int, due: int, seconds: int, row: dict[str, str], timer: datetime) -> datetime:
    """Write `armed` orders, `due` of them to fall due within `seconds`; returns the first due instant."""
    pg: Any = await asyncpg.connect(url, command_timeout=None, server_settings={"synchronous_commit": "off"})
    columns = list(row)
    text = "\t".join("\\N" if row[name] is None else row[name].replace("\\", "\\\\") for name in columns) + "\n"
    marked = re.sub(_INSTANT, lambda found: f"\x00{found[0]}\x00", text.replace(row["work_order_id"], "\x01"))
    parts = marked.split("\x00")
    offsets = [
        (
            place,
            datetime.fromisoformat(part.replace(" ", "T").replace("+00", "+00:00") if part.endswith("+00") else part)
            - timer,
        )
        for place, part in enumerate(parts)
        if place % 2
    ]
    first = datetime.now(UTC) + timedelta(seconds=LEAD_S + armed / ARMED_PER_S)

    def instant_of(number: int) -> datetime:
        if number < due:
            return first + timedelta(seconds=seconds * number / due)
        return first + timedelta(hours=3, seconds=number % 86_400)

    async def sets() -> AsyncIterator[bytes]:
        pieces = list(parts)
        for start in range(0, armed, 2_000):
            lines = []
            for number in range(start, min(start + 2_000, armed)):
                instant = instant_of(number)
                for place, offset in offsets:
                    pieces[place] = (instant + offset).isoformat()
                lines.append("".join(pieces).replace("\x01", f"order-{number}"))
            yield "".join(lines).encode()

    async def timers() -> AsyncIterator[bytes]:
        for start in range(0, armed, 10_000):
            yield "".join(
                f"clock\torder-{number}\t{instant_of(number).isoformat()}\t{{}}\n"
                for number in range(start, min(start + 10_000, armed))
            ).encode()

    try:
        await pg.copy_to_table("clock_sets", source=sets(), schema_name="sla", columns=columns, format="text")
        await pg.copy_to_table(
            "timers", source=timers(), schema_name="sla", columns=["kind", "key", "due_at", "payload"], format="text"
        )
        await pg.execute("VACUUM (ANALYZE) sla.clock_sets")
        await pg.execute("VACUUM (ANALYZE) sla.timers")
    finally:
        await pg.close()
    return first


def start_worker(url: str, folder: Path, number: int) -> subprocess.Popen[bytes]:
    """One replica of sla, as its own process."""
    output = (folder / f"worker-{number}.log").open("wb")
    return subprocess.Popen(
        [sys.executable, "-m", "services.sla"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": url,
            "SUSHU_DATA_DIR": str(folder),
            "SUSHU_SERVICE_PORT": str(free_port()),
            "SUSHU_ADMIN_TOKEN": TOKEN,
        },
        stdout=output,
        stderr=output,
    )


async def fired(url: str) -> list[tuple[str, float]]:
    """(order, lag in seconds) of every yellow lamp in the log."""
    pg: Any = await asyncpg.connect(url, command_timeout=None)
    try:
        rows = await pg.fetch(
            "SELECT key, h->>'ce_id' AS id, h->>'ce_time' AS time FROM bus.log, LATERAL"
            " (SELECT jsonb_object_agg(e->>0, e->>1) AS h FROM jsonb_array_elements(headers) e) x"
            " WHERE topic = 'sla.clocks.v1' AND h->>'ce_type' = 'clock.turned_yellow'"
        )
    finally:
        await pg.close()
    return [
        (row["key"], int(row["id"].replace("-", "")[:12], 16) / 1000 - datetime.fromisoformat(row["time"]).timestamp())
        for row in rows
    ]


async def left(url: str, until: datetime) -> int:
    pg: Any = await asyncpg.connect(url, command_timeout=None)
    try:
        found: int = await pg.fetchval(
            "SELECT (SELECT count(*) FROM sla.timers WHERE due_at <= $1) + (SELECT count(*) FROM sla.outbox)", until
        )
        return found
    finally:
        await pg.close()


async def prepare(server_url: str, name: str, armed: int, due: int, seconds: int, folder: Path) -> tuple[str, datetime]:
    """A database with the armed clocks; its URL and the first due instant."""
    admin: Any = await asyncpg.connect(server_url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = url_of(server_url, name)
    settings = Settings(database_url=url, data_dir=folder)
    transport = EmbeddedTransport(url)
    await transport.start()
    await ensure_topics(transport)
    await transport.stop()
    await migrate_service("sla", settings)
    row, timer = await one_order(server_url)
    return url, await arm(url, armed, due, seconds, row, timer)


def measure(server: Server, armed: int, due: int, seconds: int, folder: Path) -> dict[str, Any]:
    """Arm, let them fall due before three workers, judge by the log."""
    chance = random.Random()
    began = time.monotonic()
    name = f"timers_{os.getpid()}_{armed}"
    url, first = asyncio.run(prepare(server.url, name, armed, due, seconds, folder))
    print(f"armed {armed:,} in {time.monotonic() - began:.0f} s; due from {first:%H:%M:%S}", file=sys.stderr)
    workers = [start_worker(url, folder, number) for number in range(WORKERS)]
    killed = None
    highest = [0.0] * WORKERS
    cpu, started = [0.0] * WORKERS, [0.0] * WORKERS
    database = server.cpu_s()
    try:
        kill_at = first.timestamp() + seconds * chance.uniform(0.2, 0.8)
        last = first + timedelta(seconds=seconds)
        give_up = last.timestamp() + PATIENCE_S
        while time.time() < give_up:
            for number, worker in enumerate(workers):
                if worker.poll() is None:
                    process = psutil.Process(worker.pid)
                    highest[number] = max(highest[number], process.memory_info().rss / 1e6)
                    cpu[number] = sum(process.cpu_times()[:2])
            if time.time() < first.timestamp():  # what their start costs is not what a timer costs
                started, database = list(cpu), server.cpu_s()
            if killed is None and time.time() > kill_at:
                killed = chance.randrange(WORKERS)
                workers[killed].kill()
            if time.time() > last.timestamp() + 1 and asyncio.run(left(url, last)) == 0:
                break
            time.sleep(0.5)
        database = server.cpu_s() - database
        time.sleep(2)  # the relay's last batch
        told = asyncio.run(fired(url))
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
    times = Counter(order for order, _ in told)
    lags = [lag for _, lag in told]
    return {
        "armed": armed,
        "due": due,
        "seconds": seconds,
        "rate": round(due / seconds),
        "never": due - len(times),
        "twice": sum(count > 1 for count in times.values()),
        "lag_s": {
            name: round(load.percentile(lags, share), 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
        "killed": killed,
        "rss_mb": [round(one, 1) for one in highest],
        "cpu_ms_per_timer": {
            "workers": round((sum(cpu) - sum(started)) * 1000 / max(1, len(told)), 3),
            "PostgreSQL": round(database * 1000 / max(1, len(told)), 3),
        },
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    armed = int(given.get("n", "1000000"))
    due, seconds = int(given.get("due", str(armed // 10))), int(given.get("seconds", "60"))
    few: dict[str, Any] | None = None
    with kept_folder(given, "timers") as folder, postgres(folder) as server:
        if given.get("growth") != "no":  # a tenth of them, just as many a second
            few = measure(server, armed // 10, max(1, due // 10), max(1, seconds // 10), folder)
        many = measure(server, armed, due, seconds, folder)
    figures: dict[str, Any] = {"bench": "timers", **machine(), "transport": "embedded", "load_average": load_average()}
    figures |= many
    if few is not None:
        lags = (few["lag_s"]["p99"], many["lag_s"]["p99"])
        figures |= {"growth": growth("armed", (few["armed"], armed), "lag_p99_s", lags), "few": few}
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    main()
