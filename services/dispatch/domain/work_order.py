"""工单: the state of one work order and who may act on it (domain.md, Dispatch; api.md, dispatch)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.routing import DEFAULT_CLOCK_POLICY, RuleAnswer


class Status(StrEnum):
    """`closed`, `handed_off` and `cancelled` are final; but what another platform has taken ends here when it is taken
    back, and a part of joint work with its answer."""

    PENDING = "pending"
    DISPATCHED = "dispatched"
    ACCEPTED = "accepted"
    REOPENED = "reopened"
    SUSPENDED = "suspended"
    DISPUTED = "disputed"
    COMPLETED = "completed"
    CLOSED = "closed"
    HANDED_OFF = "handed_off"
    CANCELLED = "cancelled"


HANDLING = frozenset({Status.ACCEPTED, Status.REOPENED})
UNFINISHED = frozenset(
    {Status.PENDING, Status.DISPATCHED, Status.ACCEPTED, Status.REOPENED, Status.SUSPENDED, Status.DISPUTED}
)
"""nobody has completed it yet"""


class ReturnReason(StrEnum):
    """domain.md, Return."""

    NOT_MY_DUTY = "not_my_duty"
    NOT_MY_TERRITORY = "not_my_territory"
    DUPLICATE = "duplicate"
    INSUFFICIENT_INFO = "insufficient_info"
    OTHER = "other"


class Part(StrEnum):
    """In which part somebody acts on an order."""

    LEAD = "lead"
    HEAD = "head"
    HELPER = "helper"
    CHECKER = "checker"
    """of a unit that was sent to look at the place"""
    CENTRE = "centre"
    ABOVE = "above"
    """one level above who gave the ruling in force (ADR 0023)"""
    SYSTEM = "system"


LEAD = frozenset({Part.LEAD})
CENTRE = frozenset({Part.CENTRE})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `name` is written into events (`unit:<code>`, `user:<sub>`, `system:dispatch`).

    `units` are the units he acts for, `head` says that he leads them, `centre` that he decides for the hotline, `leads`
    that he leads it, `everywhere` (admin) that he may act in every part, `system` that dispatch itself acts, on his
    word or by a rule.
    """

    name: str
    units: frozenset[str] = frozenset()
    head: bool = False
    centre: bool = False
    leads: bool = False
    everywhere: bool = False
    system: bool = False


SYSTEM = Actor("system:dispatch", system=True)


