"""dispatch.handoffs.v1: what this platform decides about hand-overs. Key: handoff id. Owner: dispatch.

The sender, the receiver and every platform on the way have a stream of their own about the same hand-over."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class JointPart(Snapshot, frozen=True, kw_only=True):
    """What a platform is asked to do of a case that another one leads (domain.md, "Dispatch", 5)."""

    task: str
    """redacted"""
    asked_at: datetime
    """its clocks count from here"""
    allowed_s: int | None = None
    """how long it may take, in natural seconds, inside the lead's own deadline"""


class Handoff(Snapshot, frozen=True, kw_only=True):
    """Public state of a hand-over (domain.md, "Dispatch", 6)."""

    id: str
    work_order_id: str
    """the sender's order; empty at the other platforms"""
    appeal_ids: list[str]
    """the sender's appeals; empty at the other platforms"""
    sender: str
    receiver: str
    path: list[str]
    """platform codes from sender to receiver"""
    state: str
    """offered, accepted, refused, completed, acknowledged; withdrawn: the sender took the offer, or a part, back"""
    region_code: str
    matter: str
    handling_class: str = msgspec.field(name="class")
    offered_at: datetime
    joint: JointPart | None = None
    """at the sender, of a part of joint work: the case itself stays with him"""


class HandoffEvent(Event, frozen=True, kw_only=True):
    """Any fact of a hand-over."""

    topic: ClassVar[str] = "dispatch.handoffs.v1"
    after: Handoff


class HandoffOffered(HandoffEvent, frozen=True, kw_only=True):
    """跨区域协同: the case belongs to another platform; the sender owns it until accepted."""

    type: ClassVar[str] = "handoff.offered"


class HandoffForwarded(HandoffEvent, frozen=True, kw_only=True):
    """On the way: this platform lies between sender and receiver and passes the offer on."""

    type: ClassVar[str] = "handoff.forwarded"


class HandoffAccepted(HandoffEvent, frozen=True, kw_only=True):
    """At the receiver: it will take the case, which is the sender's until he has heard it. At the sender: he has heard
    it, the case is the receiver's from here on."""

    type: ClassVar[str] = "handoff.accepted"


class HandoffRefused(HandoffEvent, frozen=True, kw_only=True):
    """The receiver does not take it, `reason` says why; it stays with the sender's centre."""

    type: ClassVar[str] = "handoff.refused"


class HandoffWithdrawn(HandoffEvent, frozen=True, kw_only=True):
    """The sender gave the case another way, or the citizen took it back, before an acceptance was heard; or the lead
    recalled a part of joint work, accepted or not."""

    type: ClassVar[str] = "handoff.withdrawn"


class HandoffCompleted(HandoffEvent, frozen=True, kw_only=True):
    """The receiver's unit has answered the case."""

    type: ClassVar[str] = "handoff.completed"


class HandoffAcknowledged(HandoffEvent, frozen=True, kw_only=True):
    """The sender knows the end of it, rating included; nothing follows."""

    type: ClassVar[str] = "handoff.acknowledged"
