"""dispatch.handoffs.v1: a case offered to another platform. Key: handoff id. Owner: dispatch."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class Handoff(Snapshot, frozen=True, kw_only=True):
    """Public state of a hand-over (domain.md, "Dispatch", 6)."""

    id: str
    work_order_id: str
    appeal_ids: list[str]
    sender: str
    receiver: str
    path: list[str]
    """platform codes from sender to receiver"""
    state: str
    """offered, accepted, refused, completed, acknowledged"""
    region_code: str
    matter: str
    handling_class: str = msgspec.field(name="class")
    offered_at: datetime


class HandoffEvent(Event, frozen=True, kw_only=True):
    """Any fact of a hand-over."""

    topic: ClassVar[str] = "dispatch.handoffs.v1"
    after: Handoff


class HandoffOffered(HandoffEvent, frozen=True, kw_only=True):
    """跨区域协同: the case belongs to another platform; the sender owns it until accepted."""

    type: ClassVar[str] = "handoff.offered"
