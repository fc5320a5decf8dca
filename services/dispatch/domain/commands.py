"""Every command on a work order, one class each: the table of api.md ("dispatch") and what dispatch does by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.routing import Decision, RuleAnswer
from services.dispatch.domain.work_order import (
    Actor,
    Approval,
    ApprovalKind,
    Handoff,
    Part,
    Return,
    ReturnReason,
    Status,
    WorkOrder,
)

LEAD = frozenset({Part.LEAD})
CENTRE = frozenset({Part.CENTRE})
HANDLING = frozenset({Status.ACCEPTED, Status.REOPENED})
UNFINISHED = frozenset(
    {Status.PENDING, Status.DISPATCHED, Status.ACCEPTED, Status.REOPENED, Status.SUSPENDED, Status.DISPUTED}
)

MAX_SUSPENSION_DAYS = 90
MAX_SUSPENSIONS = 2
MAX_EXTENSIONS = 1

COMPLETE_BUDGET_S = {
    HandlingClass.URGENT: 2 * 3600,
    HandlingClass.LIVELIHOOD: 24 * 3600,
    HandlingClass.GENERAL: 7 * 24 * 3600,
    # 15 working days of 7 h: extensions of this clock count working seconds (domain.md, SLA)
    HandlingClass.COMPLEX: 15 * 7 * 3600,
}
"""The length of the `complete` clock; an extension may at most double it (domain.md, SLA, Extension)."""


def open_pending(
    order_id: str, case: Case, centre: str, at: datetime, matter_path: Sequence[str] = ()
) -> tuple[WorkOrder, Fact]:
    """A new order owned by the centre while a person reviews the label (domain.md, Classification)."""
    return _new(order_id, case, centre, at, matter_path, in_review=True), Fact("opened", reason="标签待人工复核")


def open_dispatched(
    order_id: str,
    case: Case,
    centre: str,
    at: datetime,
    decision: Decision,
    return_until: datetime,
    *,
    handoff_id: str = "",
    in_review: bool = False,
    matter_path: Sequence[str] = (),
) -> tuple[WorkOrder, Fact]:
    """A new order with its lead in one change: version 1."""
    order = _new(order_id, case, centre, at, matter_path, in_review=in_review)
    dispatch = Dispatch(decision=decision, cause="routing", return_until=return_until, handoff_id=handoff_id)
    return _dispatched(order, dispatch, at)


def _new(
    order_id: str, case: Case, centre: str, at: datetime, matter_path: Sequence[str], *, in_review: bool
) -> WorkOrder:
    return WorkOrder(
        id=order_id,
        appeal_ids=(case.appeal_id,),
        status=Status.PENDING,
        lead=centre,
        centre=centre,
        handling_class=case.handling_class,
        matter=case.matter,
        received_at=case.received_at,
        opened_at=at,
        kind=case.kind,
        region_code=case.region_code,
        channel=case.channel,
        matter_path=tuple(matter_path),
        reporter_groups=tuple(sorted(case.groups)),
        tags=tuple(sorted(case.tags)),
        taken_at=case.taken_at,
        in_review=in_review,
    )


def _with_lead(
    order: WorkOrder, cause: str, lead: str, co_handlers: tuple[str, ...], until: datetime, at: datetime
) -> WorkOrder:
    return replace(
        order,
        status=Status.DISPATCHED,
        lead=lead,
        co_handlers=tuple(code for code in co_handlers if code != lead),
        dispatch_no=order.dispatch_no + 1,
        dispatched_at=at,
        placed_by=cause,
        return_until=until,
        accepted_at=None,
        approval=None,
        dispute_id=None,
        disputed_at=None,
        handoff=None,
    )


def _dispatched(order: WorkOrder, command: "Dispatch", at: datetime) -> tuple[WorkOrder, Fact]:
    decision = command.decision
    after = replace(
        _with_lead(order, command.cause, decision.lead, decision.co_handlers, command.return_until, at),
        handling_class=decision.handling_class,
        clock_policy=decision.clock_policy,
        decision=decision.answers,
        handoff=Handoff(command.handoff_id, decision.platform) if decision.platform else None,
        ruled_lead=None,
    )
    chosen = next((answer.reason for answer in decision.answers if answer.outcome == "chosen"), None)
    return after, Fact("dispatched", {"cause": command.cause}, chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept(Command):
    action: ClassVar[str] = "accept"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPATCHED})
    parts: ClassVar[frozenset[Part]] = LEAD
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, status=Status.ACCEPTED, accepted_at=at), Fact("accepted", reason=self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact(Command):
    """The first contact with the citizen counts for its clock; later ones are noted."""

    action: ClassVar[str] = "contact"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = LEAD
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, contacted_at=order.contacted_at or at), Fact("contacted", reason=self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Command):
    """A note on the way, also by a co-handler."""

    action: ClassVar[str] = "progress"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.HELPER})
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return order, Fact("progressed", reason=self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Command):
    action: ClassVar[str] = "complete"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = LEAD
    result: str
    solved: bool
    evidence: tuple[str, ...] = ()

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return None if self.result.strip() else "A completion tells the citizen the result; result is empty."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            status=Status.COMPLETED,
            completed_at=at,
            result=self.result,
            solved=self.solved,
            evidence=self.evidence,
            # what was asked for is moot now
            approval=None,
        )
        return after, Fact("completed", reason=self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnOrder(Command):
    """退单 inside the window. The order is pending at the centre until it is dispatched again or disputed.

    After a ruling the unit cannot get rid of it: the order stays, and the attempt is recorded as 推诿.
    """

    action: ClassVar[str] = "return"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPATCHED})
    parts: ClassVar[frozenset[Part]] = LEAD
    reason: ReturnReason
    suggested_unit: str | None = None
    note: str | None = None

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        if order.lead == order.centre:
            return "The centre owns it as the last resort and cannot return it; transfer it instead."
        if order.return_until is not None and at > order.return_until:
            return (
                f"The window for returning it ended at {order.return_until.isoformat()}; ask the centre to transfer it."
            )
        return None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return "suggested_unit is the unit itself." if self.suggested_unit == order.lead else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        if order.ruled_lead == order.lead:
            return order, Fact("shirked", {"unit": order.lead}, self.note or self.reason)
        entry = Return(order.lead, self.reason, at, self.suggested_unit, self.note)
        after = replace(
            order,
            status=Status.PENDING,
            lead=order.centre,
            co_handlers=(),
            returns=(*order.returns, entry),
            return_until=None,
        )
        fields = {"unit": order.lead, "reason_code": str(self.reason), "suggested_unit": self.suggested_unit}
        return after, Fact("returned", fields, self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend(Command):
    """挂账: asks the centre to stop the `complete` clock for at most 90 days, at most twice."""

    action: ClassVar[str] = "suspend"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = LEAD
    approval_id: str
    reason: str
    days: int
    evidence: tuple[str, ...] = ()

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        if order.approval is not None:
            return "Another request is waiting for its approval."
        if order.suspensions >= MAX_SUSPENSIONS:
            return f"An order can be suspended at most {MAX_SUSPENSIONS} times."
        return None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        if not 1 <= self.days <= MAX_SUSPENSION_DAYS:
            return f"days must be between 1 and {MAX_SUSPENSION_DAYS}."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        seconds = self.days * 86400
        return _asked(order, self.approval_id, ApprovalKind.SUSPENSION, seconds, self.reason, self.evidence, at, actor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend(Command):
    """延期: asks for a longer deadline, once, before it is due, at most by its original length.

    `due_at` is the `complete` clock's deadline as far as it is known.
    """

    action: ClassVar[str] = "extend"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = LEAD
    approval_id: str
    seconds: int
    reason: str
    due_at: datetime | None = None

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        if order.approval is not None:
            return "Another request is waiting for its approval."
        if order.extensions >= MAX_EXTENSIONS:
            return "An order can be extended only once."
        return None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        longest = COMPLETE_BUDGET_S[order.handling_class]
        if not 1 <= self.seconds <= longest:
            return f"seconds must be between 1 and the original length, {longest}."
        if self.due_at is not None and at >= self.due_at:
            return f"It was due at {self.due_at.isoformat()}; an extension must be asked for before."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return _asked(order, self.approval_id, ApprovalKind.EXTENSION, self.seconds, self.reason, (), at, actor)


def _asked(
    order: WorkOrder,
    approval_id: str,
    kind: ApprovalKind,
    seconds: int,
    reason: str,
    evidence: tuple[str, ...],
    at: datetime,
    actor: Actor,
) -> tuple[WorkOrder, Fact]:
    approval = Approval(approval_id, kind, seconds, reason, actor.name, at, evidence)
    fields = {"approval_id": approval_id, "what": str(kind), "seconds": seconds}
    return replace(order, approval=approval), Fact("approval_requested", fields, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Command):
    """Ends a suspension; the system does it when its time is over."""

    action: ClassVar[str] = "resume"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.SUSPENDED})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.CENTRE, Part.SYSTEM})
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, status=Status.ACCEPTED, suspended_until=None), Fact("resumed", reason=self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCoHandlers(Command):
    action: ClassVar[str] = "co-handlers"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.CENTRE})
    units: tuple[str, ...]

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        if not self._new_units(order):
            return "Every unit named takes part already."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        units = self._new_units(order)
        return replace(order, co_handlers=(*order.co_handlers, *units)), Fact("co_handlers_added", {"units": [*units]})

    def _new_units(self, order: WorkOrder) -> tuple[str, ...]:
        known = {order.lead, *order.co_handlers}
        return tuple(code for code in dict.fromkeys(self.units) if code not in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Command):
    """The centre gives it to another unit."""

    action: ClassVar[str] = "transfer"
    sources: ClassVar[frozenset[Status]] = frozenset(
        {Status.PENDING, Status.DISPATCHED, Status.ACCEPTED, Status.DISPUTED}
    )
    parts: ClassVar[frozenset[Part]] = CENTRE
    lead: str
    reason: str
    return_until: datetime

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        if self.lead == order.lead and order.status not in (Status.PENDING, Status.DISPUTED):
            return "The unit leads it already."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            _with_lead(order, "transfer", self.lead, order.co_handlers, self.return_until, at), ruled_lead=None
        )
        return after, Fact("dispatched", {"cause": "transfer"}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch(Command):
    """The chain's decision, after a review (`review`) or a return (`return`)."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING, Status.DISPATCHED})
    decision: Decision
    cause: str
    return_until: datetime
    handoff_id: str = ""
    label: "Relabel | None" = None
    """the person's label that led to this decision"""

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        if self.label is not None:
            order, _ = self.label.apply(order, at, actor)
        return _dispatched(order, self, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDispute(Command):
    """派单争议: the centre owns the order until its ruling."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING})
    dispute_id: str

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.DISPUTED, lead=order.centre, dispute_id=self.dispute_id, disputed_at=at)
        units = "、".join(dict.fromkeys(entry.unit for entry in order.returns))
        return after, Fact("disputed", {"dispute_id": self.dispute_id}, f"多次退单或相互推荐：{units}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Command):
    """The centre's binding decision. The order is pending for the `DispatchRuled` that follows at once."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPUTED})
    parts: ClassVar[frozenset[Part]] = CENTRE
    scope: str
    reason: str

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.PENDING, dispute_id=None, disputed_at=None)
        return after, Fact("ruled", {"dispute_id": order.dispute_id, "scope": self.scope}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRuled(Command):
    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING})
    parts: ClassVar[frozenset[Part]] = CENTRE
    lead: str
    co_handlers: tuple[str, ...] = ()
    reason: str
    return_until: datetime
    answer: RuleAnswer

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            _with_lead(order, "ruling", self.lead, self.co_handlers, self.return_until, at),
            ruled_lead=self.lead,
            decision=(*order.decision, self.answer),
        )
        return after, Fact("dispatched", {"cause": "ruling"}, self.reason)


