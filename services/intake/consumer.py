"""What intake reacts to: the streams of the loop, for the case view, the timeline and the search; dispatch's decisions
about hand-overs, which it brings to the other platforms."""

from services.intake.projections import Projections
from shared.bus.subscriptions import Subscription

STREAMS = (
    "classify.labels.v1",
    "dispatch.work-orders.v1",
    "sla.clocks.v1",
    "feedback.ratings.v1",
)


def subscriptions(projections: Projections) -> tuple[Subscription, ...]:
    """The one table. Rows are kept by the highest `sequence`, the timeline by event id: repeats change nothing."""
    handler = projections.on_streams
    return (
        *(Subscription(topic, handler, keyed=True) for topic in STREAMS),
        Subscription("dispatch.handoffs.v1", projections.on_handoffs, keyed=True),
    )
