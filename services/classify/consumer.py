"""What classify reacts to."""

from services.classify.handlers.appeals import Appeals
from services.classify.tag_care.keeping import Tags
from shared.bus.subscriptions import Subscription


def subscriptions(appeals: Appeals, tags: Tags) -> tuple[Subscription, ...]:
    """The one table of subscriptions. An appeal is labelled once, by the first of its events that is read; of orders
    only the unit is kept that got them last, so repeats change nothing."""
    return (
        Subscription("intake.appeals.v1", appeals.on_appeals),
        Subscription("dispatch.work-orders.v1", tags.on_orders, types=frozenset({"work_order.dispatched"}), keyed=True),
    )
