"""What sla reacts to."""

from services.sla.handlers import Handlers
from shared.bus.subscriptions import Subscription


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Every fact counts, in its key's order: a missed stop would be an escalation."""
    return (
        Subscription("dispatch.work-orders.v1", handlers.on_orders, order="facts"),
        Subscription("feedback.ratings.v1", handlers.on_feedback, order="facts"),
    )
