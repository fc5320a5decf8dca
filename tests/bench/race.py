"""bench-race: orders completed within 50 ms of their deadline, in four circumstances; judged in every service.

    make bench-race [n=10000] [seconds=60] [seed=1] [folder=DIR]

`n` orders in each circumstance, their deadlines spread over `seconds`, each completed between 50 ms before and 50 ms
after (one in eight exactly at the deadline, as many a microsecond to either side):

- `prompt`: the completion stands in the log when its instant comes, as from dispatch's relay;
- `behind`: sla's readers of the log are held still for two seconds at a time while its timers go on;
- `unsent`: the completion reaches the log one to three seconds late, after the deadline was announced;
- `down`: both replicas of sla are killed before the first deadline and started after the last.

Two processes of sla on real time, one each of intake, dispatch and evaluate. The rule: a stop at or before due is never
an escalation, a later one always is. What stood in the log before a timer could look there (at due, or when sla came
back) may not even be announced; what reached it later may, and is taken back by `clock.corrected`. Judged by the
stream of sla, its tables, what supervisors were told, evaluate's late rounds, intake's clocks of the case and
dispatch's lamps, each compared with what the bench computes. The last line is one JSON object; status 1 when anything
differs.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from shared.transport.embedded import EmbeddedTransport
from tests.bench import load
from tests.bench.server import Server, kept_folder, postgres
from tests.bench.sla import stage, told
from tests.bench.sla.orders import PLATFORM, Order, bus, order, publish
from tests.bench.stack import tell

CIRCUMSTANCES = ("prompt", "behind", "unsent", "down")
BUDGET = timedelta(hours=1)
WIDTH_MS = 50
MICROSECOND = timedelta(microseconds=1)
ARMED_PER_S = 500
LEAD_S = 15.0
BETWEEN_S = 8.0
HELD_S, LET_S = 2.0, 0.7
PATIENCE_S = 180.0
TOPIC = "dispatch.work-orders.v1"
READERS = (
    ("sla", TOPIC),
    ("evaluate", "sla.clocks.v1"),
    ("intake", "sla.clocks.v1"),
    ("dispatch", "sla.clocks.v1"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One order of the race."""

    order: Order
    circumstance: str
    stop: datetime
    sent: float
    """when its completion is to stand in the log, seconds of `time.time()`"""

    @property
    def late(self) -> bool:
        """The rule (domain.md, SLA): a stop with time ≤ due wins."""
        return self.stop > self.order.due_at


def runs_of(circumstance: str, count: int, first: datetime, seconds: float, chance: random.Random) -> list[Run]:
    """Deadlines spread evenly; stops around them."""
    found = []
    for number in range(count):
        due = first + timedelta(seconds=seconds * number / count)
        exact = chance.randrange(8)
        near = timedelta(microseconds=chance.randint(-WIDTH_MS * 1000, WIDTH_MS * 1000))
        stop = due + {0: timedelta(0), 1: -MICROSECOND, 2: MICROSECOND}.get(exact, near)
        delay = chance.uniform(1.0, 3.0) if circumstance == "unsent" else chance.uniform(0.001, 0.01)
        found.append(Run(order(number, due - BUDGET, due), circumstance, stop, stop.timestamp() + delay))
    return found


async def send(transport: EmbeddedTransport, runs: Sequence[Run]) -> dict[str, float]:
    """Each completion at its moment, those of one moment together; returns by when the log had which order's."""
    stood: dict[str, float] = {}
    waiting = sorted(runs, key=lambda run: run.sent)
    position = 0
    while position < len(waiting):
        now = time.time()
        ready = position
        while ready < len(waiting) and waiting[ready].sent <= now:
            ready += 1
        if ready > position:
            await publish(transport, (run.order.completed(run.stop) for run in waiting[position:ready]))
            stood |= dict.fromkeys((run.order.id for run in waiting[position:ready]), time.time())
            position = ready
        else:
            await asyncio.sleep(min(0.25, waiting[position].sent - now))
    return stood


