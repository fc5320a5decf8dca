"""bench-what-if: other rules tried on two hundred thousand open orders, recounted minute by minute.

    make bench-what-if [n=200000] [seed=1] [folder=DIR]

Two thousand invented histories (every class; consultations, the elderly; accepted, contacted, suspended, extended,
reclassed) are read by a real process of sla from the log; its rows are then cloned until there are `n` orders. One
`POST /v1/sla/what-if` with another policy and a closed day must tell every deadline that would move. The bench
computes each of them with the walk over minutes of `tests/unit/sla/oracle.py` and its own table of the rules, and
compares all items and all counts. Every table of sla and the log are digested before and after. The last line is one
JSON object; status 1 when anything differs or it took longer than 30 s.
"""

import asyncio
import random
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from shared.bus.records import Record
from shared.events.catalog import work_orders
from shared.ids import uuid7
from shared.service.turned_clock import TurnedClock
from tests.bench import load
from tests.bench.server import Server, kept_folder, postgres
from tests.bench.sla import stage
from tests.bench.sla.orders import DISTRICTS, PLATFORM, bus, publish, record
from tests.bench.stack import TOKEN, tell
from tests.unit.sla import oracle

HISTORIES = 2_000
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=oracle.SHANGHAI)
"""a Monday in office hours; the clock stands still there"""
CLOSED = date(2026, 12, 7)
"""a Monday that the tried calendar closes"""
BAR_S = 30.0
DAY = 24 * 60
TOPIC = "dispatch.work-orders.v1"

Rule = tuple[str, int, int]
"""(kind of time, minutes, days)"""
_TABLE: dict[str, dict[str, Rule]] = {  # domain.md, SLA
    "urgent": {
        "accept": ("natural", 10, 0),
        "first_contact": ("natural", 15, 0),
        "complete": ("natural", 120, 0),
    },
    "livelihood": {
        "accept": ("natural", 30, 0),
        "first_contact": ("natural", 120, 0),
        "complete": ("natural", DAY, 0),
    },
    "general": {
        "accept": ("working", 240, 0),
        "first_contact": ("natural", DAY, 0),
        "complete": ("natural", 7 * DAY, 0),
    },
    "complex": {
        "accept": ("working", 240, 0),
        "first_contact": ("natural", DAY, 0),
        "complete": ("working", 0, 15),
    },
}


