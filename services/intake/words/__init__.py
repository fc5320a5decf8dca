"""The timeline in plain Chinese (domain.md, Feedback: "the state in plain words").

A citizen may read every sentence of a type in `FOR_CITIZENS`; the others are for the people who handle the case.
"""

from typing import Final

from services.intake.words.names import role_of
from services.intake.words.sentences import of
from shared.events.catalog import appeals, handoffs, ratings, work_orders

__all__ = ["EXPLAINED", "FOR_CITIZENS", "of", "role_of"]

FOR_CITIZENS: Final = frozenset(
    kind.type
    for kind in (
        appeals.AppealReceived,
        appeals.AppealWithdrawn,
        appeals.AppealDeclined,
        work_orders.WorkOrderDispatched,
        work_orders.WorkOrderAccepted,
        work_orders.WorkOrderContacted,
        work_orders.WorkOrderProgressed,
        work_orders.WorkOrderCompleted,
        work_orders.WorkOrderSuspended,
        work_orders.WorkOrderResumed,
        work_orders.WorkOrderExtended,
        work_orders.WorkOrderReopened,
        work_orders.WorkOrderAppealJoined,
        work_orders.WorkOrderAppealParted,
        work_orders.WorkOrderHandedOff,
        handoffs.HandoffCompleted,
        ratings.FeedbackOpened,
        ratings.FeedbackAnswered,
        ratings.FeedbackExclusionDecided,
        ratings.FeedbackFalseCompletionDecided,
    )
)

EXPLAINED: Final = frozenset(
    kind.type
    for kind in (
        appeals.AppealDeclined,
        ratings.FeedbackExclusionDecided,
        ratings.FeedbackFalseCompletionDecided,
    )
)
"""decisions that a citizen reads with their reason"""
