"""What evaluate reacts to."""

from services.evaluate.handlers import Handlers
from shared.bus.subscriptions import Subscription


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Every row it writes is keyed by what it says, so repeats and disorder change
    nothing and no event has to wait for another."""
    return (
        Subscription("feedback.ratings.v1", handlers.on_ratings, keyed=True),
        Subscription(
            "dispatch.work-orders.v1",
            handlers.on_orders,
            types=frozenset(
                {"work_order.opened", "work_order.dispatched", "work_order.returned", "work_order.shirked"}
            ),
            keyed=True,
        ),
        Subscription(
            "sla.clocks.v1",
            handlers.on_clocks,
            types=frozenset({"clock.turned_red", "clock.corrected"}),
            keyed=True,
        ),
    )