@dataclass
class History:
    """One order as the bench invents it, all instants on whole minutes."""

    number: int
    received_at: datetime
    dispatched_at: datetime
    handling_class: str
    kind: str
    elderly: bool
    accepted_at: datetime | None = None
    contacted_at: datetime | None = None
    suspensions: list[tuple[datetime, datetime, datetime | None]] = field(default_factory=list)
    """from, until, resumed before that at"""
    extended_at: datetime | None = None
    extension_min: int = 0
    former_class: str = ""
    reclassed_at: datetime | None = None
    id: str = field(default_factory=uuid7)

    @property
    def unit(self) -> str:
        return f"unit-{self.number % 40}"

    def rule(self, clock: str, handling_class: str, *, new: bool) -> Rule:
        """What the rules in force, or the tried ones, grant."""
        rule = _TABLE[handling_class][clock]
        if clock == "complete" and handling_class == "general":
            rule = ("natural", (5 if new else 7) * DAY, 0)
            if self.kind == "consult":
                rule = ("working", 0, 5)
        elif clock == "complete" and handling_class == "complex":
            rule = ("working", 0, 12 if new else 15)
        elif clock == "accept" and handling_class == "livelihood" and new:
            rule = ("natural", 20, 0)
        elif clock == "first_contact" and new and self.elderly and rule[1] > 720:
            rule = ("natural", 720, 0)
        return rule

    def due(self, clock: str, rule: Rule, closed: frozenset[date] = frozenset()) -> datetime:
        """By the walk over minutes."""
        start = self.dispatched_at if clock == "accept" else self.received_at
        spans = [(since, ended or until) for since, until, ended in self.suspensions] if clock == "complete" else []
        kind, minutes, days = rule
        if days and kind == "working":
            minutes, days = oracle.minutes_of_working_days(oracle.minute_of(start), days, closed), 0
        minutes += self.extension_min if clock == "complete" else 0
        found, _ = oracle.deadline(start, kind, minutes=minutes, days=days, suspensions=spans, closed=closed)
        return found

    def running(self) -> list[str]:
        """The clocks that nothing stopped."""
        met = {"accept": self.accepted_at, "first_contact": self.contacted_at}
        return [clock for clock in ("first_contact", "complete", "accept") if met.get(clock) is None]

    def present_due(self, clock: str) -> tuple[datetime, datetime | None]:
        """The deadline in force, and the instant before which it cannot lie ("due = now" of a change of class)."""
        rule = self.rule(clock, self.handling_class, new=False)
        due = self.due(clock, rule)
        if self.reclassed_at is None or due >= self.reclassed_at or self._same(clock, rule):
            return due, None
        return self.reclassed_at, self.reclassed_at

    def _same(self, clock: str, rule: Rule) -> bool:
        ladders = {self.former_class == "urgent", self.handling_class == "urgent"}
        return rule == self.rule(clock, self.former_class, new=False) and len(ladders) == 1

    def moves(self) -> dict[str, tuple[datetime, datetime]]:
        """(from, to) of every clock that the tried rules would move (docs/deadlines.md, Counting)."""
        found = {}
        for clock in self.running():
            before, not_before = self.present_due(clock)
            old, new = (self.rule(clock, self.handling_class, new=tried) for tried in (False, True))
            after = self.due(clock, new, frozenset({CLOSED}))
            if old == new:
                after = max(after, not_before or after)
                if after < NOW and before <= NOW:
                    continue  # it had passed, and passes by the other calendar too
            after = max(after, NOW) if after < NOW else after
            if after != before:
                found[clock] = (before, after)
        return found

    def records(self) -> Iterator[Record]:
        """Its events in order, as dispatch would publish them."""
        facts: list[tuple[datetime, type[work_orders.WorkOrderEvent], dict[str, Any]]] = [
            (self.dispatched_at, work_orders.WorkOrderDispatched, {"cause": "routing"})
        ]
        if self.accepted_at:
            facts.append((self.accepted_at, work_orders.WorkOrderAccepted, {}))
        if self.contacted_at:
            facts.append((self.contacted_at, work_orders.WorkOrderContacted, {}))
        for since, until, ended in self.suspensions:
            facts.append((since, work_orders.WorkOrderSuspended, {"until": until}))
            facts += [(ended, work_orders.WorkOrderResumed, {})] if ended else []
        if self.extended_at:
            facts.append((self.extended_at, work_orders.WorkOrderExtended, {"seconds": self.extension_min * 60}))
        if self.reclassed_at:
            named = {"before_class": self.former_class, "before_matter": "01010101"}
            facts.append((self.reclassed_at, work_orders.WorkOrderRelabelled, named))
        facts.sort(key=lambda fact: fact[0])
        for version, (at, kind, fields) in enumerate(facts, 1):
            handling_class = self.former_class or self.handling_class
            if kind is work_orders.WorkOrderRelabelled:
                handling_class = self.handling_class
            event = kind(actor="user:bench", after=self._snapshot(version, handling_class), **fields)
            yield record(event, self.id, version, at.astimezone(UTC))

    def _snapshot(self, version: int, handling_class: str) -> work_orders.WorkOrder:
        return work_orders.WorkOrder(
            id=self.id,
            platform=PLATFORM,
            appeal_ids=[uuid7()],
            status="dispatched",
            lead=self.unit,
            lead_name="一号单位",
            lead_region=DISTRICTS[self.number % 4],
            handling_class=handling_class,
            matter="01010101",
            matter_path=["一", "二"],
            kind=self.kind,
            region_code=DISTRICTS[self.number % 4],
            channel="web",
            reporter_groups=["elderly"] if self.elderly else [],
            dispatch_no=1,
            version=version,
            received_at=self.received_at.astimezone(UTC),
            opened_at=self.received_at.astimezone(UTC),
        )