@dataclass(frozen=True, slots=True)
class Return:
    """One 退单."""

    unit: str
    reason: str
    at: datetime
    suggested_unit: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SiteCheck:
    """现场核查: units look at the place before the centre rules (domain.md, Ruling).

    `state`: open, recorded (`unit`, `checked_at`, `finding` and `evidence` say what was found), lapsed (the dispute
    ended before). `question` and `finding` are redacted.
    """

    id: str
    units: tuple[str, ...]
    question: str
    ordered_by: str
    ordered_at: datetime
    state: str = "open"
    unit: str | None = None
    recorded_by: str | None = None
    checked_at: datetime | None = None
    finding: str | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contest:
    """A party's appeal against a ruling, once per dispute, decided one level up (ADR 0023).

    `state`: open, upheld, changed, lapsed (the order ended or went another way first). `reason` is redacted.
    """

    by: str
    at: datetime
    reason: str
    evidence: tuple[str, ...] = ()
    state: str = "open"
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision: str | None = None
    """why, redacted"""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The last ruling on an order, in force while `WorkOrder.ruled_lead` is set. `scope`: `case` or `matter_territory`;
    `contest_until` is the last instant at which a party may contest it, None when it is final."""

    dispute_id: str
    lead: str
    co_handlers: tuple[str, ...]
    scope: str
    reason: str
    by: str
    at: datetime
    contest_until: datetime | None = None
    contest: Contest | None = None

    @property
    def contested(self) -> bool:
        """Somebody one level up has to decide."""
        return self.contest is not None and self.contest.state == "open"


class ApprovalKind(StrEnum):
    SUSPENSION = "suspension"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class Approval:
    """A request that waits for the centre's (or the unit head's) word; an order has at most one open."""

    id: str
    kind: ApprovalKind
    seconds: int
    reason: str
    requested_by: str
    requested_at: datetime
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handoff:
    """Where a hand-over stands: offered, accepted, refused, completed, withdrawn (domain.md, Dispatch 6)."""

    id: str
    platform: str
    state: str = "offered"
    reason: str | None = None
    """why it was refused"""


@dataclass(frozen=True, slots=True)
class SubOrder:
    """A part of an order as its parent knows it; `status`: open, completed, returned, cancelled."""

    id: str
    unit: str
    task: str
    status: str = "open"
    platform: str | None = None
    """which is asked to do it; `unit` is then the own centre"""

    @property
    def who(self) -> str:
        """Who does it: another platform or a unit."""
        return self.platform or self.unit


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """One work order. Every change makes a new value with `version` + 1; `lead` is never empty.

    While nobody else has it (`pending`, `disputed`) the lead is the centre. `round` is 1, then 2 in second handling;
    `dispatch_no` counts dispatches to a lead. Instants are aware, in UTC.
    """

    id: str
    appeal_ids: tuple[str, ...]
    status: Status
    lead: str
    centre: str
    handling_class: HandlingClass
    matter: str
    received_at: datetime
    opened_at: datetime
    kind: str = "other"
    region_code: str = ""
    channel: str = ""
    matter_path: tuple[str, ...] = ()
    reporter_groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    taken_at: datetime | None = None
    co_handlers: tuple[str, ...] = ()
    clock_policy: str = DEFAULT_CLOCK_POLICY
    in_review: bool = False
    round: int = 1
    dispatch_no: int = 0
    version: int = 1
    dispatched_at: datetime | None = None
    placed_by: str = ""
    """why the lead has it: routing, review, return, ruling, transfer"""
    return_until: datetime | None = None
    accepted_at: datetime | None = None
    contacted_at: datetime | None = None
    completed_at: datetime | None = None
    result: str | None = None
    solved: bool | None = None
    evidence: tuple[str, ...] = ()
    returns: tuple[Return, ...] = ()
    dispute_id: str | None = None
    disputed_at: datetime | None = None
    checks: tuple[SiteCheck, ...] = ()
    """of the open dispute, else of the last one"""
    ruled_lead: str | None = None
    ruling: Ruling | None = None
    approval: Approval | None = None
    suspensions: int = 0
    suspended_until: datetime | None = None
    extensions: int = 0
    decision: tuple[RuleAnswer, ...] = ()
    handoff: Handoff | None = None
    parent_id: str | None = None
    """of a sub-order: the order that it is a part of"""
    task: str | None = None
    """of a part of joint work, for an order here or for another platform: what is to be done, redacted"""
    allowed_s: int | None = None
    """of such a part: how long it may take from `received_at`, in natural seconds"""
    sub_orders: tuple[SubOrder, ...] = ()
    repeat_of: str | None = None

    def parts_of(self, actor: Actor) -> frozenset[Part]:
        """The parts in which `actor` may act on this order; empty: it is none of his business."""
        if actor.system:
            return frozenset({Part.SYSTEM})
        if actor.everywhere:
            return frozenset({*Part} - {Part.SYSTEM} - ({Part.ABOVE} if self._ruled_by(actor) else set()))
        parts = set()
        if self.lead in actor.units or (actor.centre and self.lead == self.centre):
            parts.add(Part.LEAD)
            if actor.head:
                parts.add(Part.HEAD)
        if actor.units & set(self.co_handlers):
            parts.add(Part.HELPER)
        if actor.units & set(self.checking):
            parts.add(Part.CHECKER)
        if actor.leads and not self._ruled_by(actor):
            parts.add(Part.ABOVE)
        if actor.centre or self.centre in actor.units:
            parts.add(Part.CENTRE)
        return frozenset(parts)

    def _ruled_by(self, actor: Actor) -> bool:
        """Nobody decides about his own ruling, whatever else he may do."""
        return self.ruling is not None and self.ruling.by == actor.name

    @property
    def checking(self) -> tuple[str, ...]:
        """Units that are to look at the place."""
        return tuple(dict.fromkeys(unit for check in self.checks if check.state == "open" for unit in check.units))

    @property
    def checks_ended(self) -> tuple[SiteCheck, ...]:
        """Its checks once the dispute is over."""
        return tuple(replace(check, state="lapsed") if check.state == "open" else check for check in self.checks)

    @property
    def ruling_left(self) -> Ruling | None:
        """Its ruling once the order goes another way or ends: nobody decides about it any more."""
        if self.ruling is None or self.ruling.contest is None or not self.ruling.contested:
            return self.ruling
        return replace(self.ruling, contest=replace(self.ruling.contest, state="lapsed"))

    @property
    def is_part(self) -> bool:
        """Whether it is a part of joint work: somebody else gives the citizen the answer."""
        return self.task is not None

    @property
    def open_parts(self) -> tuple[SubOrder, ...]:
        """Sub-orders that nobody has ended."""
        return tuple(part for part in self.sub_orders if part.status == "open")

    @property
    def parts_ended(self) -> tuple[SubOrder, ...]:
        """Its sub-orders once it has ended itself."""
        return tuple(replace(part, status="cancelled") if part in self.open_parts else part for part in self.sub_orders)

    def as_case(self, text: str = "", came_by: tuple[str, ...] = ()) -> Case:
        """The case as the chain sees it when it runs again; `text` is the redacted text of the appeal, `came_by` the
        platforms that it came through."""
        return Case(
            appeal_id=self.appeal_ids[0],
            matter=self.matter,
            handling_class=self.handling_class,
            received_at=self.received_at,
            taken_at=self.taken_at,
            kind=self.kind,
            region_code=self.region_code,
            channel=self.channel,
            tags=frozenset(self.tags),
            groups=frozenset(self.reporter_groups),
            text=text,
            came_by=came_by,
            task=self.task,
            allowed_s=self.allowed_s,
        )

    @property
    def returned_by(self) -> frozenset[str]:
        """Units that returned it: the chain must not give it to them again."""
        return frozenset(entry.unit for entry in self.returns)

    @property
    def must_be_ruled(self) -> bool:
        """The 2nd return, or two units that name each other, open a dispute (domain.md, Return)."""
        named = {(entry.unit, entry.suggested_unit) for entry in self.returns}
        return len(self.returns) >= 2 or any((suggested, unit) in named for unit, suggested in named)


WorkingTime = Callable[[datetime, timedelta], datetime]
"""The instant at which so much working time has passed since an instant."""

RETURN_WINDOWS: dict[HandlingClass, tuple[timedelta, bool]] = {
    HandlingClass.URGENT: (timedelta(minutes=10), False),
    HandlingClass.LIVELIHOOD: (timedelta(minutes=30), False),
    HandlingClass.GENERAL: (timedelta(hours=4), True),
    HandlingClass.COMPLEX: (timedelta(hours=4), True),
}
"""domain.md, Return: length, and whether it counts working time"""


CONTEST_WINDOWS: dict[HandlingClass, tuple[timedelta, bool]] = {
    HandlingClass.URGENT: (timedelta(minutes=30), False),
    HandlingClass.LIVELIHOOD: (timedelta(hours=2), False),
    HandlingClass.GENERAL: (timedelta(hours=8), True),
    HandlingClass.COMPLEX: (timedelta(hours=8), True),
}
"""how long a ruling may be contested (ADR 0023): length, and whether it counts working time"""


def _end_of(
    windows: Mapping[HandlingClass, tuple[timedelta, bool]],
    handling_class: HandlingClass,
    start: datetime,
    working_time: WorkingTime,
) -> datetime:
    window, working = windows[handling_class]
    return working_time(start, window) if working else start + window


def return_until(handling_class: HandlingClass, dispatched_at: datetime, working_time: WorkingTime) -> datetime:
    """The last instant at which the lead may return a case dispatched to it at `dispatched_at`."""
    return _end_of(RETURN_WINDOWS, handling_class, dispatched_at, working_time)


def contest_until(handling_class: HandlingClass, ruled_at: datetime, working_time: WorkingTime) -> datetime:
    """The last instant at which a party may contest a ruling of `ruled_at`."""
    return _end_of(CONTEST_WINDOWS, handling_class, ruled_at, working_time)
