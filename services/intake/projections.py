"""The case as readers see it, kept from every stream: one row, one status, one timeline.

Each batch costs a constant number of statements whatever its size and mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.intake import repository, words
from services.intake.federation.handovers import Handovers
from services.intake.repository import Held, Row
from services.intake.streams import clocks_json, feedback_json, label_json, order_of
from shared.db import bulk
from shared.events.catalog.clocks import ClockEvent
from shared.events.catalog.labels import LabelEvent
from shared.events.catalog.ratings import FeedbackEvent
from shared.events.catalog.work_orders import WorkOrderAppealParted, WorkOrderEvent
from shared.events.event import Message
from shared.outbox.uow import Uow


class Projections:
    """The handlers of all streams; cases that another platform handed over are told of to it."""

    def __init__(self, handovers: Handovers) -> None:
        self.handovers = handovers

    async def on_streams(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        """Every stream that intake shows but does not own: labels, orders, clocks, feedback, in any mixture."""
        held = await _show(batch, uow)
        await self.handovers.mirror.tell_sender(held, uow)

    async def on_handoffs(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        """What dispatch decided about hand-overs: shown, and brought to the other platforms."""
        await _show(batch, uow)
        await self.handovers.on_decisions(batch, uow)


async def _show(batch: Sequence[Message[Any]], uow: Uow) -> list[Held]:
    """The cases that were looked at, under their locks."""
    concerned = [_appeals_of(message.data) for message in batch]
    moving = [
        appeal_id
        for message, appeal_ids in zip(batch, concerned, strict=True)
        if isinstance(message.data, LabelEvent | WorkOrderEvent | FeedbackEvent)
        for appeal_id in appeal_ids
    ]
    held = await repository.lock_cases(uow.pg, moving) if moving else {}
    clocks: list[Row] = []
    items: list[Row] = []
    for message, appeal_ids in zip(batch, concerned, strict=True):
        _hear(message, [held[appeal_id] for appeal_id in appeal_ids if appeal_id in held])
        if isinstance(message.data, ClockEvent):
            after = message.data.after
            row = {"work_order_id": after.work_order_id, "sequence": message.sequence, "clocks": clocks_json(after)}
            clocks.append(row)
        items += [timeline_row(message.data, message.id, message.time, appeal_id) for appeal_id in appeal_ids]
    await bulk.write(
        uow.pg,
        *repository.saved_cases(held.values()),
        repository.saved_clocks(clocks),
        repository.timeline_of(items),
    )
    return list(held.values())


def _hear(message: Message[Any], cases: Sequence[Held]) -> None:
    event = message.data
    if isinstance(event, LabelEvent):
        for case in cases:
            if case.streams.hear_label(event.after, message.sequence):
                case.label, case.changed = label_json(event.after), True
    elif isinstance(event, WorkOrderEvent):
        order = order_of(event.after, message.sequence)
        for case in cases:
            case.changed |= case.streams.hear_order(order)
    elif isinstance(event, FeedbackEvent):
        for case in cases:
            if case.streams.hear_feedback(event.after, message.sequence):
                case.feedback, case.changed = feedback_json(event.after), True


def timeline_row(event: Any, event_id: str, time: Any, appeal_id: str) -> Row:
    """One item of a case's timeline."""
    return {
        "appeal_id": appeal_id,
        "event_id": event_id,
        "at": time,
        "type": event.type,
        "actor": event.actor,
        "words": words.of(event),
        "reason": event.reason,
    }


def _appeals_of(event: Any) -> list[str]:
    if isinstance(event, LabelEvent | FeedbackEvent):
        return [event.after.appeal_id]
    appeal_ids: list[str] = event.after.appeal_ids
    if isinstance(event, WorkOrderAppealParted) and event.appeal_id not in appeal_ids:
        return [*appeal_ids, event.appeal_id]
    return appeal_ids
