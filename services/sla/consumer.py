"""What sla reacts to."""

from services.sla.handlers import Handlers
from shared.bus.subscriptions import Subscription
from shared.events.catalog.evaluations import EvaluationUnitWarned


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Every fact of an order counts, in its key's order: a missed stop would be an
    escalation. Warnings of units stand by themselves."""
    return (
        Subscription("dispatch.work-orders.v1", handlers.on_orders, order="facts"),
        Subscription("feedback.ratings.v1", handlers.on_feedback, order="facts"),
        Subscription(
            "evaluate.evaluations.v1", handlers.supervision.on_warnings, types=frozenset({EvaluationUnitWarned.type})
        ),
    )
