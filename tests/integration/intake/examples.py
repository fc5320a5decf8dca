"""Events of the other services, as small as they may be, for the projections of intake."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from shared.events.catalog.clocks import ClockSet, ClockState
from shared.events.catalog.labels import Label, Matter, Tag
from shared.events.catalog.ratings import Feedback
from shared.events.catalog.work_orders import WorkOrder


def label(appeal_id: str, **changes: Any) -> Label:
    matter = Matter(code="CG-01-02", path=["城市管理", "市政设施", "路灯"], probability=0.93, evidence=["路灯"])
    fields: dict[str, Any] = {
        "appeal_id": appeal_id,
        "matter": matter,
        "candidates": [matter],
        "tags": [
            Tag(code="night", name="夜间", family="spacetime", confidence=0.9, source="rule"),
            Tag(code="lighting", name="照明", family="subject", confidence=0.8, source="rule"),
        ],
        "handling_class": "general",
        "kind": "complaint",
        "region_code": "460106",
        "model": "rules",
        "catalogue_version": "1",
        "needs_review": False,
    }
    return Label(**(fields | changes))


def order(order_id: str, appeal_ids: list[str], at: datetime, **changes: Any) -> WorkOrder:
    fields: dict[str, Any] = {
        "id": order_id,
        "platform": "460100",
        "appeal_ids": appeal_ids,
        "status": "dispatched",
        "lead": "u-lighting",
        "lead_name": "市政路灯所",
        "lead_region": "460106",
        "handling_class": "general",
        "matter": "CG-01-02",
        "matter_path": ["城市管理", "市政设施", "路灯"],
        "kind": "complaint",
        "region_code": "460106",
        "channel": "phone",
        "version": 1,
        "received_at": at,
        "opened_at": at,
        "dispatched_at": at,
    }
    return WorkOrder(**(fields | changes))


def clock_set(order_id: str, appeal_ids: list[str], at: datetime, **changes: Any) -> ClockSet:
    state = ClockState(
        clock="accept",
        round=1,
        started_at=at,
        due_at=at + timedelta(hours=4),
        yellow_at=at + timedelta(hours=3),
        lamp="green",
        used_s=0,
        allowed_s=14400,
        unit_of_time="working",
    )
    fields: dict[str, Any] = {
        "work_order_id": order_id,
        "appeal_ids": appeal_ids,
        "unit": "u-lighting",
        "region_code": "460106",
        "handling_class": "general",
        "lamp": "green",
        "level": 0,
        "clocks": [state],
    }
    return ClockSet(**(fields | changes))


def feedback(appeal_id: str, order_id: str, at: datetime, **changes: Any) -> Feedback:
    fields: dict[str, Any] = {
        "appeal_id": appeal_id,
        "work_order_id": order_id,
        "unit": "u-lighting",
        "region_code": "460106",
        "matter": "CG-01-02",
        "round": 1,
        "method": "link",
        "status": "open",
        "opened_at": at,
    }
    return Feedback(**(fields | changes))
