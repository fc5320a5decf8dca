"""挂账 and 延期: asked by the lead, decided by the centre (domain.md, SLA)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from services.dispatch.domain.case import HandlingClass
from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.work_order import (
    CENTRE,
    HANDLING,
    LEAD,
    Actor,
    Approval,
    ApprovalKind,
    Part,
    Status,
    WorkOrder,
)

MAX_SUSPENSION_DAYS = 90
MAX_SUSPENSIONS = 2
MAX_EXTENSIONS = 1


_CONSULT_S = 5 * 7 * 3600
COMPLETE_BUDGET_S = {
    HandlingClass.URGENT: 2 * 3600,
    HandlingClass.LIVELIHOOD: 24 * 3600,
    HandlingClass.GENERAL: 7 * 24 * 3600,
    # 15 working days of 7 h: extensions of this clock count working seconds (domain.md, SLA)
    HandlingClass.COMPLEX: 15 * 7 * 3600,
}
"""The length of the `complete` clock in its own (natural or working) seconds (domain.md, SLA)."""


def original_length_s(order: WorkOrder) -> int:
    """An extension may at most double the `complete` clock; a consultation has 5 working days, second handling half."""
    consults = order.handling_class is HandlingClass.GENERAL and order.kind == "consult"
    length = _CONSULT_S if consults else COMPLETE_BUDGET_S[order.handling_class]
    return length // 2 if order.round > 1 else length


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
        if order.is_part:
            return "A part of joint work has the whole's time: the lead of the whole asks for more."
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
        if order.is_part:
            return "A part of joint work has the whole's time: the lead of the whole asks for more."
        if order.approval is not None:
            return "Another request is waiting for its approval."
        if order.extensions >= MAX_EXTENSIONS:
            return "An order can be extended only once."
        return None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        longest = original_length_s(order)
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
    fields = {"approval_id": approval_id, "what": str(kind), "seconds": seconds, "evidence": list(evidence)}
    return replace(order, approval=approval), Fact("approval_requested", fields, reason)


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
class Resume(Command):
    """Ends a suspension; the system does it when its time is over."""

    action: ClassVar[str] = "resume"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.SUSPENDED})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.CENTRE, Part.SYSTEM})
    note: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, status=Status.ACCEPTED, suspended_until=None), Fact("resumed", reason=self.note)
