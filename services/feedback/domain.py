"""Feedback of one appeal: rounds of asking the citizen, what a bad answer leads to, and when it is over.

Rules: domain.md, "Feedback". Pure: every function takes the present value and the time of the fact, and gives the next
value with the facts that happened. Nothing here reads a clock or a table. All times are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

BAD_SATISFACTION = 2  # domain.md, Feedback: not solved or satisfaction <= 2
MAX_ATTEMPTS = 3
LINK_OPEN_FOR = timedelta(days=15)
EXCLUSION_WORKING_DAYS = 5
CLOSE_OF_BUSINESS = time(17, 30)


class Method(StrEnum):
    """How the citizen is asked in a round."""

    CALLBACK = "callback"
    LINK = "link"


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

    @property
    def open(self) -> bool:
        return self.outcome is None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """剔除: a unit's request to leave the rating out, and the centre's decision (`granted` None until then)."""

    id: str
    unit: str
    reason: str
    evidence: str | None
    asked_at: datetime
    granted: bool | None = None
    decided_by: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened: becomes one event, numbered and explained by `after`."""

    kind: FactKind
    at: datetime
    actor: str
    after: Feedback
    reason: str | None = None


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


@dataclass(frozen=True, slots=True)
class Feedback:
    """The aggregate of one appeal. `sequence` counts its facts from 1."""

    appeal_id: str
    sequence: int = 0
    status: Status = Status.WAITING
    rounds: tuple[Round, ...] = ()
    bad_ratings: int = 0
    false_completion_suspected: bool = False  # 虚假办结: the unit said solved, the citizen not; the centre judges
    outcome: Outcome | None = None
    closed_at: datetime | None = None
    exclusion: Exclusion | None = None

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
class Change:
    feedback: Feedback
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class HalfDay:
    day: date
    afternoon: bool


