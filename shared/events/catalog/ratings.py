"""feedback.ratings.v1: was it solved? Key: appeal id. Owner: feedback."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class Answer(Snapshot, frozen=True, kw_only=True):
    """The citizen's answers in one round; None = not answered."""

    round: int
    contacted: bool | None = None
    solved: bool | None = None
    satisfaction: int | None = None
    """1 to 5"""
    words: str | None = None
    """redacted"""
    at: datetime


class Feedback(Snapshot, frozen=True, kw_only=True):
    """Public state of an appeal's feedback (domain.md, "Feedback")."""

    appeal_id: str
    work_order_id: str
    unit: str
    """the unit that led at completion: it is scored"""
    region_code: str
    matter: str
    round: int
    method: str
    """callback or link"""
    status: str
    """open, second_handling, awaiting_decision (second bad rating: only the centre closes it), closed"""
    outcome: str | None = None
    """answered, refused, unreachable, expired, withdrawn, declined, cancelled, order_closed; None while open"""
    reached: bool = False
    """a person was reached or the link was answered: counts as asked"""
    answers: list[Answer] = msgspec.field(default_factory=list)
    """one per answered round, oldest first"""
    bad_ratings: int = 0
    unit_said_solved: bool | None = None
    false_completion_suspected: bool = False
    attempts: int = 0
    exclusion: str | None = None
    """requested, granted, refused"""
    opened_at: datetime
    expires_at: datetime | None = None
    closed_at: datetime | None = None


class FeedbackEvent(Event, frozen=True, kw_only=True):
    """Any fact of a feedback."""

    topic: ClassVar[str] = "feedback.ratings.v1"
    after: Feedback


class FeedbackOpened(FeedbackEvent, frozen=True, kw_only=True):
    """Asked after a completion, one round."""

    type: ClassVar[str] = "feedback.opened"


class FeedbackAttempted(FeedbackEvent, frozen=True, kw_only=True):
    """A call-back attempt; the first one stops the call-back clock."""

    type: ClassVar[str] = "feedback.attempted"
    attempt: int
    outcome: str
    """reached, no_answer, refused"""


class FeedbackAnswered(FeedbackEvent, frozen=True, kw_only=True):
    """The citizen answered. `bad`: not solved or satisfaction ≤ 2."""

    type: ClassVar[str] = "feedback.answered"
    answer: Answer
    bad: bool


class FeedbackClosed(FeedbackEvent, frozen=True, kw_only=True):
    """No further answer is waited for."""

    type: ClassVar[str] = "feedback.closed"


class FeedbackExclusionRequested(FeedbackEvent, frozen=True, kw_only=True):
    """剔除: the unit asks to leave the rating out."""

    type: ClassVar[str] = "feedback.exclusion_requested"
    exclusion_id: str


class FeedbackExclusionDecided(FeedbackEvent, frozen=True, kw_only=True):
    """The centre decided."""

    type: ClassVar[str] = "feedback.exclusion_decided"
    exclusion_id: str
    granted: bool
