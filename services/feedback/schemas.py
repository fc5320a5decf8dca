"""Request bodies of feedback (api.md, feedback)."""

from typing import Annotated, Literal

from pydantic import Field

from services.feedback.page import MOST_WORDS
from shared.http.bodies import Body

Words = Annotated[str, Field(max_length=MOST_WORDS)]
"""what a citizen adds to the three questions"""

Reason = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"\S")]

Satisfaction = Annotated[int, Field(ge=1, le=5)]


class AttemptBody(Body):
    """A call-back attempt. The answers belong to `reached`; any may be missing."""

    outcome: Literal["reached", "no_answer", "refused"]
    contacted: bool | None = None
    solved: bool | None = None
    satisfaction: Satisfaction | None = None
    words: Words | None = None


class RatingBody(Body):
    """The citizen's answers to the three questions."""

    contacted: bool
    solved: bool
    satisfaction: Satisfaction
    words: Words | None = None


class LeaseBody(Body):
    """How many call-backs a seat takes at once, and by what it can reach people."""

    limit: Annotated[int, Field(ge=1, le=50)] = 1
    media: Annotated[
        list[Literal["phone", "text", "sign_video"]],
        Field(min_length=1, max_length=3, default_factory=lambda: ["phone", "text"]),
    ]


class DecisionBody(Body):
    """Why the centre closes a case that was rated badly twice."""

    reason: Reason


class ContestBody(Body):
    """Who lost asks for a review."""

    reason: Reason
    evidence: Annotated[str, Field(max_length=4_000)] | None = None


class ExclusionBody(ContestBody):
    """A unit asks to leave a rating out."""

    appeal_id: Annotated[str, Field(min_length=1, max_length=64)]


class ExclusionDecisionBody(Body):
    """The centre's decision about an exclusion."""

    granted: bool
    reason: Reason


class FalseCompletionDecisionBody(Body):
    """The centre's decision about a completion that the citizen contradicted."""

    confirmed: bool
    reason: Reason
