"""Rounds of asking the citizen, what a bad answer leads to, and when it is over.

Rules: domain.md, "Feedback". Pure: every function takes the present value and the time of the fact, and gives the next
value with the facts that happened. Nothing here reads a clock or a table.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from services.feedback.domain.hours import CallingHours
from services.feedback.domain.values import (
    MAX_ATTEMPTS,
    Answer,
    Asking,
    Attempt,
    AttemptOutcome,
    Change,
    Completion,
    Exclusion,
    Fact,
    FactKind,
    FalseCompletion,
    Feedback,
    Method,
    Outcome,
    Refusal,
    Round,
    Status,
)

LINK_OPEN_FOR = timedelta(days=15)


class Story:
    """Collects the facts of one change and numbers them."""

    def __init__(self, feedback: Feedback, at: datetime, actor: str) -> None:
        self.feedback = feedback
        self.at = at
        self.actor = actor
        self.facts: list[Fact] = []

    def tell(
        self,
        kind: FactKind,
        after: Feedback,
        reason: str | None = None,
        about: Exclusion | FalseCompletion | None = None,
    ) -> None:
        self.feedback = replace(after, sequence=self.feedback.sequence + 1)
        self.facts.append(Fact(kind, self.at, self.actor, self.feedback, reason, about))

    def with_round_ended(self, outcome: Outcome, answer: Answer | None = None) -> Feedback:
        *before, last = self.feedback.rounds
        ended = replace(last, outcome=outcome, answer=answer, closed_at=self.at)
        return replace(self.feedback, rounds=(*before, ended))

    def close(self, after: Feedback, outcome: Outcome, reason: str | None = None) -> None:
        closed = replace(after, status=Status.CLOSED, outcome=outcome, closed_at=self.at)
        self.tell(FactKind.CLOSED, closed, reason)

    def answered(self, answer: Answer) -> None:
        after = self.with_round_ended(Outcome.ANSWERED, answer)
        suspected = None
        if after.rounds[-1].contradicted:
            suspected = FalseCompletion(after.rounds[-1].number, self.at)
            after = replace(
                after, false_completion_suspected=True, false_completions=(*after.false_completions, suspected)
            )
        if not answer.bad:
            self.tell(FactKind.ANSWERED, after, about=suspected)
            self.close(self.feedback, Outcome.ANSWERED)
        else:
            first = after.bad_ratings == 0
            status = Status.SECOND_HANDLING if first else Status.AWAITING_DECISION
            after = replace(after, bad_ratings=after.bad_ratings + 1, status=status)
            self.tell(FactKind.ANSWERED, after, about=suspected)

    def change(self) -> Change:
        return Change(self.feedback, tuple(self.facts))


def open_round(feedback: Feedback, asking: Asking, completion: Completion) -> Change:
    """A unit completed the order: ask the citizen, unless this completion was asked already or nobody waits for it.

    A round that is still open stays as it is: the link in the citizen's hands keeps working. Second handling is
    answered by a completion after the bad answer alone: dispatch, which may read the two in the other order, goes by
    the same instants. A closed feedback opens again only for another order (the appeal was unlinked and got its own).
    """
    feedback = replace(feedback, completed_at=max(feedback.completed_at or completion.at, completion.at))
    story = Story(feedback, completion.at, f"unit:{completion.unit}")
    seen = [r.completion for r in feedback.rounds]
    asked = any((c.work_order_id, c.order_round) == (completion.work_order_id, completion.order_round) for c in seen)
    another_order = all(c.work_order_id != completion.work_order_id for c in seen)
    match feedback.status:
        case Status.WAITING:
            waits = True
        case Status.SECOND_HANDLING:
            rated_at = feedback.rounds[-1].closed_at
            waits = another_order or rated_at is None or completion.at >= rated_at
        case Status.CLOSED:
            waits = another_order and feedback.outcome not in (Outcome.WITHDRAWN, Outcome.DECLINED)
        case _:
            waits = False
    if waits and not asked:
        number = len(feedback.rounds) + 1
        method = asking.method(number)
        expires_at = completion.at + LINK_OPEN_FOR if method is Method.LINK else None
        rounds = (*feedback.rounds, Round(number, method, completion, expires_at, medium=asking.medium))
        after = replace(feedback, status=Status.OPEN, rounds=rounds, outcome=None, closed_at=None, exclusion=None)
        story.tell(FactKind.OPENED, after)
    return story.change()


def attempt(
    feedback: Feedback, hours: CallingHours, outcome: AttemptOutcome, answer: Answer | None, at: datetime, seat: str
) -> Change:
    """A seat tried to reach the citizen. A conversation that took place is always recorded; an attempt that met nobody
    counts only inside the hours and on a half-day not tried before (else `Refusal`). The third of these closes a
    call-back as unreachable; beside a link it is the seats' last one, the link stays."""
    current = feedback.current
    if feedback.status is not Status.OPEN or current is None or current.seat_medium is None:
        raise Refusal("not_being_asked", "No call-back is open for this appeal.")
    if outcome is AttemptOutcome.NO_ANSWER:
        if hours.half_day(at) is None:
            raise Refusal("outside_calling_hours", "Citizens are called from 09:00 to 21:00.", hours.next_start(at))
        ready = hours.next_attempt(current)
        if ready is None:
            raise Refusal("attempts_used_up", "Three attempts were made; the citizen can still answer by the link.")
        if at < ready:
            raise Refusal("half_day_already_tried", "Attempts are made on different half-days.", ready)
    at = _after_completion(feedback, at)
    made = replace(current, attempts=(*current.attempts, Attempt(at, outcome, seat)))
    story = Story(feedback, at, f"user:{seat}")
    story.tell(FactKind.ATTEMPTED, replace(feedback, rounds=(*feedback.rounds[:-1], made)))
    if outcome is AttemptOutcome.REACHED:
        story.answered(answer or Answer(None, None, None))
    elif outcome is AttemptOutcome.REFUSED:
        story.close(story.with_round_ended(Outcome.REFUSED), Outcome.REFUSED)
    elif current.method is Method.CALLBACK and len(made.attempts) >= MAX_ATTEMPTS:
        story.close(story.with_round_ended(Outcome.UNREACHABLE), Outcome.UNREACHABLE)
    return story.change()


def rate(feedback: Feedback, number: int, answer: Answer, at: datetime) -> Change:
    """The citizen answers by the link of round `number`. One use, open 15 days; else `Refusal`."""
    rateable(feedback, number, at)
    at = _after_completion(feedback, at)
    story = Story(feedback, at, "citizen")
    story.answered(answer)
    return story.change()


def _after_completion(feedback: Feedback, at: datetime) -> datetime:
    """`at`, but not before what the citizen answers to: clocks of two machines differ by a little."""
    return max(at, feedback.completed_at or at)


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
    story = Story(feedback, at, "system:feedback")
    current = feedback.current
    if current is not None and current.number == number and current.open and current.method is Method.LINK:
        story.close(story.with_round_ended(Outcome.EXPIRED), Outcome.EXPIRED)
    return story.change()


def stop(feedback: Feedback, outcome: Outcome, at: datetime, actor: str, reason: str | None = None) -> Change:
    """The appeal was withdrawn or declined, or its order ended: nobody is asked any more. Answers given before stay.

    Before the first completion there is nothing to tell anybody; it is only remembered that nobody will be asked."""
    story = Story(feedback, at, actor)
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
    story = Story(feedback, at, actor)
    story.close(feedback, Outcome.ANSWERED, reason)
    return story.change()
