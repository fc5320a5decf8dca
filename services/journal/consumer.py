"""What the journal reads: every topic there is, each fact of an aggregate in sequence order."""

from services.journal.handlers import Handlers
from shared.bus.subscriptions import Subscription
from shared.events import topics


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions."""
    return tuple(
        Subscription(topic, handlers.on_events, order="facts", unrecognised=True) for topic in sorted(topics.load())
    )
