"""Plays the lives of many cases against a running stack whose clock stands still between turns."""

import asyncio
import heapq
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.classify.grammar import Grammar
from shared.city import load as load_city
from shared.clock import ZONE
from shared.regions import load as load_regions
from tests.bench.load import Client
from tests.rehearsal.ledger import Ledger
from tests.rehearsal.lives import CLASSES, Call, Case, City, Life

MINUTE = timedelta(minutes=1)
PLATFORM = "460100"
BATCHES = 100
"""instants at which cases come"""
FEWEST = 10
"""that come together"""
EVENTS = (
    *("work_order.opened", "work_order.dispatched", "work_order.accepted", "work_order.contacted"),
    *("work_order.completed", "work_order.returned", "work_order.disputed", "work_order.ruled"),
    *("work_order.shirked", "work_order.relabelled", "work_order.approval_requested", "work_order.approval_rejected"),
    *("work_order.suspended", "work_order.resumed", "work_order.extended", "work_order.reopened"),
    *("work_order.closed", "work_order.cancelled", "work_order.handed_off"),
    *("work_order.appeal_joined", "work_order.appeal_parted"),
    *("feedback.opened", "feedback.attempted", "feedback.answered", "feedback.closed"),
    *("clock.started", "clock.stopped", "clock.rebased", "clock.turned_yellow", "clock.turned_red"),
    *("clock.escalated", "clock.corrected", "notice.issued"),
)
Share = tuple[int, int]
"""which one of how many stacks that live the year side by side"""
DONE = (200, 201)
REFUSED = (404, 409, 410, 422)
"""answers that a life may get when somebody else was quicker"""


class Broken(Exception):
    """The hub did not answer as it must."""


