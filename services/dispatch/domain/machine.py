"""The state machine: order × command → (order', fact) or a refusal (api.md, dispatch).

`step` is the only way to change an order; it is pure, and a refused command changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands import ACTIONS
from services.dispatch.domain.work_order import Actor, WorkOrder


@dataclass(frozen=True, slots=True)
class Changed:
    order: WorkOrder
    fact: Fact


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing changed. `code` is `invalid_transition` or `forbidden`; `allowed` are the actions open to the actor."""

    code: str
    detail: str
    allowed: tuple[str, ...]


def step(order: WorkOrder, command: Command, actor: Actor, at: datetime) -> Changed | Refused:
    """Applies `command` at the instant `at`; the new order's version is one higher."""
    kind = type(command)
    if not kind.parts_for(order) & order.parts_of(actor):
        needed = ", ".join(sorted(kind.parts_for(order)))
        return Refused("forbidden", f"This needs to be done as: {needed}.", allowed_actions(order, actor, at))
    if order.status not in kind.sources:
        detail = f"The work order is {order.status}; {kind.action or kind.__name__} is not possible from there."
        return Refused("invalid_transition", detail, allowed_actions(order, actor, at))
    if against := kind.obstacle(order, at) or command.objection(order, at):
        return Refused("invalid_transition", against, allowed_actions(order, actor, at))
    after, fact = command.apply(order, at, actor)
    return Changed(replace(after, version=order.version + 1), fact)


def allowed_actions(order: WorkOrder, actor: Actor, at: datetime) -> tuple[str, ...]:
    """The actions of api.md that `actor` may take on the order at `at`, in the table's order."""
    parts = order.parts_of(actor)
    return tuple(
        kind.action
        for kind in ACTIONS
        if kind.parts_for(order) & parts and order.status in kind.sources and kind.obstacle(order, at) is None
    )