def invented(count: int, seed: int) -> list[History]:
    """Histories of the last month."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        age = chance.randint(5, chance.choice((60, DAY, 7 * DAY, 30 * DAY)))
        received = NOW - timedelta(minutes=age)
        dispatched = received + timedelta(minutes=chance.randint(0, 4))

        def later(after: datetime) -> datetime:
            return after + timedelta(minutes=chance.randint(0, max(0, int((NOW - after).total_seconds() // 60))))

        one = History(
            number,
            received,
            dispatched,
            chance.choice(("urgent", "livelihood", "general", "general", "complex", "complex")),
            chance.choice(("help", "help", "consult")),
            chance.random() < 0.2,
        )
        if chance.random() < 0.6:
            one.accepted_at = later(dispatched)
        if chance.random() < 0.5:
            one.contacted_at = later(dispatched)
        at = dispatched
        for _ in range(chance.choice((0, 0, 1, 2))):
            at = later(at)
            until = at + timedelta(minutes=chance.randint(1, 10 * DAY))
            resumed = later(at) if chance.random() < 0.5 else None
            ended = resumed if resumed and resumed < until else None
            one.suspensions.append((at, until, ended))
            at = (ended or until) + timedelta(minutes=1)
            if at >= NOW:
                break
        if chance.random() < 0.2:
            one.extended_at, one.extension_min = later(dispatched), chance.randint(1, 5 * DAY)
        if chance.random() < 0.2:
            steps = (one.accepted_at, one.contacted_at, one.extended_at, *(s for x in one.suspensions for s in x[::2]))
            one.reclassed_at = later(max(filter(None, (dispatched, *steps))))
            one.former_class, one.handling_class = one.handling_class, chance.choice(list(_TABLE))
            if one.former_class == one.handling_class:
                one.former_class, one.reclassed_at = "", None
        found.append(one)
    return found


async def prepared(server: Server, folder: Path) -> str:
    """A database whose clock stands still at `NOW`."""
    url = await stage.fresh_database(server, folder, "sla")
    await TurnedClock(url).load()
    await stage.query(url, "UPDATE sim.clock SET version = version + 1, business_at = $1, speed = 0", NOW)
    return url


async def read_and_cloned(url: str, histories: Sequence[History], count: int) -> None:
    """sla reads the histories; its rows are cloned until there are `count` orders."""
    async with bus(url) as transport:
        await publish(transport, (one for history in histories for one in history.records()))
    waits = "SELECT (SELECT count(*) FROM sla.timers WHERE due_at <= $1) + (SELECT count(*) FROM sla.outbox)"
    quiet = await stage.until(url, stage.UNREAD.format(service="sla", topic=TOPIC), 120)
    if not quiet or not await stage.until(url, waits, 120, NOW):
        raise RuntimeError("sla did not read the histories")
    rows = await stage.query(
        url,
        "SELECT column_name AS name FROM information_schema.columns"
        " WHERE table_schema = 'sla' AND table_name = 'clock_sets' ORDER BY ordinal_position",
    )
    names = [row["name"] for row in rows]
    as_cloned = {
        "work_order_id": "work_order_id || '/' || n",
        "state": "replace(state, work_order_id, work_order_id || '/' || n)",
    }
    clones = count // len(histories) - 1
    await stage.query(
        url,
        f"INSERT INTO sla.clock_sets ({', '.join(names)}) SELECT {', '.join(as_cloned.get(n, n) for n in names)}"
        " FROM sla.clock_sets, generate_series(1, $1) AS n",
        clones,
    )
    await stage.query(
        url,
        "INSERT INTO sla.timers (kind, key, due_at, payload) SELECT kind, key || '/' || n, due_at, payload"
        " FROM sla.timers, generate_series(1, $1) AS n WHERE kind = 'clock'",
        clones,
    )
    for table in ("clock_sets", "timers"):
        await stage.query(url, f"VACUUM (ANALYZE) sla.{table}")


async def digest(url: str) -> dict[str, Any]:
    """Rows and their sum of every table that sla may write, and of the log."""
    tables = await stage.query(
        url,
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('sla', 'bus') ORDER BY 1",
    )
    found = {}
    for table in tables:
        [row] = await stage.query(
            url, f"SELECT count(*) AS n, sum(hashtextextended(t::text, 0)::numeric) AS total FROM {table['name']} t"
        )
        found[table["name"]] = (row["n"], str(row["total"]))
    return found


def ask(replica: stage.Replica, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The answer of sla."""
    request = urllib.request.Request(
        replica.address + path,
        None if body is None else orjson.dumps(body),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return orjson.loads(answer.read())


def tried_rules(replica: stage.Replica) -> dict[str, Any]:
    """The rules in force with what `History.rule` changes."""
    policy = next(item["policy"] for item in ask(replica, "/v1/sla/policies")["items"] if item["in_force"])
    classes = policy["classes"]
    classes["general"]["complete"] = {"natural": "P5D"}
    classes["complex"]["complete"] = {"working": "P12D"}
    classes["livelihood"]["accept"] = {"natural": "PT20M"}
    policy["rules"].append({"when": {"groups": ["elderly"]}, "at_most": {"first_contact": {"natural": "PT12H"}}})
    return {
        "policy": policy | {"version": "tried"},
        "calendar": {"version": "tried-days", "holidays": {CLOSED.isoformat(): "停电检修"}},
    }


class Neighbour(threading.Thread):
    """Somebody who asks for one order's clocks ten times a second meanwhile."""

    def __init__(self, replica: stage.Replica, path: str) -> None:
        super().__init__(daemon=True)
        self.replica, self.path = replica, path
        self.waited_s: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            began = time.monotonic()
            ask(self.replica, self.path)
            self.waited_s.append(time.monotonic() - began)


def judge(histories: Sequence[History], count: int, answer: Mapping[str, Any]) -> Counter[str]:
    """Compares every item and every count with the bench's own."""
    faults: Counter[str] = Counter()
    copies = count // len(histories)
    given: Counter[tuple[str, str, datetime, datetime]] = Counter()
    orders: set[tuple[str, str, int]] = set()
    for item in answer["items"]:
        orders.add((item["work_order_id"], item["clock"], item["round"]))
        moved = (datetime.fromisoformat(item[name]) for name in ("from", "to"))
        before, after = moved
        given[item["work_order_id"].split("/")[0], item["clock"], before, after] += 1
    expected: Counter[tuple[str, str, datetime, datetime]] = Counter()
    units: dict[str, Counter[str]] = {}
    for one in histories:
        for clock, (before, after) in one.moves().items():
            expected[one.id, clock, before, after] = copies
            unit = units.setdefault(one.unit, Counter())
            unit["moved"] += copies
            unit["earlier" if after < before else "later"] += copies
    faults["a deadline that does not move, or elsewhere"] = (given - expected).total()
    faults["a move is missing"] = (expected - given).total()
    faults["a clock twice"] = len(answer["items"]) - len(orders)
    by_unit = {row["unit"]: (row["moved"], row["earlier"], row["later"]) for row in answer["by_unit"]}
    faults["counts by unit"] = by_unit != {
        unit: (counts["moved"], counts["earlier"], counts["later"]) for unit, counts in units.items()
    }
    totals = (answer["open_orders"], answer["open_clocks"], answer["moved"])
    clocks = sum(len(one.running()) for one in histories) * copies
    faults["totals"] = totals != (len(histories) * copies, clocks, expected.total())
    return +faults


def run(server: Server, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Prepare, ask, compare."""
    histories = invented(min(HISTORIES, count), seed)
    url = asyncio.run(prepared(server, folder))
    with stage.replicas("sla", 1, url, folder, SUSHU_SIM_CLOCK="1") as [replica]:
        asyncio.run(read_and_cloned(url, histories, count))
        rules = tried_rules(replica)
        before = asyncio.run(digest(url))
        neighbour = Neighbour(replica, f"/v1/clocks/{histories[0].id}")
        neighbour.start()
        cpu, database, began = replica.cpu_s(), server.cpu_s(), time.monotonic()
        answer = ask(replica, "/v1/sla/what-if", rules)
        took_s = time.monotonic() - began
        cpu, database = replica.cpu_s() - cpu, server.cpu_s() - database
        neighbour.done.set()
        neighbour.join()
        unchanged = asyncio.run(digest(url)) == before
    faults = judge(histories, count, answer)
    return {
        "open_orders": answer["open_orders"],
        "open_clocks": answer["open_clocks"],
        "moved": answer["moved"],
        "histories_recounted": len(histories),
        "seconds": round(took_s, 1),
        "orders_per_s": round(count / took_s),
        "wrong": dict(faults),
        "nothing_changed": unchanged,
        "neighbour_waited_ms": {
            name: round(load.percentile(neighbour.waited_s, share) * 1000)
            for name, share in (("p50", 0.5), ("max", 1.0))
        },
        "rss_mb": round(replica.rss_mb),
        "cpu_ms_per_1000": {
            "sla": round(cpu * 1e6 / count, 1),
            "PostgreSQL": round(database * 1e6 / count, 1),
        },
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with kept_folder(given, "what-if") as folder, postgres(folder) as server:
        found = run(server, folder, int(given.get("n", "200000")), int(given.get("seed", "1")))
    held = found["nothing_changed"] and not found["wrong"] and found["seconds"] <= BAR_S
    tell("what-if", found, held=held)


if __name__ == "__main__":
    main()
