"""What intake reacts to: the streams of the loop, for the case view, the timeline and the search."""

from services.intake.projections import Projections
from shared.bus.subscriptions import Subscription


def subscriptions(projections: Projections) -> tuple[Subscription, ...]:
    """The one table."""
    return (
        Subscription("classify.labels.v1", projections.on_labels),
        Subscription("dispatch.work-orders.v1", projections.on_work_orders),
        Subscription("dispatch.handoffs.v1", projections.on_handoffs),
        Subscription("sla.clocks.v1", projections.on_clocks),
        Subscription("feedback.ratings.v1", projections.on_feedback),
    )
