"""An order comes to be and gets its lead: by the chain, a review, a return, a transfer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.case import Case
from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands.case_changes import Relabel
from services.dispatch.domain.routing import Decision
from services.dispatch.domain.work_order import (
    CENTRE,
    Actor,
    Handoff,
    Part,
    Status,
    WorkOrder,
)


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
    dispatch: "Dispatch",
    *,
    in_review: bool = False,
    matter_path: Sequence[str] = (),
) -> tuple[WorkOrder, Fact]:
    """A new order with its lead in one change: version 1."""
    return _dispatched(_new(order_id, case, centre, at, matter_path, in_review=in_review), dispatch, at)


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
        repeat_of=case.repeat_of,
        task=case.task,
        allowed_s=case.allowed_s,
    )


def with_lead(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch(Command):
    """The chain's decision, for a new order (`routing`), after a review (`review`) or a return (`return`)."""

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


def _dispatched(order: WorkOrder, command: "Dispatch", at: datetime) -> tuple[WorkOrder, Fact]:
    decision = command.decision
    after = replace(
        with_lead(order, command.cause, decision.lead, decision.co_handlers, command.return_until, at),
        handling_class=decision.handling_class,
        clock_policy=decision.clock_policy,
        decision=decision.answers,
        handoff=Handoff(command.handoff_id, decision.platform) if decision.platform else None,
        ruled_lead=None,
        ruling=order.ruling_left,
    )
    chosen = next((answer.reason for answer in decision.answers if answer.outcome == "chosen"), None)
    return after, Fact("dispatched", {"cause": command.cause}, chosen)


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
            with_lead(order, "transfer", self.lead, order.co_handlers, self.return_until, at),
            ruled_lead=None,
            checks=order.checks_ended,
            ruling=order.ruling_left,
        )
        return after, Fact("dispatched", {"cause": "transfer"}, self.reason)
