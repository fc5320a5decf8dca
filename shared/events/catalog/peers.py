"""intake.peers.v1: what other platforms said over HTTP, checked and stored. Key: handoff id. Owner: intake."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class PeerHandoff(Snapshot, frozen=True, kw_only=True):
    """A hand-over as the other platforms told it; no contact data."""

    id: str
    role: str
    """of this platform: sender, relay, receiver"""
    sender: str
    receiver: str
    path: list[str]
    """platform codes from sender to receiver"""
    came_by: list[str] = msgspec.field(default_factory=list)
    """platforms that the case came through before this hand-over"""
    state: str
    """as last told: offered, accepted, refused, completed, acknowledged"""
    final: bool = False
    """no further receipt but the acknowledgement follows"""
    region_code: str
    matter: str = ""
    """by the sender's catalogue"""
    handling_class: str = msgspec.field(name="class", default="")
    offered_at: datetime


class PeerEvent(Event, frozen=True, kw_only=True):
    """Anything that another platform said about a hand-over."""

    topic: ClassVar[str] = "intake.peers.v1"
    after: PeerHandoff


class PeerOffered(PeerEvent, frozen=True, kw_only=True):
    """Another platform offers a case, to this platform or through it; dispatch decides."""

    type: ClassVar[str] = "peer.offered"
    text: str | None = None
    """redacted, at the receiver alone: for a person who decides"""


class PeerReported(PeerEvent, frozen=True, kw_only=True):
    """A receipt with news: `after.state` is what it said; `reason` and `result` are redacted."""

    type: ClassVar[str] = "peer.reported"
    seq: int
    """the receipt's number"""
    result: str | None = None
