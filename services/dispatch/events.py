"""Facts of the domain as events of `dispatch.work-orders.v1` and `dispatch.handoffs.v1`, and as answers over HTTP."""

from datetime import datetime
from typing import Any

import msgspec

from services.dispatch.domain.command import Fact
from services.dispatch.domain.units import UnitDirectory
from services.dispatch.domain.work_order import Handoff, WorkOrder
from shared.clock import in_zone
from shared.events import catalog
from shared.events.catalog import handoffs, work_orders
from shared.events.event import Event


def snapshot(order: WorkOrder, platform: str, units: UnitDirectory) -> work_orders.WorkOrder:
    """The public state after a fact."""
    lead = units.get(order.lead)
    return work_orders.WorkOrder(
        id=order.id,
        platform=platform,
        appeal_ids=list(order.appeal_ids),
        status=order.status.value,
        lead=order.lead,
        lead_name=units.name(order.lead),
        lead_region=lead.region_code if lead else order.region_code,
        co_handlers=list(order.co_handlers),
        handling_class=order.handling_class.value,
        matter=order.matter,
        matter_path=list(order.matter_path),
        kind=order.kind,
        region_code=order.region_code,
        channel=order.channel,
        reporter_groups=list(order.reporter_groups),
        in_review=order.in_review,
        round=order.round,
        dispatch_no=order.dispatch_no,
        version=order.version,
        received_at=order.received_at,
        taken_at=order.taken_at,
        opened_at=order.opened_at,
        dispatched_at=order.dispatched_at,
        return_until=order.return_until,
        accepted_at=order.accepted_at,
        contacted_at=order.contacted_at,
        completed_at=order.completed_at,
        result=order.result,
        solved=order.solved,
        returns=[
            work_orders.Return(unit=entry.unit, reason=entry.reason, suggested_unit=entry.suggested_unit, at=entry.at)
            for entry in order.returns
        ],
        dispute_id=order.dispute_id,
        disputed_at=order.disputed_at,
        checking=list(order.checking),
        decision=[
            work_orders.RuleAnswer(rule=answer.rule, outcome=answer.outcome.value, reason=answer.reason)
            for answer in order.decision
        ],
        handoff=_handoff(order.handoff),
        parent_id=order.parent_id,
        task=order.task,
        allowed_s=order.allowed_s,
        sub_orders=[
            work_orders.SubOrder(id=part.id, unit=part.unit, task=part.task, status=part.status, platform=part.platform)
            for part in order.sub_orders
        ],
        repeat_of=order.repeat_of,
        suspended_until=order.suspended_until,
    )


def _handoff(handoff: Handoff | None) -> work_orders.HandoffState | None:
    if handoff is None:
        return None
    return work_orders.HandoffState(
        id=handoff.id, platform=handoff.platform, state=handoff.state, reason=handoff.reason
    )


def event_of(order: WorkOrder, fact: Fact, actor: str, platform: str, units: UnitDirectory) -> Event:
    """The event `work_order.<fact>` with the order after it."""
    kind: Any = catalog.EVENTS[f"work_order.{fact.name}"]
    event: Event = kind(actor=actor, reason=fact.reason, after=snapshot(order, platform, units), **fact.fields)
    return event


def handoff_of(order: WorkOrder, sender: str, path: tuple[str, ...]) -> handoffs.Handoff:
    """An order that a rule gave to another platform, as a hand-over; `order.handoff` is set."""
    assert order.handoff is not None
    return handoffs.Handoff(
        id=order.handoff.id,
        work_order_id=order.id,
        appeal_ids=list(order.appeal_ids),
        sender=sender,
        receiver=order.handoff.platform,
        path=list(path),
        state=order.handoff.state,
        region_code=order.region_code,
        matter=order.matter,
        handling_class=order.handling_class.value,
        offered_at=order.dispatched_at or order.opened_at,
        joint=handoffs.JointPart(task=order.task, asked_at=order.received_at, allowed_s=order.allowed_s)
        if order.task is not None
        else None,
    )


def view(order: WorkOrder, platform: str, units: UnitDirectory, *, lamp: str) -> dict[str, Any]:
    """The order as api.md answers it, without the actions of a caller: what is published and what only people of this
    platform read."""
    body: dict[str, Any] = shown(snapshot(order, platform, units))
    del body["platform"], body["lead_region"]
    body["returns"] = [told | {"note": entry.note} for entry, told in zip(order.returns, body["returns"], strict=True)]
    asked = order.approval
    return body | {
        "co_handler_names": [units.name(code) for code in order.co_handlers],
        "lamp": lamp,
        "evidence": list(order.evidence),
        "clock_policy": order.clock_policy,
        "approval": asked
        and {"id": asked.id, "what": asked.kind.value, "seconds": asked.seconds, "reason": asked.reason},
    }


def shown(value: Any) -> Any:
    """A value of the domain as an answer shows it."""
    return in_zone(msgspec.to_builtins(value, builtin_types=(datetime,)))
