"""What the centre judges about a rating, each with a review one level up: 剔除 and 虚假办结 (domain.md, "Feedback").

A unit asks to leave a rating out; a completion is suspected to be false because the citizen contradicted it. In both a
person of the centre decides, and whoever lost, unit or citizen, may have it looked at once more by a leader who did
not decide it. That is the last word.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from services.feedback.domain.rounds import Story
from services.feedback.domain.values import (
    Change,
    Exclusion,
    FactKind,
    FalseCompletion,
    Feedback,
    Judged,
    Refusal,
    Review,
    Status,
    Verdict,
)

EXCLUSION_WORKING_DAYS = 5
REVIEW_WORKING_DAYS = 5
"""not in domain.md: as long as for the request itself"""

J = TypeVar("J", Exclusion, FalseCompletion)


def request_exclusion(feedback: Feedback, asked: Exclusion, deadline: datetime, actor: str) -> Change:
    """The unit that is scored asks, once per closed feedback and until `deadline`; else `Refusal`."""
    if feedback.status is not Status.CLOSED or not feedback.reached or not feedback.rounds:
        raise Refusal("nothing_rated", "Only a closed feedback in which the citizen was reached can be left out.")
    if feedback.rounds[-1].completion.unit != asked.unit:
        raise Refusal("not_your_rating", "Only the unit that led at completion can ask.")
    if feedback.exclusion is not None:
        raise Refusal("exclusion_exists", "An exclusion was asked for already.")
    if asked.asked_at > deadline:
        raise Refusal("too_late", "An exclusion can be asked for within five working days.")
    story = Story(feedback, asked.asked_at, actor)
    story.tell(FactKind.EXCLUSION_REQUESTED, replace(feedback, exclusion=asked), asked.reason, asked)
    return story.change()


def decide_exclusion(feedback: Feedback, granted: bool, at: datetime, actor: str, reason: str) -> Change:
    """The centre decides. Granted: the rating leaves both sides of every rate (domain.md, Evaluation)."""
    if feedback.exclusion is None or feedback.exclusion.granted is not None:
        raise Refusal("no_exclusion_open", "No exclusion waits for a decision.")
    decided = _decided(feedback.exclusion, granted, at, actor, reason)
    return _told(feedback, decided, FactKind.EXCLUSION_DECIDED, at, actor, reason)


def decide_false_completion(
    feedback: Feedback, number: int, granted: bool, at: datetime, actor: str, reason: str
) -> Change:
    """The centre confirms (`granted`) or denies that the completion of round `number` was false."""
    suspected = suspicion(feedback, number)
    if suspected.granted is not None:
        raise Refusal("decided_already", "This was decided; the side that lost can ask for a review.")
    decided = _decided(suspected, granted, at, actor, reason)
    return _told(feedback, decided, FactKind.FALSE_COMPLETION_DECIDED, at, actor, reason)


def request_review(
    feedback: Feedback,
    judged: Exclusion | FalseCompletion,
    asked: Review,
    *,
    for_unit: Collection[bool],
    deadline: datetime,
) -> Change:
    """Who lost asks for a review until `deadline`; else `Refusal`. `for_unit`: the sides for which the asking person
    speaks, True the unit, False the citizen."""
    if judged.granted is None:
        raise Refusal("not_decided", "Nothing is decided yet that could be reviewed.")
    if judged.review is not None:
        raise Refusal("review_exists", "A review was asked for already; it is given once.")
    # granted, an exclusion goes against the citizen and a false completion against the unit
    against_unit = judged.granted is isinstance(judged, FalseCompletion)
    if against_unit not in for_unit:
        raise Refusal("not_against_you", "Only the side against which was decided can ask for a review.")
    if asked.asked_at > deadline:
        raise Refusal("too_late", "A review can be asked for within five working days.")
    wished = replace(judged, review=asked)
    return _told(feedback, wished, FactKind.REVIEW_REQUESTED, asked.asked_at, asked.asked_by, asked.reason)


def decide_review(feedback: Feedback, judged: Exclusion | FalseCompletion, verdict: Verdict) -> Change:
    """A leader's last word, who is not the person that decided first; else `Refusal`."""
    review = judged.review
    if review is None or review.verdict is not None:
        raise Refusal("no_review_open", "No review waits for a decision.")
    if verdict.by == judged.decided_by:
        raise Refusal("same_person", "Who decided first does not review it; another leader has to.")
    decided = replace(judged, granted=verdict.granted, review=replace(review, verdict=verdict))
    kind = FactKind.EXCLUSION_DECIDED if isinstance(judged, Exclusion) else FactKind.FALSE_COMPLETION_DECIDED
    return _told(feedback, decided, kind, verdict.at, verdict.by, verdict.reason)


def suspicion(feedback: Feedback, number: int) -> FalseCompletion:
    """The suspected false completion of a round, or `Refusal`."""
    found = next((one for one in feedback.false_completions if one.round == number), None)
    if found is None:
        raise Refusal("nothing_suspected", "In this round the citizen did not contradict the unit.")
    return found


def _decided(judged: J, granted: bool, at: datetime, actor: str, reason: str) -> J:
    return replace(judged, granted=granted, decided_by=actor, decision=reason, decided_at=at)


def _told(feedback: Feedback, judged: Judged, kind: FactKind, at: datetime, actor: str, reason: str) -> Change:
    """The change that keeps `judged` in its place and tells of it."""
    story = Story(feedback, at, actor)
    if isinstance(judged, FalseCompletion):
        others = tuple(judged if one.round == judged.round else one for one in feedback.false_completions)
        story.tell(kind, replace(feedback, false_completions=others), reason, judged)
    elif isinstance(judged, Exclusion):
        story.tell(kind, replace(feedback, exclusion=judged), reason, judged)
    return story.change()
