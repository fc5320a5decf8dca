"""The case as readers see it, kept from every stream: snapshots by `sequence`, one status, one timeline.

Each batch costs a constant number of statements whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from services.intake import repository, tables, words
from services.intake.domain.case import status_of
from services.intake.repository import Facts, Row, as_json
from shared.events.catalog.clocks import ClockEvent
from shared.events.catalog.labels import LabelEvent
from shared.events.catalog.ratings import FeedbackEvent
from shared.events.catalog.work_orders import WorkOrderAppealParted, WorkOrderEvent
from shared.events.event import Message
from shared.outbox.uow import Uow


class Projections:
    """Handlers of the streams that intake shows but does not own."""

    async def on_streams(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        """Everything that was said about cases: the newest snapshot of each stream, the timeline, the status."""
        labels = [message for message in batch if isinstance(message.data, LabelEvent)]
        orders = [message for message in batch if isinstance(message.data, WorkOrderEvent)]
        clocks = [message for message in batch if isinstance(message.data, ClockEvent)]
        feedback = [message for message in batch if isinstance(message.data, FeedbackEvent)]
        await repository.upsert_newest(uow.pg, tables.case_labels, [_label(m) for m in labels], "appeal_id")
        await repository.upsert_newest(uow.pg, tables.case_orders, [_order(m) for m in orders], "work_order_id")
        await repository.upsert_newest(uow.pg, tables.case_clocks, [_clocks(m) for m in clocks], "work_order_id")
        await repository.upsert_newest(uow.pg, tables.case_feedback, [_feedback(m) for m in feedback], "appeal_id")
        await repository.join_appeals(uow.pg, {(a, m.key) for m in orders for a in m.data.after.appeal_ids})
        concerned = [_appeals_of(message.data) for message in batch]
        await self._tell(uow, batch, concerned)
        changed = {a for m, ids in zip(batch, concerned, strict=True) if _moves_the_case(m.data) for a in ids}
        await repository.derive_cases(uow.pg, sorted(changed), derive)

    async def _tell(self, uow: Uow, batch: Sequence[Message[Any]], concerned: Sequence[Iterable[str]]) -> None:
        await repository.add_timeline(
            uow.pg,
            [
                timeline_row(message.data, message.id, message.time, appeal_id)
                for message, appeal_ids in zip(batch, concerned, strict=True)
                for appeal_id in appeal_ids
            ],
        )


def derive(facts: Facts) -> tuple[str, str, str | None, list[str], list[str]]:
    """Status, region, matter, tags and units of a case."""
    status = status_of(
        facts.own_status,
        labelled=facts.labelled,
        needs_review=facts.needs_review,
        orders=facts.orders,
        feedback_closed_on=facts.feedback_closed_on,
    )
    return status, facts.region_code, facts.matter, facts.tags, facts.units


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
    match event:
        case LabelEvent() | FeedbackEvent():
            return [event.after.appeal_id]
        case WorkOrderAppealParted(appeal_id=parted) if parted not in event.after.appeal_ids:
            return [*event.after.appeal_ids, parted]
    return list(event.after.appeal_ids)


def _moves_the_case(event: Any) -> bool:
    """Whether status, region, matter, tags or units of the case may be others after it."""
    if isinstance(event, FeedbackEvent):  # only its end counts, and that a later round takes the end back
        return event.after.status == "closed" or event.after.round > 1
    return isinstance(event, LabelEvent | WorkOrderEvent)


def _label(message: Message[LabelEvent]) -> Row:
    after = message.data.after
    return {
        "appeal_id": after.appeal_id,
        "sequence": message.sequence,
        "matter": after.matter.code,
        "tags": list(dict.fromkeys(tag.code for tag in after.tags)),
        "region_code": after.region_code,
        "needs_review": after.needs_review and after.reviewed_by is None,
        "label": as_json(after),
    }


def _clocks(message: Message[ClockEvent]) -> Row:
    after = message.data.after
    return {"work_order_id": after.work_order_id, "sequence": message.sequence, "clocks": as_json(after.clocks)}


def _feedback(message: Message[FeedbackEvent]) -> Row:
    after = message.data.after
    return {
        "appeal_id": after.appeal_id,
        "sequence": message.sequence,
        "status": after.status,
        "method": after.method,
        "round": after.round,
        "feedback": as_json(after),
    }


def _order(message: Message[WorkOrderEvent]) -> Row:
    after = message.data.after
    return {
        "work_order_id": after.id,
        "sequence": message.sequence,
        "appeal_ids": after.appeal_ids,
        "status": after.status,
        "lead": after.lead,
        "lead_name": after.lead_name,
        "co_handlers": after.co_handlers,
        "version": after.version,
        "opened_at": after.opened_at,
        "in_review": after.in_review,
        "parent_id": after.parent_id,
        "handoff": as_json(after.handoff) if after.handoff else None,
        "result": after.result,
    }
