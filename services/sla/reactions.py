"""Which event does what to the clocks of an order: the bridge from the catalog to `domain.lifecycle`.

Class, kind, groups and "in review" are read from the snapshot of whatever event carries them, so that it does not
matter which fact brought the change.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.sla.domain import lifecycle
from services.sla.domain.clock import Fact
from services.sla.domain.clock_set import ClockSet, Terms
from services.sla.domain.lifecycle import Change
from services.sla.domain.policy import Case, ClockName, HandlingClass
from shared.events.catalog import ratings, work_orders

IGNORED = (
    work_orders.WorkOrderProgressed,
    work_orders.WorkOrderApprovalRequested,
    work_orders.WorkOrderApprovalRejected,
    work_orders.WorkOrderCoHandlersAdded,
    work_orders.WorkOrderSplit,
    work_orders.WorkOrderPartChanged,
    work_orders.WorkOrderShirked,
    work_orders.WorkOrderRepeatFound,
    work_orders.WorkOrderCheckOrdered,
    work_orders.WorkOrderCheckRecorded,
)
"""facts that move no clock (domain.md: "Nothing else moves a clock")"""


OFFERED = ("dispatched", "accepted")
"""where an order stands while another platform is asked to take it"""


@dataclass(frozen=True, slots=True)
class FeedbackFact:
    """What a feedback event says to the clocks; it holds once the completion at `asked_at` is applied."""

    kind: str
    """to_call, attempted, second_bad, closed"""
    at: datetime
    asked_at: datetime


def feedback_fact(event: ratings.FeedbackEvent, at: datetime) -> FeedbackFact | None:
    """The part of a feedback event that clocks care for."""
    by_phone = event.after.method == "callback"
    match event:
        case ratings.FeedbackOpened() if by_phone:
            kind = "to_call"
        case ratings.FeedbackAttempted():
            kind = "attempted"
        case ratings.FeedbackAnswered(bad=True) if event.after.bad_ratings >= 2:
            kind = "second_bad"
        case ratings.FeedbackClosed() if by_phone:
            kind = "closed"
        case _:
            return None
    return FeedbackFact(kind, at, event.after.opened_at)


def on_order_event(clock_set: ClockSet | None, event: work_orders.WorkOrderEvent, at: datetime, terms: Terms) -> Change:
    """The clocks of an order after one of its events."""
    order = event.after
    facts: tuple[Fact, ...] = ()
    case = Case(
        HandlingClass(order.handling_class),
        order.kind,
        frozenset(order.reporter_groups),
        order.matter,
        order.region_code,
        None if order.allowed_s is None else timedelta(seconds=order.allowed_s),
    )
    if clock_set is None:
        clock_set, facts = lifecycle.open_set(
            order.id,
            case=case,
            unit=order.lead,
            received_at=order.received_at,
            emergency_taken_at=order.taken_at,
            at=at,
            terms=terms,
        )
    review = clock_set.latest(ClockName.REVIEW)
    more: tuple[Fact, ...] = ()
    if order.lead != clock_set.unit:
        clock_set, more = lifecycle.led_by(clock_set, order.lead, at, terms)
        facts += more
        more = ()
    if order.in_review and (review is None or not review.running):
        clock_set, more = lifecycle.review_started(clock_set, order.opened_at if review is None else at, at, terms)
    elif not order.in_review and review is not None:
        clock_set, more = lifecycle.review_decided(clock_set, at)
    facts += more
    if case != clock_set.case:
        clock_set, more = lifecycle.reclassed(clock_set, at, terms, case)
        facts += more
    clock_set, more = _by_type(clock_set, event, at, terms)
    facts += more
    asked = order.handoff is not None and order.handoff.state == "offered" and order.status in OFFERED
    if asked and isinstance(event, work_orders.WorkOrderDispatched):
        clock_set, more = lifecycle.offered(clock_set, at, terms, round_=order.dispatch_no)
        facts += more
    elif not asked:
        clock_set, more = lifecycle.answered(clock_set, at)
        facts += more
    return clock_set, facts


def _by_type(clock_set: ClockSet, event: work_orders.WorkOrderEvent, at: datetime, terms: Terms) -> Change:
    order, why = event.after, event.reason or ""
    match event:
        case work_orders.WorkOrderDispatched():
            return lifecycle.dispatched(clock_set, at, terms, round_=order.dispatch_no)
        case work_orders.WorkOrderHandoffRefused() if order.status == "dispatched":
            return lifecycle.dispatched(clock_set, at, terms, round_=order.dispatch_no)
        case work_orders.WorkOrderAccepted():
            return lifecycle.accepted(clock_set, at)
        case work_orders.WorkOrderContacted():
            return lifecycle.contacted(clock_set, at)
        case work_orders.WorkOrderCompleted():
            return lifecycle.completed(clock_set, at)
        case work_orders.WorkOrderReturned():
            return lifecycle.returned(clock_set, at)
        case work_orders.WorkOrderDisputed():
            return lifecycle.disputed(clock_set, at, terms)
        case work_orders.WorkOrderRulingContested():
            return lifecycle.contested(clock_set, at, terms)
        case work_orders.WorkOrderRuled() | work_orders.WorkOrderRulingUpheld() | work_orders.WorkOrderRulingChanged():
            return lifecycle.ruled(clock_set, at)
        case work_orders.WorkOrderSuspended(until=until):
            return lifecycle.suspended(clock_set, at, until, terms, why)
        case work_orders.WorkOrderResumed():
            return lifecycle.resumed(clock_set, at, terms, why)
        case work_orders.WorkOrderExtended(seconds=seconds):
            return lifecycle.extended(clock_set, at, timedelta(seconds=seconds), terms, why)
        case work_orders.WorkOrderReopened():
            return lifecycle.reopened(clock_set, at, terms, round_=order.round)
        case work_orders.WorkOrderClosed():
            return lifecycle.ended(clock_set, at, "closed")
        case work_orders.WorkOrderCancelled():
            return lifecycle.ended(clock_set, at, "cancelled")
        case work_orders.WorkOrderHandedOff():
            return lifecycle.ended(clock_set, at, "handed_off")
        case _:
            return clock_set, ()


def on_feedback_fact(clock_set: ClockSet, fact: FeedbackFact, terms: Terms) -> Change:
    """The clocks of an order when a citizen is to be called, after a call, the second bad rating of one appeal, or the
    end of asking. Which citizens are called feedback decides."""
    if fact.kind == "to_call":
        return lifecycle.call_owed(clock_set, fact.asked_at, terms)
    if fact.kind == "second_bad":
        rating = clock_set.latest(ClockName.RATING) or clock_set.latest(ClockName.COMPLETE)
        return lifecycle.rated_badly(clock_set, fact.at, level=3, round_=rating.round if rating else 1)
    return lifecycle.call_attempted(clock_set, fact.at, terms)
