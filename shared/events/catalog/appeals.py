"""intake.appeals.v1: what a citizen said, once, through one channel. Key: appeal id. Owner: intake."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.catalog.handoffs import JointPart
from shared.events.event import Event, Snapshot


class Reporter(Snapshot, frozen=True, kw_only=True):
    """The citizen without identity: contact data never leave intake (domain.md, "Privacy and audit")."""

    pseudonym: str | None = None
    """HMAC(platform key, normalised phone or ID number) in hex; None for anonymous"""
    groups: list[str] = msgspec.field(default_factory=list)
    """elderly, disabled, deaf, minor, new_resident, pregnant, veteran"""
    anonymous: bool = False
    confidential: bool = False


class Place(Snapshot, frozen=True, kw_only=True):
    """Where it is: region code down to community, coordinates rounded to 0.005°."""

    region_code: str
    confidence: float = 0.0
    candidates: list[str] = msgspec.field(default_factory=list)
    lon: float | None = None
    lat: float | None = None


class Emergency(Snapshot, frozen=True, kw_only=True):
    """先处置后补单: the action came first, clocks count from `taken_at`."""

    taken_at: datetime
    by: str
    what: str


class Link(Snapshot, frozen=True, kw_only=True):
    """A person's wish to join this appeal to another."""

    to: str
    relation: str
    """repeat or same_event"""


class Appeal(Snapshot, frozen=True, kw_only=True):
    """Public state of an appeal; title and text are redacted."""

    id: str
    platform: str
    reference_no: str
    channel: str
    text: str
    title: str | None = None
    kind: str | None = None
    """as the channel gave it; classify decides"""
    received_at: datetime
    """of a case that another platform handed over: when that one, the first of all, received it"""
    occurred_at: datetime | None = None
    source_platform: str
    reporter: Reporter
    place: Place
    emergency_action: Emergency | None = None
    rating_token_sha256: list[str]
    """SHA-256 (hex) of the rating tokens of feedback rounds 1, 2, 3"""
    status: str
    """intake's own part: received, declined, withdrawn"""
    link: Link | None = None
    came_by: list[str] = msgspec.field(default_factory=list)
    """platforms that handed the case over to here, the first sender first; it is not offered back to them"""
    joint: JointPart | None = None
    """the part of the work that is asked of this platform, when another one leads the case"""


class AppealEvent(Event, frozen=True, kw_only=True):
    """Any fact of an appeal."""

    topic: ClassVar[str] = "intake.appeals.v1"
    after: Appeal


class AppealReceived(AppealEvent, frozen=True, kw_only=True):
    """The appeal is committed at the platform."""

    type: ClassVar[str] = "appeal.received"


class AppealWithdrawn(AppealEvent, frozen=True, kw_only=True):
    """The citizen takes it back."""

    type: ClassVar[str] = "appeal.withdrawn"


class AppealDeclined(AppealEvent, frozen=True, kw_only=True):
    """不予受理, decided by a person, with a reason and the right of review."""

    type: ClassVar[str] = "appeal.declined"


class AppealLinkRequested(AppealEvent, frozen=True, kw_only=True):
    """A person links it to another appeal; dispatch joins the orders."""

    type: ClassVar[str] = "appeal.link_requested"
    link: Link


class AppealUnlinkRequested(AppealEvent, frozen=True, kw_only=True):
    """A person undoes a link; dispatch opens an order with clocks from the original `received_at`."""

    type: ClassVar[str] = "appeal.unlink_requested"
