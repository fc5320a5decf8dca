"""What the clocks of an order must do, computed from domain.md, "SLA", and docs/deadlines.md alone.

Nothing here knows services.sla. A clock is a `Watch`: when it began, by which rule, what happened to it, when it was
stopped. `course` tells what it must have announced by then, and when.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.unit.sla.oracle import length_of_working_days, walk

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
Rule = tuple[str, timedelta | int]
"""natural or working, and how much: a length, or so many working days"""

NATURAL_DAY = ("natural", 24 * HOUR)
TABLE: dict[str, dict[str, Rule]] = {
    "urgent": {
        "accept": ("natural", 10 * MINUTE),
        "first_contact": ("natural", 15 * MINUTE),
        "complete": ("natural", 2 * HOUR),
        "callback": NATURAL_DAY,
        "review": ("natural", 2 * HOUR),
        "ruling": ("natural", 30 * MINUTE),
        "handoff": ("natural", 30 * MINUTE),
    },
    "livelihood": {
        "accept": ("natural", 30 * MINUTE),
        "first_contact": ("natural", 2 * HOUR),
        "complete": NATURAL_DAY,
        "callback": NATURAL_DAY,
        "review": ("natural", 15 * MINUTE),
        "ruling": ("working", 4 * HOUR),
        "handoff": ("natural", 30 * MINUTE),
    },
    "general": {
        "accept": ("working", 4 * HOUR),
        "first_contact": NATURAL_DAY,
        "complete": ("natural", 7 * 24 * HOUR),
        "callback": ("natural", 48 * HOUR),
        "review": ("natural", 2 * HOUR),
        "ruling": ("working", 4 * HOUR),
        "handoff": ("natural", 30 * MINUTE),
    },
    "complex": {
        "accept": ("working", 4 * HOUR),
        "first_contact": NATURAL_DAY,
        "complete": ("working", 15),
        "callback": ("natural", 48 * HOUR),
        "review": ("natural", 2 * HOUR),
        "ruling": ("working", 4 * HOUR),
        "handoff": ("natural", 30 * MINUTE),
    },
}
CONSULT: Rule = ("working", 5)
LADDERS = {"urgent": (0 * HOUR, HOUR, 4 * HOUR)}
LADDER = (0 * HOUR, 24 * HOUR, 72 * HOUR)


def rule_of(clock: str, handling_class: str, kind: str | None) -> Rule:
    """The table of domain.md. (The green channel's cap of 24 h for first contact is never the shorter one in it.)"""
    if (clock, handling_class, kind) == ("complete", "general", "consult"):
        return CONSULT
    return TABLE[handling_class][clock]


@dataclass
class Watch:
    """One clock in one round. `armed` is when the order's event came that began it: nothing is announced before."""

    clock: str
    round: int
    started: datetime
    armed: datetime
    handling_class: str
    kind: str | None
    halved: bool = False
    changes: list[tuple[datetime, str, Any]] = field(default_factory=list)
    """class (class, kind), suspended (until), resumed, extended (length); in the order of their events"""
    stopped: datetime | None = None

    @property
    def running(self) -> bool:
        return self.stopped is None


@dataclass
class Course:
    """What a clock did by the end: its deadline and lamp, and what it announced: (instant, level or lamp).

    `taken_back` are those that fell on the very instant of an event that made them void: the event wins, so they must
    have been withdrawn if they were announced at all.
    """

    due: datetime
    lamp: str
    announced: list[tuple[datetime, int | str]]
    taken_back: list[tuple[datetime, int | str]]

    @property
    def levels(self) -> list[tuple[datetime, int]]:
        return [(at, what) for at, what in self.announced if isinstance(what, int)]


class _Running:
    """A watch while it is played."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.armed = watch.armed
        self.extension = timedelta(0)
        self.holes: list[tuple[datetime, datetime]] = []
        self.floor: datetime | None = None
        self.lamp = "green"
        self.announced: list[tuple[datetime, datetime, int | str]] = []  # (due, told at, what)
        self.taken_back: list[tuple[datetime, int | str]] = []
        self._rule(watch.handling_class, watch.kind)
        self._plan()

    def _rule(self, handling_class: str, kind: str | None) -> None:
        counting, amount = self.rule = rule_of(self.watch.clock, handling_class, kind)
        self.ladder = LADDERS.get(handling_class, LADDER)
        self.counting = counting
        budget = length_of_working_days(self.watch.started, amount) if isinstance(amount, int) else amount
        self.budget = budget // 2 if self.watch.halved else budget

    def _plan(self) -> None:
        allowed = self.budget + self.extension
        self.due = walk(self.watch.started, self.counting, allowed, self.holes)
        self.yellow = walk(self.watch.started, self.counting, allowed - allowed // 4, self.holes)
        if self.floor is not None:
            self.due = max(self.due, self.floor)

    def _ahead(self) -> Iterator[tuple[datetime, int | str]]:
        if self.lamp == "green" and max(self.yellow, self.armed) < self.due:
            yield self.yellow, "yellow"
        if self.lamp != "red":
            yield self.due, "red"
        known = {what for _, _, what in self.announced}
        for level, delay in enumerate(self.ladder, start=1):
            if level not in known:
                yield self.due + delay, level

    def go(self, to: datetime) -> None:
        """Everything that is due by then."""
        for due, what in list(self._ahead()):
            at = max(due, self.armed)
            if at > to:
                break
            if isinstance(what, str):
                self.lamp = what
            self.announced.append((due, at, what))

    def apply(self, at: datetime, what: str, value: Any) -> None:
        """A change at an instant, after `go(at)`: what fell on that very instant and no longer holds is taken back."""
        before = self.due, self.yellow
        if what == "class":
            handling_class, kind = value
            rule, ladder = self.rule, self.ladder
            self._rule(handling_class, kind)
            if (rule, ladder) == (self.rule, self.ladder):
                return
            self.floor = None
            self._plan()
            if self.due < at:
                self.due = self.floor = at
        elif what == "suspended":
            self.holes.append((at, value))
            self._plan()
        elif what == "resumed":
            self.holes = [(since, min(until, at)) for since, until in self.holes]
            self._plan()
        else:
            self.extension += value
            self._plan()
        self.armed = at
        if self.lamp == "red" and self.due > at:
            self.lamp = "yellow"
            self._take_back(before[0], at, "red")
        if self.lamp == "yellow" and self.yellow > at:
            self.lamp = "green"
            self._take_back(before[1], at, "yellow")
        for due, _, level in list(self.announced):
            if isinstance(level, int) and due == at and self.due + self.ladder[level - 1] > at:
                self._take_back(due, at, level)

    def stop(self, at: datetime) -> None:
        """A stop at or before due wins."""
        if at <= self.due and self.lamp == "red":
            self.lamp = "yellow"
            self._take_back(self.due, at, "red")
        if at <= self.yellow and at <= self.due:
            self.lamp = "green"
            self._take_back(self.yellow, at, "yellow")
        for due, _, level in list(self.announced):
            if isinstance(level, int) and due >= at:
                self._take_back(due, at, level)

    def _take_back(self, due: datetime, at: datetime, what: int | str) -> None:
        for entry in [e for e in self.announced if e[2] == what and e[0] == due == at]:
            self.announced.remove(entry)
            self.taken_back.append((entry[1], what))


def course(watch: Watch, end: datetime) -> Course:
    """What the clock did until `end`."""
    running = _Running(watch)
    for at, what, value in watch.changes:
        running.go(at)
        running.apply(at, what, value)
    if watch.stopped is None:
        running.go(end)
    else:
        running.go(watch.stopped)
        running.stop(watch.stopped)
    return Course(running.due, running.lamp, [(at, what) for _, at, what in running.announced], running.taken_back)
