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
    """One topic and its handler. Topics with the same handler are handed over together, in the order of the table.

    `order`: `latest`: the handler guards by `sequence` itself (projections keep the highest); `facts`: the runtime
    hands every fact of a key over exactly once and in sequence order, keeping early ones until the gap closes.
    `types`: event types wanted; None = all of the topic that this release knows. With `facts` the others still count
    in the sequence. `unrecognised`: hand over types that this release does not know, too. `keyed` (with `latest`):
    everything the handler writes is keyed by what the events say, so a repeat changes nothing and the runtime need not
    remember their ids ([ADR 0010](../../docs/adr/0010-what-repeats-cannot-change-is-not-remembered.md)).
    """

    topic: str
    handler: BatchHandler
    order: Literal["latest", "facts"] = "latest"
    types: frozenset[str] | None = None
    unrecognised: bool = False
    keyed: bool = False

    def reads(self, kind: str) -> bool:
        """Whether the body of an event of type `kind` is to be read at all."""
        return self.types is None or kind in self.types

    def wants(self, message: Message[Any]) -> bool:
        """Whether the handler is to see this message."""
        if isinstance(message.data, Unrecognised):
            return self.unrecognised
        return self.types is None or message.type in self.types
