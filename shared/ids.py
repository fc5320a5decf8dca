"""One way to make identifiers: UUIDv7 (RFC 9562), ordered by time, as lower-case strings."""

from datetime import UTC, date, datetime
from uuid import UUID

import uuid_utils


def uuid7() -> str:
    """A new UUIDv7 as a 36-character string."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Whether it is an identifier in the form that `uuid7` gives."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def instant_of(identifier: str) -> datetime:
    """The UTC instant (milliseconds) inside a UUIDv7.

    Raises `ValueError` when the identifier is no UUID, or one whose instant no calendar has.
    """
    return datetime.fromtimestamp(int(identifier.replace("-", "")[:12], 16) / 1000, UTC)


def day_of(identifier: str) -> date:
    """The UTC day inside a UUIDv7: the same for every delivery of one event, so it can key a day partition."""
    return instant_of(identifier).date()
