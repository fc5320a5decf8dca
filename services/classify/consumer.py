"""What classify reacts to."""

from services.classify.handlers.appeals import Appeals
from shared.bus.subscriptions import Subscription


def subscriptions(appeals: Appeals) -> tuple[Subscription, ...]:
    """The one table of subscriptions. An appeal is labelled once, by the first of its events that is read."""
    return (Subscription("intake.appeals.v1", appeals.on_appeals),)