@dataclass(frozen=True, slots=True)
class CallingHours:
    """When a citizen may be called: 09:00–21:00 of the zone, two half-days split at 13:30 (domain.md, Feedback)."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    opens: time = time(9)
    split: time = time(13, 30)
    closes: time = time(21)

    def half_day(self, at: datetime) -> HalfDay | None:
        """The half-day of `at`, or None outside the hours."""
        local = at.astimezone(self.zone)
        if not self.opens <= local.time() < self.closes:
            return None
        return HalfDay(local.date(), local.time() >= self.split)

    def next_start(self, since: datetime, tried: Iterable[HalfDay] = ()) -> datetime:
        """The earliest instant ≥ `since` inside the hours and outside the half-days already tried."""
        used = set(tried)
        here = self.half_day(since)
        if here is not None and here not in used:
            return since
        day = since.astimezone(self.zone).date()
        while True:
            for afternoon, starts in ((False, self.opens), (True, self.split)):
                start = datetime.combine(day, starts, self.zone)
                if start >= since and HalfDay(day, afternoon) not in used:
                    return start
            day += timedelta(days=1)

    def next_attempt(self, asked: Round) -> datetime:
        """When the next call of a round may be made."""
        tried = [half for a in asked.attempts if (half := self.half_day(a.at)) is not None]
        return self.next_start(asked.attempts[-1].at if asked.attempts else asked.completion.at, tried)


class _Story:
    """Collects the facts of one change and numbers them."""

    def __init__(self, feedback: Feedback, at: datetime, actor: str) -> None:
        self.feedback = feedback
        self.at = at
        self.actor = actor
        self.facts: list[Fact] = []

    def tell(self, kind: FactKind, after: Feedback, reason: str | None = None) -> None:
        self.feedback = replace(after, sequence=self.feedback.sequence + 1)
        self.facts.append(Fact(kind, self.at, self.actor, self.feedback, reason))

    def with_round_ended(self, outcome: Outcome, answer: Answer | None = None) -> Feedback:
        *before, last = self.feedback.rounds
        ended = replace(last, outcome=outcome, answer=answer, closed_at=self.at)
        return replace(self.feedback, rounds=(*before, ended))

    def close(self, after: Feedback, outcome: Outcome, reason: str | None = None) -> None:
        closed = replace(after, status=Status.CLOSED, outcome=outcome, closed_at=self.at)
        self.tell(FactKind.CLOSED, closed, reason)

    def answered(self, answer: Answer) -> None:
        after = self.with_round_ended(Outcome.ANSWERED, answer)
        if after.rounds[-1].completion.solved and answer.solved is False:
            after = replace(after, false_completion_suspected=True)
        if not answer.bad:
            self.tell(FactKind.ANSWERED, after)
            self.close(self.feedback, Outcome.ANSWERED)
        else:
            first = after.bad_ratings == 0
            status = Status.SECOND_HANDLING if first else Status.AWAITING_DECISION
            self.tell(FactKind.ANSWERED, replace(after, bad_ratings=after.bad_ratings + 1, status=status))

    def change(self) -> Change:
        return Change(self.feedback, tuple(self.facts))


def open_round(feedback: Feedback, asking: Asking, completion: Completion) -> Change:
    """A unit completed the order: ask the citizen, unless this completion was asked already or nobody waits for it.

    A round that is still open stays as it is: the link in the citizen's hands keeps working. A closed feedback opens
    again only for another order (the appeal was unlinked and got its own).
    """
    story = _Story(feedback, completion.at, f"unit:{completion.unit}")
    seen = [r.completion for r in feedback.rounds]
    asked = any((c.work_order_id, c.order_round) == (completion.work_order_id, completion.order_round) for c in seen)
    another_order = all(c.work_order_id != completion.work_order_id for c in seen)
    waits = feedback.status in (Status.WAITING, Status.SECOND_HANDLING) or (
        feedback.status is Status.CLOSED
        and another_order
        and feedback.outcome not in (Outcome.WITHDRAWN, Outcome.DECLINED)
    )
    if waits and not asked:
        number = len(feedback.rounds) + 1
        method = asking.method(number)
        expires_at = completion.at + LINK_OPEN_FOR if method is Method.LINK else None
        rounds = (*feedback.rounds, Round(number, method, completion, expires_at))
        after = replace(feedback, status=Status.OPEN, rounds=rounds, outcome=None, closed_at=None, exclusion=None)
        story.tell(FactKind.OPENED, after)
    return story.change()


def attempt(
    feedback: Feedback, hours: CallingHours, outcome: AttemptOutcome, answer: Answer | None, at: datetime, seat: str
) -> Change:
    """A seat called. A conversation that took place is always recorded; a missed call counts only inside the hours and
    on a half-day not tried before (else `Refusal`). The third missed call closes the round as unreachable."""
    current = feedback.current
    if feedback.status is not Status.OPEN or current is None or current.method is not Method.CALLBACK:
        raise Refusal("not_being_asked", "No call-back is open for this appeal.")
    if outcome is AttemptOutcome.NO_ANSWER:
        if hours.half_day(at) is None:
            raise Refusal("outside_calling_hours", "Citizens are called from 09:00 to 21:00.", hours.next_start(at))
        ready = hours.next_attempt(current)
        if at < ready:
            raise Refusal("half_day_already_tried", "Attempts are made on different half-days.", ready)
    made = replace(current, attempts=(*current.attempts, Attempt(at, outcome, seat)))
    story = _Story(feedback, at, f"user:{seat}")
    story.tell(FactKind.ATTEMPTED, replace(feedback, rounds=(*feedback.rounds[:-1], made)))
    if outcome is AttemptOutcome.REACHED:
        story.answered(answer or Answer(None, None, None))
    elif outcome is AttemptOutcome.REFUSED:
        story.close(story.with_round_ended(Outcome.REFUSED), Outcome.REFUSED)
    elif len(made.attempts) >= MAX_ATTEMPTS:
        story.close(story.with_round_ended(Outcome.UNREACHABLE), Outcome.UNREACHABLE)
    return story.change()


def rate(feedback: Feedback, number: int, answer: Answer, at: datetime) -> Change:
    """The citizen answers by the link of round `number`. One use, open 15 days; else `Refusal`."""
    rateable(feedback, number, at)
    story = _Story(feedback, at, "citizen")
    story.answered(answer)
    return story.change()


def rateable(feedback: Feedback, number: int, at: datetime) -> Round:
    """The round that the link of token `number` opens, or `Refusal` with the reason."""
    chosen = next((r for r in feedback.rounds if r.number == number), None)
    if chosen is None or chosen.method is not Method.LINK:
        raise Refusal("rating_unknown", "This link does not open a rating.")
    if chosen.outcome is Outcome.ANSWERED:
        raise Refusal("rating_used", "This rating was given already.")
    if not chosen.open or (chosen.expires_at is not None and at >= chosen.expires_at):
        raise Refusal("rating_closed", "This link is no longer open.")
    return chosen


def expire(feedback: Feedback, number: int, at: datetime) -> Change:
    """The 15 days of a link are over. Changes nothing when the round was answered or closed before."""
    story = _Story(feedback, at, "system:feedback")
    current = feedback.current
    if current is not None and current.number == number and current.open and current.method is Method.LINK:
        story.close(story.with_round_ended(Outcome.EXPIRED), Outcome.EXPIRED)
    return story.change()


def stop(feedback: Feedback, outcome: Outcome, at: datetime, actor: str, reason: str | None = None) -> Change:
    """The appeal was withdrawn or declined, or its order ended: nobody is asked any more. Answers given before stay.

    Before the first completion there is nothing to tell anybody; it is only remembered that nobody will be asked."""
    story = _Story(feedback, at, actor)
    for_ever = outcome in (Outcome.WITHDRAWN, Outcome.DECLINED)
    if feedback.status is Status.WAITING and for_ever:
        return Change(replace(feedback, status=Status.CLOSED, outcome=outcome, closed_at=at))
    if feedback.status not in (Status.WAITING, Status.CLOSED):
        current = feedback.current
        ended = story.with_round_ended(outcome) if current is not None and current.open else feedback
        story.close(ended, outcome, reason)
    return story.change()


def decide(feedback: Feedback, at: datetime, actor: str, reason: str) -> Change:
    """The centre closes a case that was rated badly twice."""
    if feedback.status is not Status.AWAITING_DECISION:
        raise Refusal("no_decision_open", "Only a case that was rated badly twice is closed by the centre's decision.")
    story = _Story(feedback, at, actor)
    story.close(feedback, Outcome.ANSWERED, reason)
    return story.change()


def exclusion_deadline(closed_at: datetime, is_working_day: Callable[[date], bool], zone: ZoneInfo) -> datetime:
    """The unit may ask until close of business of the fifth working day after closing (days W of domain.md, SLA)."""
    day, left = closed_at.astimezone(zone).date(), EXCLUSION_WORKING_DAYS
    while left:
        day += timedelta(days=1)
        left -= is_working_day(day)
    return datetime.combine(day, CLOSE_OF_BUSINESS, zone)


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
    story = _Story(feedback, asked.asked_at, actor)
    story.tell(FactKind.EXCLUSION_REQUESTED, replace(feedback, exclusion=asked), asked.reason)
    return story.change()


def decide_exclusion(feedback: Feedback, granted: bool, at: datetime, actor: str, reason: str) -> Change:
    """The centre decides. Granted: the rating leaves both sides of every rate (domain.md, Evaluation)."""
    if feedback.exclusion is None or feedback.exclusion.granted is not None:
        raise Refusal("no_exclusion_open", "No exclusion waits for a decision.")
    decided = replace(feedback.exclusion, granted=granted, decided_by=actor, decision=reason)
    story = _Story(feedback, at, actor)
    story.tell(FactKind.EXCLUSION_DECIDED, replace(feedback, exclusion=decided), reason)
    return story.change()
