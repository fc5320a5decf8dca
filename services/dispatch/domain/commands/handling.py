"""What the lead unit does with an order."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.work_order import (
    HANDLING,
    LEAD,
    Actor,
    Part,
    Return,
    ReturnReason,
    Status,
    WorkOrder,
)


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

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        waiting = [part.who for part in order.open_parts]
        return f"Parts of it are still open at {', '.join(waiting)}." if waiting else None

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
            return order, Fact("shirked", {"unit": order.lead}, self.note)
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
