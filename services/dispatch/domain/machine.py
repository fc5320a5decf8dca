"""The state machine: order × command → (order', fact) or a refusal (api.md, dispatch).

After its opening (`open_pending`, `open_dispatched`) an order changes by `step` alone; it is pure, and a refused
command changes nothing. `preceding` and `following` say which commands bring others with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands import (
    ACTIONS,
    Cancel,
    ChangeRuling,
    Dispatch,
    GiveRuling,
    OpenDispute,
    Resume,
    Transfer,
)
from services.dispatch.domain.work_order import Actor, Status, WorkOrder


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


def preceding(order: WorkOrder, command: Command) -> Command | None:
    """What comes before a command, as a fact of its own: the centre's transfer of a disputed order is its ruling; an
    order that another ruling takes from its lead is suspended no longer."""
    if isinstance(command, Transfer) and order.status is Status.DISPUTED:
        return GiveRuling(scope="case", reason=command.reason)
    if isinstance(command, ChangeRuling) and order.status is Status.SUSPENDED:
        return Resume(note="裁定改变，挂账结束")
    return None


def following(
    order: WorkOrder, dispute_id: str, name_of: Callable[[str], str], dispatch: Callable[[WorkOrder], Dispatch]
) -> Command | None:
    """What dispatch does at once with an order that was returned (domain.md, Return): the chain runs again without the
    units that returned it; the second return, or two units that name each other, open a dispute. A sub-order ends: its
    parent's lead sees to the work.

    None when it stayed with its lead. `name_of` gives the name of a unit, `dispatch` runs the chain.
    """
    if order.status is not Status.PENDING:
        return None
    if order.parent_id is not None:
        return Cancel(reason="承办单位退回，由主办单位另行安排")
    if not order.must_be_ruled:
        return dispatch(order)
    units = dict.fromkeys(name_of(entry.unit) for entry in order.returns)
    return OpenDispute(dispute_id=dispute_id, reason=f"多次退单或相互推荐：{'、'.join(units)}")


def allowed_actions(
    order: WorkOrder, actor: Actor, at: datetime, kinds: Sequence[type[Command]] = ACTIONS
) -> tuple[str, ...]:
    """The actions of api.md (or those of a dispute: `DISPUTE_ACTIONS`) that `actor` may take on the order at `at`, in
    the table's order."""
    parts = order.parts_of(actor)
    return tuple(
        kind.action
        for kind in kinds
        if kind.parts_for(order) & parts and order.status in kind.sources and kind.obstacle(order, at) is None
    )
