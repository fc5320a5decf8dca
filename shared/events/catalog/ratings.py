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


class FalseCompletion(Snapshot, frozen=True, kw_only=True):
    """虚假办结: the unit said solved and the citizen said not; it is one once the centre confirmed it."""

    round: int
    work_order_id: str
    order_round: int
    """of several citizens who contradict one completion, the order's round tells that it is the same"""
    unit: str
    state: str
    """suspected, confirmed, denied; a review may turn the last two around"""
    suspected_at: datetime
    decided_at: datetime | None = None
    """of the first decision"""


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
    medium: str | None = None
    """by what a seat asks: phone, text, sign_video; the last two beside a link. None: only the link asks"""
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
    false_completions: list[FalseCompletion] = msgspec.field(default_factory=list)
    """at most one per round, oldest first"""
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
    """The centre decided, or a review did."""

    type: ClassVar[str] = "feedback.exclusion_decided"
    exclusion_id: str
    granted: bool
    review: bool = False
    """the last word, one level up"""


class FeedbackFalseCompletionDecided(FeedbackEvent, frozen=True, kw_only=True):
    """虚假办结: the centre confirmed or denied it, or a review did."""

    type: ClassVar[str] = "feedback.false_completion_decided"
    round: int
    confirmed: bool
    review: bool = False
    """the last word, one level up"""


class FeedbackReviewRequested(FeedbackEvent, frozen=True, kw_only=True):
    """申诉: who lost asks for a review of a decision."""

    type: ClassVar[str] = "feedback.review_requested"
    of: str
    """exclusion, false_completion"""
    round: int | None = None
    """of a false completion"""
