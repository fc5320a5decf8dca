"""What a service reacts to: the rows of its `consumer.SUBSCRIPTIONS` table."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.events.event import Message, Unrecognised
from shared.outbox.uow import Timer, Uow

BatchHandler = Callable[[Sequence[Message[Any]], Uow], Awaitable[None]]
TimerHandler = Callable[[Sequence[Timer], Uow], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic and its handler.

    `order`: `latest`: the handler guards by `sequence` itself (projections keep the highest); `facts`: the runtime
    hands every fact of a key over exactly once and in sequence order, keeping early ones until the gap closes.
    `types`: event types wanted; None = all of the topic that this release knows. With `facts` the others still count
    in the sequence. `unrecognised`: hand over types that this release does not know, too.
    """

    topic: str
    handler: BatchHandler
    order: Literal["latest", "facts"] = "latest"
    types: frozenset[str] | None = None
    unrecognised: bool = False

    def wants(self, message: Message[Any]) -> bool:
        """Whether the handler is to see this message."""
        if isinstance(message.data, Unrecognised):
            return self.unrecognised
        return self.types is None or message.type in self.types
