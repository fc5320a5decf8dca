"""What evaluate reacts to."""

from services.evaluate.facts import TYPES
from services.evaluate.handlers import Handlers
from shared.bus.subscriptions import Subscription


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Every row it writes is keyed by what it says, so repeats and disorder change
    nothing and no event has to wait for another. What comes from the platforms below (`peer.…`) is kept by the same
    rules: the platform is part of every key."""
    return (
        Subscription("feedback.ratings.v1", handlers.on_ratings, types=TYPES["feedback.ratings.v1"], keyed=True),
        Subscription(
            "dispatch.work-orders.v1",
            handlers.on_orders,
            types=TYPES["dispatch.work-orders.v1"] | {"work_order.completed"},
            keyed=True,
        ),
        Subscription(
            "sla.clocks.v1",
            handlers.on_clocks,
            types=TYPES["sla.clocks.v1"],
            keyed=True,
        ),
        Subscription("classify.labels.v1", handlers.on_labels, types=TYPES["classify.labels.v1"], keyed=True),
        Subscription("feedback.signs.v1", handlers.on_signs, keyed=True),
        Subscription("peer.ratings.v1", handlers.on_ratings, types=TYPES["feedback.ratings.v1"], keyed=True),
        Subscription("peer.work-orders.v1", handlers.on_orders, types=TYPES["dispatch.work-orders.v1"], keyed=True),
        Subscription("peer.clocks.v1", handlers.on_clocks, types=TYPES["sla.clocks.v1"], keyed=True),
        Subscription("peer.labels.v1", handlers.on_labels, types=TYPES["classify.labels.v1"], keyed=True),
    )
