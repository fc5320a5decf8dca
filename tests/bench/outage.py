"""bench-outage: sla is away for six hours with fifty thousand deadlines in them, half of them met in time.

    make bench-outage [n=50000] [seed=1] [folder=DIR]

The clock of the stack is turned (SUSHU_SIM_CLOCK), PostgreSQL, the log and three processes of sla are real. The orders
are armed, sla is killed, dispatch goes on: half of the orders are completed at or before due (one in eight of them
exactly at due), a third of the others later than due, the rest not at all. Six hours later sla is started again. Judged
by the published stream against the bench's own arithmetic: the unmet half fired and only it, every level whose instant
had come by the stop (or by now) once and in order, marked late; nothing announced that had to be taken back; at most
one digest for a supervisor, and with it everybody told of everything once. The last line is one JSON object; status 1
when anything differs.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.server import Server, kept_folder, postgres
from tests.bench.sla import stage, told
from tests.bench.sla.orders import Order, bus, order, publish
from tests.bench.stack import tell

WORKERS = 3
OUTAGE = timedelta(hours=6)
BUDGET = timedelta(hours=8)
LADDER = (timedelta(0), timedelta(hours=1), timedelta(hours=4))
LATE_AFTER = timedelta(minutes=1)
"""docs/deadlines.md: what is announced later than this is marked late"""
GRACE = timedelta(minutes=10)
"""between the last arming and the first deadline of the outage, business time"""
MICROSECOND = timedelta(microseconds=1)
PATIENCE_S = 900.0
TOPIC = "dispatch.work-orders.v1"
TURN = (
    "UPDATE sim.clock SET version = version + 1, real_at = clock_timestamp(), speed = $2, business_at ="
    " business_at + (clock_timestamp() - real_at) * speed + $1::interval RETURNING business_at"
)


async def turn(url: str, by: timedelta, speed: float = 1.0) -> datetime:
    """Turn the clock of the stack; returns what it shows."""
    [row] = await stage.query(url, TURN, by, speed)
    await stage.query(url, "SELECT pg_notify('sushu_clock', '')")
    instant: datetime = row["business_at"]
    return instant


def stops_of(orders: Sequence[Order], end: datetime, chance: random.Random) -> dict[str, datetime]:
    """When each completed order was completed: every other in time, a sixth too late."""
    found: dict[str, datetime] = {}
    for one in orders:
        if one.number % 2:
            early = one.due_at - timedelta(seconds=chance.uniform(0, 600))
            found[one.id] = one.due_at if chance.randrange(8) == 0 else early
        elif chance.randrange(3) == 0:
            found[one.id] = one.due_at + max(MICROSECOND, (end - one.due_at) * chance.random())
    return found


def levels_by(one: Order, stop: datetime | None, now: datetime) -> dict[int, datetime]:
    """The levels that must have been announced by `now`: a stop at their instant or before prevents them."""
    instants = {level: one.due_at + delay for level, delay in enumerate(LADDER, 1)}
    return {n: at for n, at in instants.items() if at <= now and (stop is None or at < stop)}


async def drained(url: str) -> bool:
    """Until sla has read everything and nothing that is due is left."""
    if not await stage.until(url, stage.UNREAD.format(service="sla", topic=TOPIC), PATIENCE_S):
        return False
    [row] = await stage.query(url, "SELECT business_at + (clock_timestamp() - real_at) * speed AS now FROM sim.clock")
    waits = "SELECT (SELECT count(*) FROM sla.timers WHERE due_at <= $1) + (SELECT count(*) FROM sla.outbox)"
    return await stage.until(url, waits, PATIENCE_S, row["now"])


async def judge(
    url: str, orders: Sequence[Order], stops: Mapping[str, datetime], back: datetime, now: datetime
) -> dict[str, Any]:
    """Recounts the stream, the supervisions and the notices. `back`: when sla was started again."""
    stream = await told.clocks(url)
    faults: Counter[str] = Counter()
    fired = late = met = escalations = 0
    in_log_order: list[told.Told] = []
    standing: dict[str, tuple[bool, int]] = {}
    for one in orders:
        events, stop = stream.pop(one.id, []), stops.get(one.id)
        expected = levels_by(one, stop, now)
        faults.update(told.faults_of_order(events, expected))
        raised = told.escalations(events)
        met += stop is not None and stop <= one.due_at
        fired += bool(raised)
        for event in raised:
            late += event.late
            faults["not marked late"] += event.at < back - LATE_AFTER and not event.late
            standing[event.supervision_id] = (event.late, event.level or 0)
        faults["taken back"] += any(event.type == "corrected" for event in events)
        in_log_order += (
            raised if stop is None else []
        )  # a stop is read before timers fire, and its clock's levels with it
        escalations += len(raised)
    faults["an order nobody knows"] += len(stream)
    rows = {row["id"]: row for row in await stage.query(url, "SELECT * FROM sla.supervisions")}
    faults["supervisions differ from the stream"] += rows.keys() != standing.keys()
    faults["never told"] += sum(row["told_at"] is None for row in rows.values())
    faults["late differs"] += sum(row["late"] != standing[name][0] for name, row in rows.items() if name in standing)
    notices = await told.notices(url)
    digests = Counter(notice.audience for notice in notices if notice.kind == "digest")
    faults["more than one digest"] += sum(count > 1 for count in digests.values())
    counts = Counter({kind: sum(n.count for n in notices if n.kind == kind) for kind in ("supervision", "digest")})
    faults["told otherwise than once"] += abs(counts["digest"] - late) + abs(counts["supervision"] + late - len(rows))
    in_log_order.sort(key=lambda event: event.named_ms)
    highest = accumulate((event.at for event in in_log_order), max)
    behind = max((top - event.at for top, event in zip(highest, in_log_order, strict=True)), default=timedelta(0))
    return {
        "orders": len(orders),
        "met_in_time": met,
        "unmet_that_fired": fired,
        "escalations": escalations,
        "marked_late": late,
        "digests": sum(digests.values()),
        "supervisors_with_a_digest": len(digests),
        "notices": dict(Counter(notice.kind for notice in notices)),
        "announced_after_a_younger_one_by_at_most_s": round(behind.total_seconds()),
        "wrong": dict(+faults),
    }


async def prepared(url: str, count: int) -> list[Order]:
    """Armed orders whose deadlines are spread over the outage; sla has turned yellow what is yellow."""
    pg: Any = await asyncpg.connect(url)
    now: datetime = await pg.fetchval("SELECT business_at + (clock_timestamp() - real_at) * speed FROM sim.clock")
    await pg.close()
    first = now + GRACE
    orders = [
        order(n, due - BUDGET, due) for n in range(count) for due in [first + (OUTAGE - GRACE) * ((n + 0.5) / count)]
    ]
    async with bus(url) as transport:
        await publish(transport, (one.dispatched(now) for one in orders))
    if not await drained(url):
        raise RuntimeError("sla did not arm the clocks")
    return orders


async def away(url: str, orders: Sequence[Order], chance: random.Random) -> tuple[dict[str, datetime], datetime]:
    """What happens while sla is down; returns the stops and what the clock shows when it comes back."""
    back = await turn(url, OUTAGE)
    stops = stops_of(orders, back, chance)
    async with bus(url) as transport:
        stopped = sorted((one for one in orders if one.id in stops), key=lambda one: stops[one.id])
        await publish(transport, (one.completed(stops[one.id]) for one in stopped))
    return stops, back


def run(server: Server, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Arm, be away, come back, judge."""
    city = stage.city_with(folder, "PT8H", ("PT0S", "PT1H", "PT4H"))
    url = asyncio.run(stage.fresh_database(server, folder, "sla"))
    with stage.replicas("sla", WORKERS, url, folder, SUSHU_CITY=str(city), SUSHU_SIM_CLOCK="1") as workers:
        orders = asyncio.run(prepared(url, count))
        for worker in workers:
            worker.kill()
        stops, back = asyncio.run(away(url, orders, random.Random(seed)))
        cpu, database, began = sum(worker.cpu_s() for worker in workers), server.cpu_s(), time.monotonic()
        for worker in workers:
            worker.start()
        quiet = asyncio.run(drained(url))
        caught_up_s = time.monotonic() - began
        cpu, database = sum(worker.cpu_s() for worker in workers) - cpu, server.cpu_s() - database
        now = asyncio.run(turn(url, timedelta(0), speed=0.0))
        quiet = asyncio.run(drained(url)) and quiet
        rss = [round(worker.rss_mb) for worker in workers]
    found = asyncio.run(judge(url, orders, stops, back, now))
    escalations = max(1, found["escalations"])
    return found | {
        "everything_was_fired": quiet,
        "caught_up_s": round(caught_up_s, 1),
        "escalations_per_s": round(found["escalations"] / caught_up_s),
        "rss_mb": rss,
        "cpu_ms_per_escalation": {
            "workers": round(cpu * 1000 / escalations, 3),
            "PostgreSQL": round(database * 1000 / escalations, 3),
        },
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with kept_folder(given, "outage") as folder, postgres(folder) as server:
        found = run(server, folder, int(given.get("n", "50000")), int(given.get("seed", "1")))
    held = found["everything_was_fired"] and not found["wrong"]
    tell("outage", {"transport": "embedded"} | found, held=held)


if __name__ == "__main__":
    main()
