"""The case as readers see it, kept from every stream: snapshots by `sequence`, one status, one timeline.

Each batch costs a constant number of statements whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from services.intake import repository, tables, words
from services.intake.domain.case import status_of
from services.intake.repository import Facts, Row, as_json
from shared.db import bulk
from shared.events.catalog.clocks import ClockEvent
from shared.events.catalog.handoffs import HandoffEvent
from shared.events.catalog.labels import LabelEvent
from shared.events.catalog.ratings import FeedbackEvent
from shared.events.catalog.work_orders import WorkOrderAppealParted, WorkOrderEvent
from shared.events.event import Message
from shared.outbox.uow import Uow


class Projections:
    """Handlers of the streams that intake shows but does not own."""

    async def on_labels(self, batch: Sequence[Message[LabelEvent]], uow: Uow) -> None:
        """classify.labels.v1: matter, tags, class, place."""
        await repository.upsert_newest(uow.pg, tables.case_labels, [_label(message) for message in batch], "appeal_id")
        await self._tell(uow, batch, [[message.data.after.appeal_id] for message in batch])
        await repository.derive_cases(uow.pg, [message.data.after.appeal_id for message in batch], derive)

    async def on_work_orders(self, batch: Sequence[Message[WorkOrderEvent]], uow: Uow) -> None:
        """dispatch.work-orders.v1: who owns the case and how far it is."""
        await repository.upsert_newest(
            uow.pg, tables.case_orders, [_order(message) for message in batch], "work_order_id"
        )
        pairs = sorted(
            {(appeal_id, message.data.after.id) for message in batch for appeal_id in message.data.after.appeal_ids}
        )
        await bulk.insert(
            uow.pg,
            tables.order_appeals,
            [{"appeal_id": appeal_id, "work_order_id": order_id} for appeal_id, order_id in pairs],
            conflict=["appeal_id", "work_order_id"],
        )
        concerned = [_appeals_of(message.data) for message in batch]
        await self._tell(uow, batch, concerned)
        await repository.derive_cases(uow.pg, [appeal_id for ids in concerned for appeal_id in ids], derive)

    async def on_handoffs(self, batch: Sequence[Message[HandoffEvent]], uow: Uow) -> None:
        """dispatch.handoffs.v1: timeline only; the order carries the state of its hand-over."""
        await self._tell(uow, batch, [message.data.after.appeal_ids for message in batch])

    async def on_clocks(self, batch: Sequence[Message[ClockEvent]], uow: Uow) -> None:
        """sla.clocks.v1: deadlines and lamps."""
        rows = [
            {
                "work_order_id": message.data.after.work_order_id,
                "sequence": message.sequence,
                "clocks": as_json(message.data.after.clocks),
            }
            for message in batch
        ]
        await repository.upsert_newest(uow.pg, tables.case_clocks, rows, "work_order_id")
        await self._tell(uow, batch, [message.data.after.appeal_ids for message in batch])

    async def on_feedback(self, batch: Sequence[Message[FeedbackEvent]], uow: Uow) -> None:
        """feedback.ratings.v1: was it solved."""
        rows = [
            {
                "appeal_id": message.data.after.appeal_id,
                "sequence": message.sequence,
                "status": message.data.after.status,
                "method": message.data.after.method,
                "round": message.data.after.round,
                "feedback": as_json(message.data.after),
            }
            for message in batch
        ]
        await repository.upsert_newest(uow.pg, tables.case_feedback, rows, "appeal_id")
        await self._tell(uow, batch, [[message.data.after.appeal_id] for message in batch])
        await repository.derive_cases(uow.pg, [message.data.after.appeal_id for message in batch], derive)

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


def _appeals_of(event: WorkOrderEvent) -> list[str]:
    if isinstance(event, WorkOrderAppealParted) and event.appeal_id not in event.after.appeal_ids:
        return [*event.after.appeal_ids, event.appeal_id]
    return event.after.appeal_ids


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
