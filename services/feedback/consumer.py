"""What feedback reacts to."""

from services.feedback.handlers import Handlers
from shared.bus.subscriptions import Subscription


def subscriptions(handlers: Handlers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. Orders as facts: a completion that is missed would never be asked about."""
    return (
        Subscription(
            "intake.appeals.v1",
            handlers.on_appeals,
            types=frozenset({"appeal.received", "appeal.withdrawn", "appeal.declined"}),
        ),
        Subscription(
            "dispatch.work-orders.v1",
            handlers.on_orders,
            order="facts",
            types=frozenset(
                {
                    "work_order.completed",
                    "work_order.closed",
                    "work_order.cancelled",
                    "work_order.appeal_joined",
                    "work_order.appeal_parted",
                }
            ),
        ),
    )
