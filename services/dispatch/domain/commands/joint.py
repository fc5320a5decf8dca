"""联合处置: an order split into sub-orders of other units and platforms; its lead still gives the citizen one answer
(domain.md, Dispatch 5; ADR 0025)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands.dispatching import with_lead
from services.dispatch.domain.routing import Outcome, RuleAnswer
from services.dispatch.domain.work_order import (
    HANDLING,
    UNFINISHED,
    Actor,
    Handoff,
    Part,
    Status,
    SubOrder,
    WorkOrder,
)

MOST = 20
"""sub-orders of one order"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Command):
    """The lead gives parts of the work to other units or platforms; the order stays with it."""

    action: ClassVar[str] = "split"
    sources: ClassVar[frozenset[Status]] = HANDLING
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.CENTRE})
    into: tuple[SubOrder, ...]
    allowed_s: Mapping[str, int | None] = field(default_factory=dict)
    """by the id of the sub-order: how long it may take, in seconds"""
    regions: Mapping[str, str] = field(default_factory=dict)
    """by the id of the sub-order: where it is, of what another platform is asked to do"""
    left_s: int | None = None
    """of the order's own `complete` clock; None while nobody knows"""

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        if order.handoff is not None and order.handoff.state == "offered":
            return "It is offered to another platform; transfer it to keep it here."
        return "A sub-order is not split again." if order.parent_id is not None else None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        busy = {order.lead, *(part.who for part in order.open_parts)}
        for part in self.into:
            if part.who in busy:
                return f"{part.who} leads the order or has an open part of it."
            if part.platform is not None and order.is_part:
                return "Another platform leads this case; it asks whom else it needs."
            busy.add(part.who)
            allowed = self.allowed_s.get(part.id)
            if allowed is not None and self.left_s is not None and allowed > self.left_s:
                return f"A part ends inside the order's own deadline: {max(self.left_s, 0)} s are left."
        if len(order.sub_orders) + len(self.into) > MOST:
            return f"An order has at most {MOST} parts."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        units = [part.unit for part in self.into if part.platform is None]
        helpers = dict.fromkeys((*order.co_handlers, *units))
        after = replace(order, sub_orders=(*order.sub_orders, *self.into), co_handlers=tuple(helpers))
        tasks = "；".join(part.task for part in self.into)
        return after, Fact("split", {"parts": [part.id for part in self.into]}, tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotePart(Command):
    """A sub-order changed: it ended, or another unit has it."""

    sources: ClassVar[frozenset[Status]] = UNFINISHED
    part: SubOrder
    reason: str | None = None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return "It is known already." if self.part in order.sub_orders else None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        others = tuple(self.part if known.id == self.part.id else known for known in order.sub_orders)
        fields = {"part_id": self.part.id, "unit": self.part.unit, "outcome": self.part.status}
        return replace(order, sub_orders=others), Fact("part_changed", fields, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeAnswer(Command):
    """The platform that had a part has done it."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.HANDED_OFF})
    result: str | None

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return None if order.parent_id is not None else "The platform that took the whole case answers it itself."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.COMPLETED, completed_at=at, result=self.result)
        return _handoff(after, "completed"), Fact("completed", reason=self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(Command):
    """A part is taken back from the platform that was asked for it, whether it has taken it on or not; a whole case
    only when its citizen withdrew it."""

    action: ClassVar[str] = "recall"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPATCHED, Status.ACCEPTED, Status.HANDED_OFF})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.HELPER, Part.CENTRE, Part.SYSTEM})
    reason: str

    @classmethod
    def parts_for(cls, order: WorkOrder) -> frozenset[Part]:
        return cls.parts if order.parent_id is not None else frozenset({Part.SYSTEM})

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        asked = order.handoff is not None and order.handoff.state in ("offered", "accepted")
        there = order.is_part or order.status is Status.HANDED_OFF
        return None if asked and there else "It is nothing that another platform is asked for."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.CANCELLED)
        return _handoff(after, "withdrawn", self.reason), Fact("cancelled", reason=self.reason)


def _handoff(order: WorkOrder, state: str, reason: str | None = None) -> WorkOrder:
    assert order.handoff is not None, "obstacle() lets no order without one pass"
    return replace(order, handoff=replace(order.handoff, state=state, reason=reason))


def open_part(
    parent: WorkOrder,
    part: SubOrder,
    lead_name: str,
    allowed_s: int | None,
    return_until: datetime,
    at: datetime,
    handoff: Handoff | None = None,
    region_code: str | None = None,
) -> tuple[WorkOrder, Fact]:
    """The sub-order with its unit, or with the own centre while another platform is asked (`handoff`), version 1: its
    clocks count from now, and the parent's lead sees it. `region_code`: where it is, when not where the parent is."""
    words = f"由{lead_name}主办、联合处置：{part.task}"
    order = WorkOrder(
        id=part.id,
        appeal_ids=parent.appeal_ids,
        status=Status.PENDING,
        lead=parent.centre,
        centre=parent.centre,
        handling_class=parent.handling_class,
        matter=parent.matter,
        received_at=at,
        opened_at=at,
        kind=parent.kind,
        region_code=region_code or parent.region_code,
        channel=parent.channel,
        matter_path=parent.matter_path,
        reporter_groups=parent.reporter_groups,
        tags=parent.tags,
        parent_id=parent.id,
        task=part.task,
        allowed_s=allowed_s,
    )
    after = replace(
        with_lead(order, "split", part.unit, (parent.lead,), return_until, at),
        decision=(RuleAnswer("joint_handling", Outcome.CHOSEN, words),),
        handoff=handoff,
    )
    return after, Fact("dispatched", {"cause": "split"}, words)


def part_of(order: WorkOrder) -> SubOrder:
    """A sub-order as its parent knows it."""
    asked = order.handoff
    if order.status in UNFINISHED or order.status is Status.HANDED_OFF:
        status = "open"
    elif order.status is Status.CANCELLED and (order.returns or (asked is not None and asked.state == "refused")):
        status = "returned"
    else:
        status = "cancelled" if order.status is Status.CANCELLED else "completed"
    unit = order.lead if status == "open" else _last_unit(order)
    return SubOrder(order.id, unit, order.task or "", status, asked.platform if asked else None)


def _last_unit(order: WorkOrder) -> str:
    return order.returns[-1].unit if order.returns and order.status is Status.CANCELLED else order.lead
