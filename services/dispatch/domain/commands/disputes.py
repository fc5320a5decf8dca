"""派单争议 and its ruling (domain.md, Dispatch 3 and 4)."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands.dispatching import with_lead
from services.dispatch.domain.routing import RuleAnswer
from services.dispatch.domain.work_order import (
    CENTRE,
    Actor,
    Part,
    Status,
    WorkOrder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDispute(Command):
    """派单争议: the centre owns the order until its ruling."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING})
    dispute_id: str
    reason: str

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(order, status=Status.DISPUTED, lead=order.centre, dispute_id=self.dispute_id, disputed_at=at)
        return after, Fact("disputed", {"dispute_id": self.dispute_id}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveRuling(Command):
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
            with_lead(order, "ruling", self.lead, self.co_handlers, self.return_until, at),
            ruled_lead=self.lead,
            decision=(*order.decision, self.answer),
        )
        return after, Fact("dispatched", {"cause": "ruling"}, self.reason)