@dataclass
class Year:
    """A rehearsal: `cases` cases that come in `hours` hours from `start`."""

    client: Client
    start: datetime
    hours: int
    cases: int
    seed: int = 1
    share: Share = (0, 1)
    """of the groups of cases that come together, every so many-th is played here"""
    ledger: Ledger = field(default_factory=Ledger)
    acts: list[tuple[str, datetime]] = field(default_factory=list)
    """what people did: the event that must tell of it, and when"""
    calls: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    played: int = 0
    """cases that are played here"""
    turns: int = 0
    fired: int = 0
    enough: bool = False
    """set from outside: the year ends with this hour"""

    def __post_init__(self) -> None:
        self.city = _city(self.start, self.ledger)
        self._after = ""
        self._behind = True
        """whether something may have happened that the ledger has not read"""
        self._due: list[tuple[datetime, int, Life, dict[str, Any] | None]] = []
        self._count = 0

    async def play(self, tell: Callable[[str], None]) -> datetime:
        """Play to the end; returns the instant at which it ended. Raises `Broken`."""
        await self._call("POST", "/v1/clock", {"speed": 0})
        here = (await self._call("GET", "/v1/clock"))["now"]
        await self._turn(self.start - datetime.fromisoformat(here))
        units = (await self._call("GET", "/v1/units?limit=200"))["items"]
        self.city.units = [unit["code"] for unit in units if unit["kind"] == "department"]
        self._people()
        for hour in range(self.hours):
            end = self.start + (hour + 1) * timedelta(hours=1)
            while self._due and self._due[0][0] < end:
                await self._turn(self._due[0][0] - self.city.now)
                await self._act()
            await self._turn(end - self.city.now)
            if self.enough:
                break
            if hour % 168 == 167:
                await self._read()
                tell(f"{end:%Y-%m-%d}: {len(self.ledger.orders)} orders, {self.ledger.events} events, {self._spent()}")
        await self._read()
        return self.city.now

    def _people(self) -> None:
        """The cases, some together, at any hour of any day; some of them are reviewed again later."""
        dice = random.Random(self.seed)
        together = max(FEWEST, self.cases // BATCHES)
        mine, stacks = self.share
        for group, first in enumerate(range(0, self.cases, together)):
            at = self.start + timedelta(hours=dice.randrange(self.hours))
            at += MINUTE * (dice.choice((7, 20, 33, 48)) if dice.random() < 0.25 else 0)
            if group % stacks != mine:
                continue
            for number in range(first, min(first + together, self.cases)):
                self.played += 1
                case = Case(self.city, number, random.Random(self.seed * 1_000_003 + number))
                self._later(at, case.live())
                if case.dice.random() < 0.1:
                    self._later(at, case.relabelled())
                if case.dice.random() < 0.2:
                    self._later(at, case.noticed())

    def _later(self, at: datetime, life: Life, answer: dict[str, Any] | None = None) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, life, answer))

    async def _act(self) -> None:
        """Everything that is due now; what has to wait for its effects comes after they are applied."""
        first = True
        while self._due and self._due[0][0] <= self.city.now:
            if not first:
                await self._turn(timedelta(0))
            first = False
            lives = []
            while self._due and self._due[0][0] <= self.city.now:
                lives.append(heapq.heappop(self._due)[2])
            await self._read()
            began = time.monotonic()
            self._behind = True
            await asyncio.gather(*(self._go_on(life) for life in lives))
            self.seconds["acts"] += time.monotonic() - began

    async def _go_on(self, life: Life) -> None:
        answer: dict[str, Any] | None = None
        try:
            while True:
                step = life.send(answer)
                answer = None
                if step == 0:
                    continue
                if not isinstance(step, Call):
                    self._later(self.city.now + (step or 0) * MINUTE, life)
                    return
                status, found = await self._ask(step.method, step.path, step.body)
                self.calls[str(status)] += 1
                if status not in DONE and status not in REFUSED:
                    raise Broken(f"{step.method} {step.path}: {status} {found}")
                answer = found if status in DONE else None
                if answer is not None and step.proof:
                    self.acts.append((step.proof, self.city.now))
        except StopIteration:
            return

    async def _turn(self, by: timedelta) -> None:
        """Turn the clock."""
        began = time.monotonic()
        told = await self._call("POST", "/v1/clock", {"advance_s": by.total_seconds()})
        self.city.now = datetime.fromisoformat(told["now"])
        self.turns += 1
        self.fired += told["fired"]
        self.seconds["turns"] += time.monotonic() - began
        self._behind = self._behind or bool(told["fired"])

    async def _read(self) -> None:
        """What happened since the last look, before people act on it."""
        if not self._behind:
            return
        self._behind = False
        began = time.monotonic()
        while True:
            query = f"after={self._after}&limit=1000&types={','.join(EVENTS)}"
            page = await self._call("GET", f"/v1/events?{query}")
            for event in page["items"]:
                self.ledger.take(event)
            if page["next"] is None:
                break
            self._after = page["next"]
        self.seconds["feed"] += time.monotonic() - began

    async def supervisions(self) -> list[dict[str, Any]]:
        """All of them."""
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            page = await self._call("GET", f"/v1/supervisions?limit=200{after}")
            rows += page["items"]
            if page["next"] is None:
                return rows
            after = f"&after={page['next']}"

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        sent = b"" if body is None else orjson.dumps(body)
        status, answer = await self.client.request(method, path, sent)
        return status, orjson.loads(answer) if answer else {}

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        status, answer = await self._ask(method, path, body)
        if status not in DONE:
            raise Broken(f"{method} {path}: {status} {answer}")
        return answer

    def _spent(self) -> str:
        return ", ".join(f"{what} {seconds:.0f} s" for what, seconds in self.seconds.items())


def _city(start: datetime, ledger: Ledger) -> City:
    demo = load_city("demo")
    rows = [line.split(",") for line in demo.file("catalogue.csv").read_text(encoding="utf-8").splitlines()[1:]]
    classes = {row[0]: row[5] for row in rows}
    sentences = Grammar.read(demo.file("grammar.yaml")).sentences(per_pattern=10, seed=1)
    regions = load_regions()
    places = [town.code for county in regions.children(PLATFORM) for town in regions.children(county.code)]
    return City(
        now=start.astimezone(ZONE),
        ledger=ledger,
        places=places,
        units=[],
        texts={name: [s.text for s in sentences if classes.get(s.code) == name] for name in CLASSES},
        matters={name: [code for code, own in classes.items() if own == name] for name in CLASSES},
    )
