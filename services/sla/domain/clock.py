"""One clock of a work order as a frozen value: its budget, its holes, what it announced, what it will announce next
(domain.md, SLA). Only `steps` makes a new one from an old one. Structs of msgspec, because they are made anew at every
step, and a dataclass needs several times as long for that.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from services.sla.domain.intervals import Suspension, counted
from services.sla.domain.policy import Allowance, ClockName
from services.sla.domain.relay import Calendar

ZERO = timedelta(0)


class Lamp(StrEnum):
    """Green; yellow at 75 % used; red when due."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


class FactName(StrEnum):
    """What can happen to a clock; the event type is `clock.<name>`."""

    STARTED = "started"
    STOPPED = "stopped"
    REBASED = "rebased"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    EXTENDED = "extended"
    TURNED_YELLOW = "turned_yellow"
    TURNED_RED = "turned_red"
    ESCALATED = "escalated"
    CORRECTED = "corrected"


class Fact(Struct, frozen=True):
    """One thing that happened to one clock at an instant of event time.

    `level` is set for `escalated`; `withdrawn` (levels) and `lamp` for `corrected`; `due_at` is the deadline meant.
    """

    name: FactName
    clock: ClockName
    round: int
    at: datetime
    due_at: datetime | None = None
    level: int | None = None
    reason: str = ""
    withdrawn: tuple[int, ...] = ()
    lamp: Lamp | None = None


class Firing(Struct, frozen=True):
    """A supervision level that was announced: due at `due`, announced for the instant `at` (later only when the clock
    itself was armed later). `withdrawn` when an event read late took it back; the fact of its announcement stays."""

    level: int
    due: datetime
    at: datetime
    withdrawn: bool = False


class Former(NamedTuple):
    """The rule by which a clock was timed until other rules came into force at `until`: an event from before that is
    read after it is judged by this."""

    until: datetime
    allowance: Allowance
    ladder: tuple[timedelta, timedelta, timedelta]
    policy: str
    budget: timedelta
    not_before: datetime | None


class Clock(Struct, frozen=True):
    """One clock in one round.

    `budget` is counted time, fixed once from `allowance` at `started_at` (halved in second handling); `extension` adds
    to it. `due_at` and `yellow_at` follow from them and from the suspensions; they are None while an open suspension
    comes first. `not_before` holds "due = now" after a re-base whose result lay in the past. `armed_at` is the time of
    the event that last set the deadline: nothing is announced for an instant before it.
    """

    name: ClockName
    round: int
    allowance: Allowance
    ladder: tuple[timedelta, timedelta, timedelta]
    policy: str
    started_at: datetime
    armed_at: datetime
    budget: timedelta
    halved: bool = False
    extension: timedelta = ZERO
    suspensions: tuple[Suspension, ...] = ()
    not_before: datetime | None = None
    due_at: datetime | None = None
    yellow_at: datetime | None = None
    provisional: bool = False
    calendar: str = ""
    lamp: Lamp = Lamp.GREEN
    stopped_at: datetime | None = None
    stop_reason: str = ""
    firings: tuple[Firing, ...] = ()
    former: tuple[Former, ...] = ()

    @property
    def running(self) -> bool:
        return self.stopped_at is None

    @property
    def allowed(self) -> timedelta:
        """Counted time in all: the rule's budget and what was granted on top."""
        return self.budget + self.extension

    @property
    def missed(self) -> bool:
        """Whether the deadline was reached before the stop (as far as announced)."""
        return self.lamp is Lamp.RED

    @property
    def levels(self) -> tuple[int, ...]:
        """Supervision levels that were announced and stand."""
        return tuple(f.level for f in self.firings if not f.withdrawn)

    def used(self, now: datetime, calendar: Calendar) -> timedelta:
        """Counted time from the start to `now` or to the stop; more than `allowed` when overdue."""
        end = now if self.stopped_at is None else min(now, self.stopped_at)
        return counted(self.allowance.measure(calendar), self.started_at, end, self.suspensions)

    def next_instant(self) -> datetime | None:
        """When the next lamp or level is to be announced; None when nothing is left or nothing can be said yet."""
        step = next(self.ahead(), None)
        return None if step is None else max(step[0], self.armed_at)

    def ahead(self) -> Iterator[tuple[datetime, Lamp | int]]:
        """What is still to be announced, in order: the lamp's next colours, then the supervision levels."""
        due, yellow = self.due_at, self.yellow_at
        if not self.running:
            return
        if self.lamp is Lamp.GREEN and yellow is not None and (due is None or max(yellow, self.armed_at) < due):
            yield yellow, Lamp.YELLOW
        if due is None:
            return
        if self.lamp is not Lamp.RED:
            yield due, Lamp.RED
        standing = self.levels
        for level, delay in enumerate(self.ladder, start=1):
            if level not in standing:
                yield due + delay, level
