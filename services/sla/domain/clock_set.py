"""The clocks of one work order as a frozen value, and the rules in force by which they are timed (domain.md, SLA)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from services.sla.domain.calendar import WorkingCalendar
from services.sla.domain.clock import Clock
from services.sla.domain.policy import Case, ClockName, HandlingClass, Policy
from services.sla.domain.relay import Calendar, RelayCalendar


class Leg(NamedTuple):
    """Who led until when; kept only where the next one has other office days."""

    until: datetime
    unit: str


class Earlier(NamedTuple):
    """What an order was until a change after its completion: a call about the completion may be read after the
    change."""

    until: datetime
    case: Case


class ClockSet(Struct, frozen=True):
    """The clocks of one work order and what their budgets depend on.

    `counts_from` is `received_at`, or `taken_at` of an emergency action. `clocks` are in the order of their starts.
    `rules` is the number of the rules by which it is timed (`Terms.number`).
    """

    work_order_id: str
    handling_class: HandlingClass
    kind: str | None
    groups: frozenset[str]
    counts_from: datetime
    clocks: tuple[Clock, ...] = ()
    matter: str = ""
    region_code: str = ""
    unit: str = ""
    legs: tuple[Leg, ...] = ()
    rules: int = 0
    earlier: tuple[Earlier, ...] = ()
    allowed: timedelta | None = None
    """of a sub-order: what its parent's lead gave it"""

    @property
    def case(self) -> Case:
        """What the policy asks for."""
        return Case(self.handling_class, self.kind, self.groups, self.matter, self.region_code, self.allowed)

    def of_case(self, case: Case) -> "ClockSet":
        """The same clocks of an order of another class, kind, group, matter or region."""
        return replace(
            self,
            handling_class=case.handling_class,
            kind=case.kind,
            groups=case.groups,
            matter=case.matter,
            region_code=case.region_code,
            allowed=case.allowed,
        )

    def latest(self, name: ClockName) -> Clock | None:
        """The clock of that name with the highest round."""
        return next((clock for clock in reversed(self.clocks) if clock.name is name), None)

    def clock(self, name: ClockName, round_: int) -> Clock | None:
        """One clock."""
        return next((clock for clock in self.clocks if (clock.name, clock.round) == (name, round_)), None)

    @property
    def was_completed(self) -> bool:
        """Whether it was completed before, though it may be open again."""
        return any(clock.name is ClockName.COMPLETE and not clock.running for clock in self.clocks)

    @property
    def running(self) -> bool:
        """Whether any of its clocks runs."""
        return any(clock.running for clock in self.clocks)

    def completed_by(self, at: datetime) -> Clock | None:
        """The complete clock that a completion at `at` stopped."""
        return next((c for c in self.clocks if c.name is ClockName.COMPLETE and c.stopped_at == at), None)

    def next_instant(self) -> datetime | None:
        """When this set has to be looked at again."""
        instants = [at for clock in self.clocks if (at := clock.next_instant()) is not None]
        return min(instants, default=None)


@dataclass(frozen=True, slots=True)
class Terms:
    """The rules in force since an instant (None: from the beginning): a policy, the platform's calendar, and those of
    units with office days of their own. `number` grows with every version that comes into force."""

    policy: Policy
    calendar: WorkingCalendar
    units: Mapping[str, WorkingCalendar] = field(default_factory=dict)
    since: datetime | None = None
    number: int = 0

    def calendar_for(self, clock_set: ClockSet) -> Calendar:
        """What counts working time for an order: the days of whoever led it at the time."""
        last = self.of_unit(clock_set.unit)
        if not clock_set.legs:
            return last
        return RelayCalendar(tuple((leg.until, self.of_unit(leg.unit)) for leg in clock_set.legs), last)

    def of_unit(self, unit: str) -> WorkingCalendar:
        """The calendar of a unit."""
        return self.units.get(unit, self.calendar)


class Move(NamedTuple):
    """A deadline that other rules put elsewhere; None while an open suspension comes first."""

    clock: ClockName
    round: int
    before: datetime | None
    after: datetime | None


def moves(before: ClockSet, after: ClockSet) -> tuple[Move, ...]:
    """The deadlines that differ between two states of the same clocks."""
    return tuple(
        Move(new.name, new.round, old.due_at, new.due_at)
        for old, new in zip(before.clocks, after.clocks, strict=True)
        if new is not old and new.due_at != old.due_at
    )
