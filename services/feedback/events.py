"""Facts of the domain as events of `feedback.ratings.v1`."""

from datetime import datetime

from services.feedback.domain import AttemptOutcome, Completion, Fact, FactKind, Feedback, Round
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


def _exclusion(feedback: Feedback) -> str | None:
    if feedback.exclusion is None:
        return None
    return {None: "requested", True: "granted", False: "refused"}[feedback.exclusion.granted]


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
        status=feedback.status.value,
        outcome=feedback.outcome.value if feedback.outcome else None,
        reached=feedback.reached,
        answers=[_answer(asked) for asked in feedback.rounds if asked.answer is not None],
        bad_ratings=feedback.bad_ratings,
        unit_said_solved=current.completion.solved,
        false_completion_suspected=feedback.false_completion_suspected,
        attempts=len(current.attempts),
        exclusion=_exclusion(feedback),
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
    exclusion = fact.after.exclusion
    assert exclusion is not None
    if fact.kind is FactKind.EXCLUSION_REQUESTED:
        return ratings.FeedbackExclusionRequested(actor=actor, reason=reason, after=after, exclusion_id=exclusion.id)
    return ratings.FeedbackExclusionDecided(
        actor=actor, reason=reason, after=after, exclusion_id=exclusion.id, granted=exclusion.granted is True
    )
