"""bench-escalations: a hundred thousand overdue orders before three workers, one killed every 5 s, the database once.

    make bench-escalations [n=100000] [seconds=180] [kill=5] [seed=1] [folder=DIR]

Every order is dispatched on the log and its clocks are armed by sla itself. `complete` falls due within `seconds`, its
levels 2 and 3 one and two times `seconds` later, so that as many levels a second come due all the time. Every `kill`
seconds one of the three workers, drawn at random, is killed with SIGKILL and started again; in the middle PostgreSQL is
stopped at once (SIGQUIT) and started again. Notes of orders come in all the time: a timer fires only when they were
read, also those on the partitions of a worker that was just killed.

Judged by the published stream: every order has red and the levels 1 to 3 exactly once, in order, each at the instant
that the bench computes, none before it, one row of `supervisions` and one notice for each. Lag: from the instant to the
row in the published log; what came due while the database was away counts from the moment it answered again. The last
line is one JSON object; status 1 when anything is wrong or p99 > 2 s.
"""

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.bus.records import Record
from shared.errors import Transient
from tests.bench import load
from tests.bench.server import Server, kept_folder, postgres
from tests.bench.sla import stage, told
from tests.bench.sla.orders import Order, bus, order, publish
from tests.bench.stack import tell

WORKERS = 3
BUDGET = timedelta(hours=1)
ARMED_PER_S = 600
"""how fast clocks are armed at least, yellow lamps included; the first level falls due after that"""
LEAD_S = 20.0
PATIENCE_S = 180.0
NOTES_PER_S = 20
BAR_S = 2.0


@dataclass
class Disturbances:
    """Kills workers one after the other and the database once; knows when it answered again."""

    server: Server
    workers: Sequence[stage.Replica]
    kill_every_s: float
    crash_at: float
    """seconds of `time.time()`"""
    chance: random.Random
    kills: int = 0
    away: tuple[float, float] | None = None
    """when the database was stopped and when it answered again"""
    _next_kill: float = field(default_factory=lambda: time.time())

    def step(self) -> None:
        """What is due of it now; also starts what is away."""
        now = time.time()
        if self.away is None and now >= self.crash_at:
            self.server.crash()
            self.server.start()
            self.away = (now, time.time())
        if now >= self._next_kill + self.kill_every_s:
            self._next_kill = now
            victim = self.chance.choice(self.workers)
            victim.kill()
            victim.start()
            self.kills += 1


class Notes(threading.Thread):
    """Life goes on: some notes a second, each repeated until the log has it."""

    def __init__(self, url: str, orders: Sequence[Order]) -> None:
        super().__init__(daemon=True)
        self.url, self.orders = url, orders
        self.done = threading.Event()
        self.sent = 0

    def run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        async with bus(self.url) as transport:
            for one in self.orders:
                note, known = one.progressed(datetime.now(UTC)), False
                while not known:
                    await asyncio.sleep(1 / NOTES_PER_S)
                    if self.done.is_set():
                        return
                    with suppress(Transient):
                        await transport.publish([note])
                        known = True
                self.sent += 1


def orders_due(count: int, first: datetime, seconds: float) -> list[Order]:
    """Orders that fall due one after the other; every tenth shares the instant of the one before."""
    instants = [first + timedelta(seconds=seconds * (n - (n % 10 == 0)) / count) for n in range(count)]
    return [order(n, due - BUDGET, due) for n, due in enumerate(instants)]


async def arm(url: str, orders: Sequence[Order]) -> None:
    """Publish the orders and wait until sla has armed their clocks and turned their lamps yellow."""

    def dispatched() -> Iterator[Record]:
        for one in orders:
            yield one.dispatched(datetime.now(UTC))

    async with bus(url) as transport:
        await publish(transport, dispatched())
    first = orders[1].due_at
    wait_s = (first - datetime.now(UTC)).total_seconds()
    read = await stage.until(url, stage.UNREAD.format(service="sla", topic="dispatch.work-orders.v1"), wait_s)
    waits = "SELECT count(*) FROM sla.timers WHERE kind = 'clock' AND due_at < $1"
    if not read or not await stage.until(
        url, waits, (first - datetime.now(UTC)).total_seconds(), first - timedelta(minutes=1)
    ):
        raise RuntimeError("the machine is too slow or too busy: clocks were not armed before the first fell due")


async def left(url: str, last: datetime) -> int:
    """Timers and events that are still to come."""
    [row] = await stage.query(
        url,
        "SELECT (SELECT count(*) FROM sla.timers WHERE kind = 'clock' AND due_at <= $1)"
        " + (SELECT count(*) FROM sla.outbox) AS n",
        last,
    )
    return int(row["n"])


@dataclass(frozen=True)
class Verdict:
    """What the stream shows: faults by kind, lags in seconds."""

    faults: Counter[str]
    lags: list[float]
    waited: list[float]
    """lags of what came due while the database was away, from the instant itself"""
    announced: int
    delivered_again: int
    """events that stand in the log twice, because a relay did not live to note that it had sent them"""


