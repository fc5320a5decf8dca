"""sla.notices.v1: what supervisors are to be told, ready to be sent. Key: notice id. Owner: sla."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class Notice(Snapshot, frozen=True, kw_only=True):
    """One notice; it is said once and never changes."""

    id: str
    kind: str
    """supervision: a level was raised; climbed: nobody took notice of one; digest: all that an outage delayed;
    withdrawn: one that was told is taken back; special: a unit is under special supervision, no single order"""
    audience: str
    """unit:<code>, region:<code> or platform:<code>"""
    level: int
    """the audience's level: 1 street, 2 district, 3 city joint"""
    words: str
    count: int = 1
    """how many supervisions it speaks of"""
    supervision_ids: list[str] = msgspec.field(default_factory=list)
    """the oldest first; of a digest the first hundred"""
    work_order_ids: list[str] = msgspec.field(default_factory=list)
    """of those supervisions, in the same order"""
    by_unit: dict[str, int] = msgspec.field(default_factory=dict)
    since: datetime | None = None
    """the oldest instant at which one of them was due to be raised"""


class NoticeIssued(Event, frozen=True, kw_only=True):
    """Somebody is to be told."""

    topic: ClassVar[str] = "sla.notices.v1"
    type: ClassVar[str] = "notice.issued"
    after: Notice