class _Approving(Command):
    """The centre decides; a complex order's extension only needs the unit's head (domain.md, SLA)."""

    __slots__ = ()
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = CENTRE

    @classmethod
    def parts_for(cls, order: WorkOrder) -> frozenset[Part]:
        asked = order.approval
        by_head = (
            asked is not None and asked.kind is ApprovalKind.EXTENSION and order.handling_class is HandlingClass.COMPLEX
        )
        return CENTRE | {Part.HEAD} if by_head else CENTRE

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return "No request waits for an approval." if order.approval is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(_Approving):
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        asked = order.approval
        assert asked is not None, "obstacle() lets no order without a request pass"
        if asked.kind is ApprovalKind.EXTENSION:
            after = replace(order, approval=None, extensions=order.extensions + 1)
            return after, Fact("extended", {"seconds": asked.seconds}, self.note or asked.reason)
        until = at + timedelta(seconds=asked.seconds)
        after = replace(
            order,
            status=Status.SUSPENDED,
            approval=None,
            suspensions=order.suspensions + 1,
            suspended_until=until,
        )
        return after, Fact("suspended", {"until": until}, self.note or asked.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(_Approving):
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        asked = order.approval
        assert asked is not None, "obstacle() lets no order without a request pass"
        fields = {"approval_id": asked.id, "what": str(asked.kind)}
        return replace(order, approval=None), Fact("approval_rejected", fields, self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabel(Command):
    """A person's label on an order that stays where it is: class, matter and kind only."""

    sources: ClassVar[frozenset[Status]] = UNFINISHED | {Status.COMPLETED}
    handling_class: HandlingClass
    matter: str
    matter_path: tuple[str, ...] = ()
    kind: str
    in_review: bool = False
    reason: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            handling_class=self.handling_class,
            matter=self.matter,
            matter_path=self.matter_path,
            kind=self.kind,
            in_review=self.in_review,
        )
        fields = {"before_class": str(order.handling_class), "before_matter": order.matter}
        return after, Fact("relabelled", fields, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen(Command):
    """二次办理 after a bad rating: same lead, round + 1 (domain.md, Feedback)."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.COMPLETED})
    appeal_id: str
    reason: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            status=Status.REOPENED,
            round=order.round + 1,
            completed_at=None,
            solved=None,
        )
        return after, Fact("reopened", {"appeal_id": self.appeal_id}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Command):
    """The feedback of every appeal is closed."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.COMPLETED})
    closed_appeals: tuple[str, ...]

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        waiting = set(order.appeal_ids) - set(self.closed_appeals)
        return f"Feedback is still open for {len(waiting)} appeals." if waiting else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, status=Status.CLOSED), Fact("closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Command):
    """Its last appeal was withdrawn, declined, or joined to another order."""

    sources: ClassVar[frozenset[Status]] = UNFINISHED
    reason: str | None = None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return "Other citizens still wait for it." if len(order.appeal_ids) > 1 else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.CANCELLED, approval=None, suspended_until=None)
        return after, Fact("cancelled", reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAppeal(Command):
    sources: ClassVar[frozenset[Status]] = UNFINISHED
    appeal_id: str
    relation: str

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return "The appeal is joined already." if self.appeal_id in order.appeal_ids else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, appeal_ids=(*order.appeal_ids, self.appeal_id))
        return after, Fact("appeal_joined", {"appeal_id": self.appeal_id, "relation": self.relation})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAppeal(Command):
    sources: ClassVar[frozenset[Status]] = UNFINISHED | {Status.COMPLETED}
    appeal_id: str
    reason: str | None = None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        if self.appeal_id not in order.appeal_ids or len(order.appeal_ids) == 1:
            return "The appeal is not joined to this order."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        rest = tuple(appeal for appeal in order.appeal_ids if appeal != self.appeal_id)
        return replace(order, appeal_ids=rest), Fact("appeal_parted", {"appeal_id": self.appeal_id}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOff(Command):
    """The other platform accepted the offer: its clocks take over (domain.md, Dispatch 6)."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPATCHED, Status.ACCEPTED})

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        offered = order.handoff is not None and order.handoff.state == "offered"
        return None if offered else "No hand-over is offered."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        assert order.handoff is not None, "obstacle() lets no order without an offer pass"
        after = replace(order, status=Status.HANDED_OFF, handoff=replace(order.handoff, state="accepted"))
        return after, Fact("handed_off")


ACTIONS: tuple[type[Command], ...] = (
    Accept,
    Contact,
    Progress,
    Complete,
    ReturnOrder,
    Suspend,
    Extend,
    Resume,
    AddCoHandlers,
    Transfer,
)
"""The actions of api.md, in its order. `split` comes with joint handling."""