async def judge(
    url: str, orders: Sequence[Order], levels: Sequence[timedelta], away: tuple[float, float] | None
) -> Verdict:
    """Recounts everything from the published stream and compares sla's tables and notices with it."""
    stream = await told.clocks(url)
    faults: Counter[str] = Counter()
    lags: list[float] = []
    waited: list[float] = []
    ids: set[str] = set()
    gone, back = away or (0.0, 0.0)
    for one in orders:
        events = stream.pop(one.id, [])
        faults.update(told.faults_of_order(events, {n: one.due_at + delay for n, delay in enumerate(levels, 1)}))
        raised = told.escalations(events)
        ids |= {event.supervision_id for event in raised}
        faults["yellow not once"] += sum(event.type == "turned_yellow" for event in events) != 1
        faults["taken back"] += any(event.type == "corrected" for event in events)
        for event in raised:
            instant = event.at.timestamp()
            faults["before its time"] += event.named_ms < int(instant * 1000)
            if gone <= instant < back:
                waited.append(event.appended - instant)
            lags.append(event.appended - (back if gone <= instant < back else instant))
    faults["an order nobody knows"] += len(stream)
    rows = await stage.query(url, "SELECT id, withdrawn_at FROM sla.supervisions")
    faults["supervisions differ from the stream"] += len(rows) != len(ids) or {row["id"] for row in rows} != ids
    counted = Counter(name for notice in await told.notices(url) for name in notice.supervision_ids)
    faults["told not once"] += sum(counted[name] != 1 for name in ids) + len(counted.keys() - ids)
    [open_] = await stage.query(
        url,
        "SELECT (SELECT count(*) FROM sla.dead_letters) AS letters,"
        " (SELECT count(*) FROM sla.timers WHERE error IS NOT NULL) AS failed",
    )
    faults["dead letters"] += open_["letters"]
    faults["failing timers"] += open_["failed"]
    [again] = await stage.query(
        url,
        "SELECT count(*) - count(DISTINCT headers -> 1 ->> 1) AS n FROM bus.log"
        " WHERE topic = 'sla.clocks.v1' AND headers -> 1 ->> 0 = 'ce_id'",
    )
    return Verdict(+faults, lags, waited, len(lags), again["n"])


def run(server: Server, folder: Path, count: int, seconds: float, kill_every_s: float, seed: int) -> dict[str, Any]:
    """Arm, disturb, judge."""
    chance = random.Random(seed)
    steps = (timedelta(0), timedelta(seconds=seconds), timedelta(seconds=2 * seconds))
    city = stage.city_with(folder, "PT1H", ("PT0S", f"PT{seconds:g}S", f"PT{2 * seconds:g}S"))
    url = asyncio.run(stage.fresh_database(server, folder, "sla"))
    with stage.replicas("sla", WORKERS, url, folder, SUSHU_CITY=str(city)) as workers:
        first = datetime.now(UTC) + timedelta(seconds=LEAD_S + count / ARMED_PER_S)
        orders = orders_due(count, first, seconds)
        began = time.monotonic()
        asyncio.run(arm(url, orders))
        armed_s = time.monotonic() - began
        print(f"armed {count:,} in {armed_s:.0f} s; due from {first:%H:%M:%S}", file=sys.stderr)
        time.sleep(max(0.0, first.timestamp() - time.time()))
        cpu, database = sum(worker.cpu_s() for worker in workers), server.cpu_s()
        last = first + timedelta(seconds=3 * seconds)
        crash_at = first.timestamp() + 3 * seconds * chance.uniform(0.4, 0.6)
        notes = Notes(url, orders)
        notes.start()
        trouble = Disturbances(server, workers, kill_every_s, crash_at, chance)
        while time.time() < last.timestamp() + PATIENCE_S:
            trouble.step()
            for worker in workers:
                worker.cpu_s()
            if time.time() > last.timestamp():
                with suppress(OSError):
                    if asyncio.run(left(url, last)) == 0:
                        break
            time.sleep(0.2)
        done = time.time()
        notes.done.set()
        notes.join()
        cpu, database = sum(worker.cpu_s() for worker in workers) - cpu, server.cpu_s() - database
    verdict = asyncio.run(judge(url, orders, steps, trouble.away))
    figures = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)]
    away = trouble.away or (0.0, 0.0)
    return {
        "orders": count,
        "escalations": verdict.announced,
        "notes": notes.sent,
        "seconds": round(done - first.timestamp(), 1),
        "due_per_s": round(count / seconds),
        "armed_per_s": round(count / armed_s),
        "kills": trouble.kills,
        "database_away_s": round(away[1] - away[0], 1),
        "wrong": dict(verdict.faults),
        "delivered_again": verdict.delivered_again,
        "lag_s": {name: round(load.percentile(verdict.lags, share), 3) for name, share in figures},
        "lag_of_those_due_while_away_s": {
            name: round(load.percentile(verdict.waited, share), 3) for name, share in figures
        },
        "rss_mb": [round(worker.rss_mb) for worker in workers],
        "cpu_ms_per_escalation": {
            "workers, their starts included": round(cpu * 1000 / max(1, verdict.announced), 3),
            "PostgreSQL": round(database * 1000 / max(1, verdict.announced), 3),
        },
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with kept_folder(given, "escalations") as folder, postgres(folder) as server:
        found = run(
            server,
            folder,
            int(given.get("n", "100000")),
            float(given.get("seconds", "180")),
            float(given.get("kill", "5")),
            int(given.get("seed", "1")),
        )
    held = not found["wrong"] and found["lag_s"]["p99"] <= BAR_S
    tell("escalations", {"transport": "embedded"} | found, held=held)


if __name__ == "__main__":
    main()
