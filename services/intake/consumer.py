"""What intake reacts to: the streams of the loop, for the case view, the timeline and the search."""

from services.intake.projections import on_streams
from shared.bus.subscriptions import Subscription

STREAMS = (
    "classify.labels.v1",
    "dispatch.work-orders.v1",
    "dispatch.handoffs.v1",
    "sla.clocks.v1",
    "feedback.ratings.v1",
)


def subscriptions() -> tuple[Subscription, ...]:
    """The one table. Rows are kept by the highest `sequence`, the timeline by event id: repeats change nothing."""
    return tuple(Subscription(topic, on_streams, keyed=True) for topic in STREAMS)
