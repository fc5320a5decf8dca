"""What classify reacts to."""

from services.classify.handlers.appeals import Appeals
from services.classify.handlers.reviews import Reviews
from services.classify.tag_care.keeping import Tags
from shared.bus.subscriptions import Subscription

LATE = frozenset({"clock.turned_yellow", "clock.turned_red", "clock.escalated"})


def subscriptions(appeals: Appeals, reviews: Reviews, tags: Tags) -> tuple[Subscription, ...]:
    """The one table of subscriptions. An appeal is labelled once, by the first of its events that is read. Of orders
    only the unit is kept that got them last, of clocks how late a review is: by sequence, so repeats change nothing."""
    return (
        Subscription("intake.appeals.v1", appeals.on_appeals),
        Subscription("dispatch.work-orders.v1", tags.on_orders, types=frozenset({"work_order.dispatched"}), keyed=True),
        Subscription("sla.clocks.v1", reviews.on_clocks, types=LATE, keyed=True),
    )
