"""What stands in the journal: the place of an event and the form in which it is handed on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One event at its position (1, 2, 3 … per platform, without gaps, in the order of commit)."""

    position: int
    id: str
    type: str
    source: str
    subject: str
    sequence: int
    time: datetime
    data: Any
    """the body as JSON"""
    traceparent: str | None = None

    def as_cloudevent(self) -> dict[str, Any]:
        """CloudEvents 1.0 in JSON format; `sushuposition` is the cursor of the feed."""
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "sequence": str(self.sequence),
            "sushuposition": self.position,
            "data": self.data,
        }
        if self.traceparent:
            event["traceparent"] = self.traceparent
        return event
