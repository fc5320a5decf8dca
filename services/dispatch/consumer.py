"""What dispatch reacts to."""

from services.dispatch.handlers import Handovers, Reactions
from shared.bus.subscriptions import Subscription


def subscriptions(reactions: Reactions, handovers: Handovers) -> tuple[Subscription, ...]:
    """The one table of subscriptions. All are snapshots kept by their highest sequence."""
    return (
        Subscription("intake.appeals.v1", reactions.on_appeals),
        Subscription("classify.labels.v1", reactions.on_labels),
        Subscription("classify.catalogues.v1", reactions.on_catalogues, keyed=True),
        Subscription("feedback.ratings.v1", reactions.on_feedback),
        Subscription("intake.attachments.v1", reactions.on_attachments, keyed=True),
        Subscription("intake.peers.v1", handovers.on_peers),
        Subscription(
            "sla.clocks.v1",
            reactions.on_clocks,
            # a clock that starts is green: only what changes a lamp or a deadline is read
            types=frozenset(
                {
                    "clock.stopped",
                    "clock.rebased",
                    "clock.turned_yellow",
                    "clock.turned_red",
                    "clock.escalated",
                    "clock.corrected",
                }
            ),
            keyed=True,
        ),
    )
