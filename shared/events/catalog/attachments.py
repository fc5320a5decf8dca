"""intake.attachments.v1: files of cases, without their names and contents. Key: attachment id. Owner: intake."""

from datetime import datetime
from typing import ClassVar

from shared.events.event import Event, Snapshot


class Attachment(Snapshot, frozen=True, kw_only=True):
    """A file that belongs to a case."""

    id: str
    platform: str
    appeal_id: str
    purpose: str
    """material (of the citizen), evidence (of a unit)"""
    media_type: str
    """by its content"""
    size: int
    """bytes"""
    sha256: str
    """of its content, in hex"""
    stored_at: datetime
    removed: bool = False


class AttachmentEvent(Event, frozen=True, kw_only=True):
    """Any fact of an attachment."""

    topic: ClassVar[str] = "intake.attachments.v1"
    after: Attachment


class AttachmentStored(AttachmentEvent, frozen=True, kw_only=True):
    """The file is stored for good and belongs to the case."""

    type: ClassVar[str] = "attachment.stored"


class AttachmentRemoved(AttachmentEvent, frozen=True, kw_only=True):
    """The content is deleted, the reason says why; that it was there stays known."""

    type: ClassVar[str] = "attachment.removed"
