"""What feedback speaks of: answers, calls, completions, rounds, what the centre judges, and the aggregate of an appeal.

Rules: domain.md, "Feedback". All times are aware datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

BAD_SATISFACTION = 2  # domain.md, Feedback: not solved or satisfaction <= 2
MAX_ATTEMPTS = 3


class Method(StrEnum):
    """How the citizen is asked in a round."""

    CALLBACK = "callback"
    LINK = "link"


class Medium(StrEnum):
    """By what a seat reaches the citizen."""

    PHONE = "phone"
    TEXT = "text"
    SIGN_VIDEO = "sign_video"


class Status(StrEnum):
    WAITING = "waiting"  # nothing was completed yet
    OPEN = "open"  # a round is being asked
    SECOND_HANDLING = "second_handling"  # bad answer; the order is handled again
    AWAITING_DECISION = "awaiting_decision"  # bad again; only the centre closes it
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a round, and in the end the feedback, was closed."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    ORDER_CLOSED = "order_closed"


class AttemptOutcome(StrEnum):
    REACHED = "reached"
    NO_ANSWER = "no_answer"
    REFUSED = "refused"


class FactKind(StrEnum):
    OPENED = "opened"
    ATTEMPTED = "attempted"
    ANSWERED = "answered"
    CLOSED = "closed"
    EXCLUSION_REQUESTED = "exclusion_requested"
    EXCLUSION_DECIDED = "exclusion_decided"
    FALSE_COMPLETION_DECIDED = "false_completion_decided"
    REVIEW_REQUESTED = "review_requested"


class Refusal(Exception):
    """The rules do not allow this now; `code` is stable, the text says what to do, `retry_at` when to come again."""

    def __init__(self, code: str, detail: str, retry_at: datetime | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True)
class Answer:
    """The three questions. A call may leave any unanswered (None); a link answers all. satisfaction is 1–5."""

    contacted: bool | None
    solved: bool | None
    satisfaction: int | None
    words: str | None = None

    def __post_init__(self) -> None:
        if self.satisfaction is not None and not 1 <= self.satisfaction <= 5:
            raise ValueError(f"satisfaction is 1 to 5, not {self.satisfaction}")

    @property
    def bad(self) -> bool:
        return self.solved is False or (self.satisfaction is not None and self.satisfaction <= BAD_SATISFACTION)


@dataclass(frozen=True, slots=True)
class Attempt:
    at: datetime
    outcome: AttemptOutcome
    seat: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What a unit finished: one round of one work order. `solved` is the unit's own word, `result` its answer."""

    work_order_id: str
    order_round: int
    unit: str
    solved: bool
    region_code: str
    matter: str
    at: datetime
    unit_name: str = ""
    matter_name: str = ""
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One asking of the citizen about one completion. `number` picks the rating token of intake (1, 2, 3)."""

    number: int
    method: Method
    completion: Completion
    expires_at: datetime | None = None  # links only
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome | None = None  # None while it is being asked
    answer: Answer | None = None
    closed_at: datetime | None = None
    medium: Medium | None = None  # for those who cannot be phoned

    @property
    def open(self) -> bool:
        return self.outcome is None

    @property
    def seat_medium(self) -> Medium | None:
        """By what a seat asks; None: only the link does."""
        return self.medium or (Medium.PHONE if self.method is Method.CALLBACK else None)

    @property
    def contradicted(self) -> bool:
        """The unit said solved and the citizen said not."""
        return self.completion.solved and self.answer is not None and self.answer.solved is False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a review."""

    granted: bool
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Review:
    """申诉: who lost asks once more, one level up. `against` is the decision that was given first."""

    asked_by: str
    asked_at: datetime
    reason: str
    evidence: str | None
    against: bool
    verdict: Verdict | None = None

    @property
    def state(self) -> str:
        """requested, upheld (the first decision stands), overturned"""
        if self.verdict is None:
            return "requested"
        return "upheld" if self.verdict.granted is self.against else "overturned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the centre decides: `granted` is its last word, None until there is one; `decided_by`, `decided_at` and
    `decision` (the reason) are of the first."""

    granted: bool | None = None
    decided_by: str | None = None
    decision: str | None = None
    decided_at: datetime | None = None
    review: Review | None = None


@dataclass(frozen=True, slots=True)
class Exclusion(Judged):
    """剔除: a unit's request to leave the rating out, and the centre's decision."""

    id: str
    unit: str
    reason: str
    evidence: str | None
    asked_at: datetime

    @property
    def state(self) -> str:
        return {None: "requested", True: "granted", False: "refused"}[self.granted]


@dataclass(frozen=True, slots=True)
class FalseCompletion(Judged):
    """虚假办结: in round `round` the unit said solved and the citizen said not. It is one when the centre grants it."""

    round: int
    suspected_at: datetime

    @property
    def state(self) -> str:
        return {None: "suspected", True: "confirmed", False: "denied"}[self.granted]


@dataclass(frozen=True, slots=True)
class Asking:
    """What feedback knows of an appeal: how its reporter can be asked, and how many rating tokens it has."""

    channel: str
    groups: frozenset[str] = frozenset()
    tokens: int = 3

    def method(self, number: int) -> Method:
        """Phone reporters are called, deaf ones get a link; others get a link while the round has a token."""
        if number > self.tokens or (self.channel == "phone" and "deaf" not in self.groups):
            return Method.CALLBACK
        return Method.LINK

    @property
    def medium(self) -> Medium | None:
        """What a seat uses for those who cannot be phoned, beside their link: sign language for who came in it, writing
        for a deaf phone reporter."""
        if self.channel == "sign_video":
            return Medium.SIGN_VIDEO
        return Medium.TEXT if self.channel == "phone" and "deaf" in self.groups else None


@dataclass(frozen=True, slots=True)
class Feedback:
    """The aggregate of one appeal. `sequence` counts its facts from 1."""

    appeal_id: str
    sequence: int = 0
    status: Status = Status.WAITING
    rounds: tuple[Round, ...] = ()
    bad_ratings: int = 0
    false_completion_suspected: bool = False
    outcome: Outcome | None = None
    closed_at: datetime | None = None
    exclusion: Exclusion | None = None
    false_completions: tuple[FalseCompletion, ...] = ()  # at most one of each round
    completed_at: datetime | None = None  # of the latest completion heard of, asked about or not

    @property
    def current(self) -> Round | None:
        return self.rounds[-1] if self.rounds else None

    @property
    def reached(self) -> bool:
        """A person was reached, refusals included, or a link was answered: "asked" of domain.md, Evaluation."""
        return any(r.outcome in (Outcome.ANSWERED, Outcome.REFUSED) for r in self.rounds)

    @property
    def answer(self) -> Answer | None:
        """The last answer: the one that counts (domain.md, Evaluation)."""
        return next((r.answer for r in reversed(self.rounds) if r.answer is not None), None)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened: becomes one event, numbered and explained by `after`. `about`: what was judged or is
    to be reviewed."""

    kind: FactKind
    at: datetime
    actor: str
    after: Feedback
    reason: str | None = None
    about: Exclusion | FalseCompletion | None = None


@dataclass(frozen=True, slots=True)
class Change:
    feedback: Feedback
    facts: tuple[Fact, ...] = ()
