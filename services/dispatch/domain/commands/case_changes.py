"""What changes because of the case behind the order: its label, its appeals, its feedback, its platform."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.case import HandlingClass
from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.work_order import (
    UNFINISHED,
    Actor,
    Status,
    WorkOrder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabel(Command):
    """A person's label on an order that stays where it is: class, matter and kind only.

    `return_until` is the end of the window that the class gives, counted from the dispatch; None: none is open.
    """

    sources: ClassVar[frozenset[Status]] = UNFINISHED | {Status.COMPLETED}
    handling_class: HandlingClass
    matter: str
    matter_path: tuple[str, ...] = ()
    kind: str
    in_review: bool = False
    return_until: datetime | None = None
    reason: str | None = None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            handling_class=self.handling_class,
            matter=self.matter,
            matter_path=self.matter_path,
            kind=self.kind,
            in_review=self.in_review,
            return_until=self.return_until or order.return_until,
        )
        fields = {"before_class": str(order.handling_class), "before_matter": order.matter}
        return after, Fact("relabelled", fields, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRepeat(Command):
    """The appeal repeats one that is closed (domain.md, Appeal): the handler is told, and it counts."""

    sources: ClassVar[frozenset[Status]] = UNFINISHED | {Status.COMPLETED}
    repeat_of: str

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return "It is known to repeat a closed appeal." if order.repeat_of is not None else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        return replace(order, repeat_of=self.repeat_of), Fact("repeat_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen(Command):
    """二次办理 after a bad rating: same lead, round + 1 (domain.md, Feedback). Its instant is that of the rating."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.COMPLETED})
    appeal_id: str
    reason: str | None = None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        # read late: another citizen's rating had opened the order, and its second handling answered this one, too
        handled = order.completed_at is not None and order.completed_at > at
        return "It was completed again since the rating." if handled else None

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
        return replace(order, status=Status.CLOSED, ruling=order.ruling_left), Fact("closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Command):
    """Its last appeal was withdrawn, declined, or joined to another order."""

    sources: ClassVar[frozenset[Status]] = UNFINISHED
    reason: str | None = None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        shared = len(order.appeal_ids) > 1 and order.parent_id is None
        return "Other citizens still wait for it." if shared else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            status=Status.CANCELLED,
            approval=None,
            suspended_until=None,
            dispute_id=None,
            disputed_at=None,
            checks=order.checks_ended,
            ruling=order.ruling_left,
            sub_orders=order.parts_ended,
        )
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
class RefuseHandoff(Command):
    """The other platform refused the offer: the order stays with the own centre (domain.md, Dispatch 6)."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPATCHED, Status.ACCEPTED})
    reason: str | None = None

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return HandOff.obstacle(order, at)

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        assert order.handoff is not None, "obstacle() lets no order without an offer pass"
        after = replace(order, handoff=replace(order.handoff, state="refused", reason=self.reason))
        if order.status is Status.DISPATCHED:  # only now it is the centre's to see to: a new round for it to accept
            after = replace(after, dispatch_no=order.dispatch_no + 1, dispatched_at=at)
        return after, Fact("handoff_refused", reason=self.reason)


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
        handoff = replace(order.handoff, state="accepted")
        after = replace(
            order,
            status=Status.HANDED_OFF,
            handoff=handoff,
            ruling=order.ruling_left,
            sub_orders=order.parts_ended,
        )
        return after, Fact("handed_off")
