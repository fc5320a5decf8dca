"""sla.clocks.v1: deadlines of a work order. Key: work-order id (its clock set). Owner: sla."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class ClockState(Snapshot, frozen=True, kw_only=True):
    """One clock of one round."""

    clock: str
    """accept, first_contact, complete, callback, review, ruling, rating, handoff"""
    round: int
    started_at: datetime
    due_at: datetime
    yellow_at: datetime
    stopped_at: datetime | None = None
    lamp: str
    """green, yellow, red"""
    level: int = 0
    """supervision level reached, 0 to 3"""
    used_s: int
    """used seconds in the clock's own unit of time (natural or working), as of this event"""
    allowed_s: int
    unit_of_time: str
    """natural or working"""
    provisional: bool = False


class ClockSet(Snapshot, frozen=True, kw_only=True):
    """All clocks of a work order."""

    work_order_id: str
    appeal_ids: list[str]
    unit: str
    region_code: str
    handling_class: str = msgspec.field(name="class")
    lamp: str
    """the worst lamp of the running clocks; green when none runs"""
    level: int
    """the highest supervision level reached"""
    clocks: list[ClockState]


class ClockEvent(Event, frozen=True, kw_only=True):
    """Any fact of a clock set."""

    topic: ClassVar[str] = "sla.clocks.v1"
    after: ClockSet


class ClockStarted(ClockEvent, frozen=True, kw_only=True):
    """One or more clocks started together."""

    type: ClassVar[str] = "clock.started"
    clocks: list[str]


class ClockStopped(ClockEvent, frozen=True, kw_only=True):
    """One or more clocks stopped together."""

    type: ClassVar[str] = "clock.stopped"
    clocks: list[str]
    in_time: bool


class ClockRebased(ClockEvent, frozen=True, kw_only=True):
    """A class, policy, suspension or extension moved a deadline."""

    type: ClassVar[str] = "clock.rebased"
    clocks: list[str]
    cause: str


class ClockTurnedYellow(ClockEvent, frozen=True, kw_only=True):
    """75 % used: a reminder to the handler."""

    type: ClassVar[str] = "clock.turned_yellow"
    clock: str
    round: int
    due_at: datetime


class ClockTurnedRed(ClockEvent, frozen=True, kw_only=True):
    """Due."""

    type: ClassVar[str] = "clock.turned_red"
    clock: str
    round: int
    due_at: datetime


class ClockEscalated(ClockEvent, frozen=True, kw_only=True):
    """督办: exactly once per work order, clock, round and level, in order."""

    type: ClassVar[str] = "clock.escalated"
    supervision_id: str
    clock: str
    round: int
    level: int
    due_at: datetime
    late: bool = False
    """fired after an outage, later than its instant"""


class ClockCorrected(ClockEvent, frozen=True, kw_only=True):
    """A stop in time was read after the clock had fired: what fired is taken back, both facts stay."""

    type: ClassVar[str] = "clock.corrected"
    clock: str
    round: int
    levels: list[int]
    """supervision levels taken back"""
