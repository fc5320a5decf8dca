"""What handlers of batches share."""

from collections.abc import Iterable
from typing import TypeVar

from shared.events.event import Event, Message

E = TypeVar("E", bound=Event)


def newest(batch: Iterable[Message[E]]) -> dict[str, Message[E]]:
    """The message with the highest sequence of each key: all that a reader of snapshots needs of a batch.

    What it says besides its snapshot may hide an earlier message of the batch: act on `data.after`, not on the class.
    """
    found: dict[str, Message[E]] = {}
    for message in batch:
        known = found.get(message.key)
        if known is None or known.sequence < message.sequence:
            found[message.key] = message
    return found
