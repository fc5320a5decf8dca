"""What the journal reads: every topic of this platform, each fact of an aggregate in sequence order."""

from services.journal.handlers import Handlers
from shared.bus.subscriptions import Subscription
from shared.events import topics


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Events of other platforms stand in the journals there."""
    return tuple(
        Subscription(name, handlers.on_events, order="facts", unrecognised=True)
        for name, topic in sorted(topics.load().items())
        if not topic.carries
    )