@contextlib.asynccontextmanager
async def readers_behind(url: str) -> AsyncIterator[None]:
    """Holds the positions of sla's readers locked, two seconds at a time: they wait, timers do not."""

    async def hold() -> None:
        pg: Any = await asyncpg.connect(url, command_timeout=None)
        try:
            while True:
                async with pg.transaction():
                    await pg.execute("SELECT 1 FROM sla.inbox_offsets WHERE topic = $1 FOR UPDATE", TOPIC)
                    await asyncio.sleep(HELD_S)
                await asyncio.sleep(LET_S)
        finally:
            await pg.close()

    holding = asyncio.create_task(hold())
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def race(
    url: str, runs: Sequence[Run], replicas: Sequence[stage.Replica]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Arm every clock, then play the circumstances one after the other; returns what was seen by the way, and for each
    order how long before a timer could look at the log its completion stood there, in seconds."""
    known: dict[str, float] = {}
    async with bus(url) as transport:
        began = time.monotonic()
        await publish(transport, (run.order.dispatched(datetime.now(UTC)) for run in runs))
        first = min(run.order.due_at for run in runs).timestamp()
        if not await stage.until(url, stage.UNREAD.format(service="sla", topic=TOPIC), first - time.time()):
            raise RuntimeError("the machine is too slow or too busy: clocks were not armed before the first fell due")
        seen: dict[str, Any] = {"armed_per_s": round(len(runs) / (time.monotonic() - began))}
        for circumstance in CIRCUMSTANCES:
            own = [run for run in runs if run.circumstance == circumstance]
            begin = min(run.stop for run in own).timestamp()
            await asyncio.sleep(max(0.0, begin - 3 - time.time()))
            print(f"{circumstance} …", file=sys.stderr)
            if circumstance == "down":
                killed = time.time()
                for replica in replicas:
                    replica.kill()
            async with readers_behind(url) if circumstance == "behind" else contextlib.nullcontext():
                stood = await send(transport, own)
            looked = 0.0
            if circumstance == "down":
                await asyncio.sleep(1)
                looked = time.time()
                for replica in replicas:
                    replica.start()
                seen["down_s"] = round(time.time() - killed, 1)
                for replica in replicas:
                    await asyncio.to_thread(replica.wait_ready)
            known |= {run.order.id: max(looked, run.order.due_at.timestamp()) - stood[run.order.id] for run in own}
    last = max(run.order.due_at for run in runs)
    waits = "SELECT (SELECT count(*) FROM sla.timers WHERE kind IN ('clock', 'digest') AND due_at <= $1)"
    waits += " + (SELECT count(*) FROM sla.outbox)"
    quiet = [await stage.until(url, stage.UNREAD.format(service="sla", topic=TOPIC), PATIENCE_S)]
    quiet.append(await stage.until(url, waits, PATIENCE_S, last + timedelta(minutes=30)))
    quiet += [
        await stage.until(url, stage.UNREAD.format(service=who, topic=topic), PATIENCE_S) for who, topic in READERS
    ]
    seen["everything_was_read"] = all(quiet)
    return seen, known


@dataclass(frozen=True)
class Projections:
    """What each service holds of each order: whether it was late, as that service tells it."""

    sla_stream: dict[str, list[told.Told]]
    sla_sets: dict[str, dict[str, Any]]
    supervisions: dict[str, list[Any]]
    evaluate: dict[str, bool]
    intake: dict[str, dict[str, Any]]
    dispatch: dict[str, Any]
    timers: set[str]
    notices: Counter[tuple[str, str]]
    """(kind, supervision)"""


async def projections(url: str) -> Projections:
    """Reads all of them."""
    supervisions: dict[str, list[Any]] = {}
    for row in await stage.query(url, "SELECT * FROM sla.supervisions"):
        supervisions.setdefault(row["work_order_id"], []).append(row)
    late_rounds = "SELECT work_order_id, late FROM evaluate.late_rounds WHERE platform = $1 AND round = 1"
    counted: Counter[tuple[str, str]] = Counter()
    for notice in await told.notices(url):
        counted.update((notice.kind, name) for name in notice.supervision_ids)
    return Projections(
        await told.clocks(url),
        {
            row["work_order_id"]: _complete(orjson.loads(row["state"])["clocks"], "name")
            for row in await stage.query(url, "SELECT work_order_id, state FROM sla.clock_sets")
        },
        supervisions,
        {row["work_order_id"]: row["late"] for row in await stage.query(url, late_rounds, PLATFORM)},
        {
            row["id"]: _complete(orjson.loads(f"[{row['clocks']}]"), "clock")
            for row in await stage.query(url, "SELECT work_order_id::text AS id, clocks FROM intake.case_clocks")
        },
        {row["work_order_id"]: row for row in await stage.query(url, "SELECT * FROM dispatch.lamps")},
        {row["key"] for row in await stage.query(url, "SELECT key FROM sla.timers WHERE kind = 'clock'")},
        counted,
    )


def _complete(clocks: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(clock for clock in clocks if clock[name] == told.ONE_CLOCK)


def faults_of(run: Run, seen: Projections, known_s: float) -> list[str]:
    """Where a service disagrees with the rule about this order. `known_s`: how long its completion had stood in the log
    when a timer could look there; from then on nothing may be announced that has to be taken back."""
    faults = []
    key, events = run.order.id, seen.sla_stream.get(run.order.id, [])
    levels = [1] if run.late else []
    raised = told.escalations(events)
    corrected = [event for event in events if event.type == "corrected"]
    stopped = [event for event in events if event.type == "stopped" and told.ONE_CLOCK in event.clocks]
    if told.standing(events) != levels:
        faults.append(f"stream: {'late and not escalated' if run.late else 'in time and escalated'}")
    if (corrected or raised) and not run.late and known_s > 0:
        faults.append("stream: announced although the stop stood in the log")
    if run.late and (corrected or len(raised) != 1):
        faults.append("stream: late, and not told exactly once")
    if len(stopped) != 1 or stopped[0].at != run.stop or stopped[0].lamp != ("red" if run.late else "yellow"):
        faults.append("stream: stopped otherwise")
    if [event.sequence for event in events] != list(range(1, len(events) + 1)):
        faults.append("stream: numbers have a gap or repeat")
    held = seen.sla_sets.get(key, {})
    if (held.get("lamp") == "red") != run.late or key in seen.timers:
        faults.append("sla: its own clock")
    rows = seen.supervisions.get(key, [])
    if [(row["clock"], row["round"], row["level"]) for row in rows if row["withdrawn_at"] is None] != [
        (told.ONE_CLOCK, 1, level) for level in levels
    ]:
        faults.append("sla: supervisions")
    for row in rows:
        told_of = seen.notices["supervision", row["id"]] + seen.notices["digest", row["id"]]
        taken_back = seen.notices["withdrawn", row["id"]]
        if (
            told_of > 1
            or (row["withdrawn_at"] is None and told_of != 1)
            or taken_back != (told_of if row["withdrawn_at"] else 0)
        ):
            faults.append("notices: told or taken back otherwise than once")
    if seen.evaluate.get(key, False) != run.late:
        faults.append("evaluate")
    shown = seen.intake.get(key, {})
    stopped_at = datetime.fromisoformat(shown["stopped_at"]) if shown.get("stopped_at") else None
    if (shown.get("lamp"), shown.get("level"), stopped_at) != (
        "red" if run.late else "yellow",
        int(run.late),
        run.stop,
    ):
        faults.append("intake")
    lamp = seen.dispatch.get(key)
    if lamp is None or (lamp["level"], lamp["complete_due_at"], lamp["lamp"]) != (int(run.late), None, "green"):
        faults.append("dispatch")
    return faults


def judge(runs: Sequence[Run], seen: Projections, known: dict[str, float]) -> dict[str, Any]:
    """Counts by circumstance."""
    found: dict[str, Any] = {}
    for circumstance in CIRCUMSTANCES:
        own = [run for run in runs if run.circumstance == circumstance]
        faults: Counter[str] = Counter()
        announced = corrected = 0
        for run in own:
            faults.update(faults_of(run, seen, known[run.order.id]))
            events = seen.sla_stream.get(run.order.id, [])
            announced += bool(told.escalations(events))
            corrected += any(event.type == "corrected" for event in events)
        misses = [(run.stop - run.order.due_at) / timedelta(milliseconds=1) for run in own]
        found[circumstance] = {
            "orders": len(own),
            "late": sum(run.late for run in own),
            "in_the_log_before_a_timer_could_look": sum(known[run.order.id] > 0 for run in own),
            "exactly_at_due": sum(run.stop == run.order.due_at for run in own),
            "escalated": announced,
            "corrected": corrected,
            "wrong": dict(faults),
            "stop_minus_due_ms": [round(load.percentile(misses, share), 1) for share in (0.0, 0.5, 1.0)],
        }
    return found


def run_all(server: Server, folder: Path, count: int, seconds: float, seed: int) -> dict[str, Any]:
    """The whole race."""
    chance = random.Random(seed)
    city = stage.city_with(folder, "PT1H", ("PT0S", "P30D", "P60D"))
    url = asyncio.run(stage.fresh_database(server, folder, "sla", "intake", "dispatch", "evaluate"))
    with ExitStack() as stack:
        replicas = stack.enter_context(stage.replicas("sla", 2, url, folder, SUSHU_CITY=str(city)))
        for service in ("intake", "dispatch", "evaluate"):
            stack.enter_context(stage.replicas(service, 1, url, folder, SUSHU_CITY=str(city)))
        first = datetime.now(UTC) + timedelta(seconds=LEAD_S + 4 * count / ARMED_PER_S)
        runs = []
        for circumstance in CIRCUMSTANCES:
            runs += runs_of(circumstance, count, first, seconds, chance)
            first += timedelta(seconds=seconds + BETWEEN_S)
        cpu = sum(replica.cpu_s() for replica in replicas)
        seen, known = asyncio.run(race(url, runs, replicas))
        cpu = sum(replica.cpu_s() for replica in replicas) - cpu
    verdict = judge(runs, asyncio.run(projections(url)), known)
    return seen | {"sla_cpu_ms_per_order": round(cpu * 1000 / len(runs), 2), "circumstances": verdict}


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with kept_folder(given, "race") as folder, postgres(folder) as server:
        found = run_all(
            server, folder, int(given.get("n", "10000")), float(given.get("seconds", "60")), int(given.get("seed", "1"))
        )
    held = found["everything_was_read"] and not any(one["wrong"] for one in found["circumstances"].values())
    tell("race", {"transport": "embedded"} | found, held=held)


if __name__ == "__main__":
    main()
