"""Facts of the domain as events of `feedback.ratings.v1`."""

from datetime import datetime

from services.feedback.domain import AttemptOutcome, Completion, Fact, FactKind, FalseCompletion, Feedback, Round
from shared.events.catalog import ratings, work_orders


def completion_of(order: work_orders.WorkOrder, at: datetime) -> Completion:
    """What a completed order says to feedback."""
    return Completion(
        work_order_id=order.id,
        order_round=order.round,
        unit=order.lead,
        solved=bool(order.solved),
        region_code=order.region_code,
        matter=order.matter,
        at=at,
        unit_name=order.lead_name,
        matter_name=order.matter_path[-1] if order.matter_path else "",
        result=order.result,
    )


def _answer(asked: Round) -> ratings.Answer:
    assert asked.answer is not None and asked.closed_at is not None  # noqa: PT018
    answer = asked.answer
    return ratings.Answer(
        round=asked.number,
        contacted=answer.contacted,
        solved=answer.solved,
        satisfaction=answer.satisfaction,
        words=answer.words,
        at=asked.closed_at,
    )


def _false_completion(feedback: Feedback, one: FalseCompletion) -> ratings.FalseCompletion:
    completion = next(r.completion for r in feedback.rounds if r.number == one.round)
    return ratings.FalseCompletion(
        round=one.round,
        work_order_id=completion.work_order_id,
        order_round=completion.order_round,
        unit=completion.unit,
        state=one.state,
        suspected_at=one.suspected_at,
        decided_at=one.decided_at,
    )


def snapshot(feedback: Feedback) -> ratings.Feedback:
    """The public state; there is at least one round, because nothing is told before."""
    current = feedback.rounds[-1]
    return ratings.Feedback(
        appeal_id=feedback.appeal_id,
        work_order_id=current.completion.work_order_id,
        unit=current.completion.unit,
        region_code=current.completion.region_code,
        matter=current.completion.matter,
        round=current.number,
        method=current.method.value,
        medium=current.seat_medium.value if current.seat_medium else None,
        status=feedback.status.value,
        outcome=feedback.outcome.value if feedback.outcome else None,
        reached=feedback.reached,
        answers=[_answer(asked) for asked in feedback.rounds if asked.answer is not None],
        bad_ratings=feedback.bad_ratings,
        unit_said_solved=current.completion.solved,
        false_completion_suspected=feedback.false_completion_suspected,
        false_completions=[_false_completion(feedback, one) for one in feedback.false_completions],
        attempts=len(current.attempts),
        exclusion=feedback.exclusion.state if feedback.exclusion else None,
        opened_at=current.completion.at,
        expires_at=current.expires_at,
        closed_at=feedback.closed_at,
    )


def event_of(fact: Fact) -> ratings.FeedbackEvent:
    """The event that tells a fact."""
    after, actor, reason = snapshot(fact.after), fact.actor, fact.reason
    current = fact.after.rounds[-1]
    match fact.kind:
        case FactKind.OPENED:
            return ratings.FeedbackOpened(actor=actor, reason=reason, after=after)
        case FactKind.ATTEMPTED:
            return ratings.FeedbackAttempted(
                actor=actor,
                reason=reason,
                after=after,
                attempt=len(current.attempts),
                outcome=current.attempts[-1].outcome.value if current.attempts else AttemptOutcome.NO_ANSWER.value,
            )
        case FactKind.ANSWERED:
            answer = _answer(current)
            bad = current.answer is not None and current.answer.bad
            return ratings.FeedbackAnswered(actor=actor, reason=reason, after=after, answer=answer, bad=bad)
        case FactKind.CLOSED:
            return ratings.FeedbackClosed(actor=actor, reason=reason, after=after)
    about = fact.about
    number = about.round if isinstance(about, FalseCompletion) else None
    if fact.kind is FactKind.REVIEW_REQUESTED:
        of = "exclusion" if number is None else "false_completion"
        return ratings.FeedbackReviewRequested(actor=actor, reason=reason, after=after, of=of, round=number)
    assert about is not None
    reviewed = about.review is not None
    granted = about.granted is True
    if isinstance(about, FalseCompletion):
        return ratings.FeedbackFalseCompletionDecided(
            actor=actor, reason=reason, after=after, round=about.round, confirmed=granted, review=reviewed
        )
    if fact.kind is FactKind.EXCLUSION_REQUESTED:
        return ratings.FeedbackExclusionRequested(actor=actor, reason=reason, after=after, exclusion_id=about.id)
    return ratings.FeedbackExclusionDecided(
        actor=actor, reason=reason, after=after, exclusion_id=about.id, granted=granted, review=reviewed
    )
