"""Orders for cases: opened when appeal and label are both here, joined by sure repeats, moved by a person's label."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from services.dispatch import repository
from services.dispatch.book import Book
from services.dispatch.domain.case import HandlingClass
from services.dispatch.domain.commands import JoinAppeal, Relabel
from services.dispatch.domain.work_order import SYSTEM, UNFINISHED, Actor, Status, WorkOrder
from services.dispatch.known import RECEIVED, CaseState, KnownAppeal, KnownCase, KnownLabel, case_of


async def open_missing(book: Book, known: Iterable[KnownCase], at: datetime, threshold: float) -> None:
    """Orders for the cases whose appeal and label are both here.

    `threshold`: from this score on an appeal joins the open order of the one it repeats (domain.md, Appeal).
    """
    waiting = [
        (case, case.appeal, case.label)
        for case in known
        if case.work_order_id is None
        and case.appeal is not None
        and case.label is not None
        and case.appeal.status == RECEIVED
    ]
    if not waiting:
        return
    await book.desk.refresh(book.uow.pg)
    together = {case.appeal_id: case for case, _, _ in waiting}
    repeated = await _repeated(book, waiting, threshold)
    # the earlier of two that came together has its order when the later one repeats it
    for case, appeal, label in sorted(waiting, key=lambda one: (one[1].received_at, one[0].appeal_id)):
        earlier = repeated.get(case.appeal_id)
        closed = None
        if earlier is not None:
            order = book.orders.get(together.get(earlier.appeal_id, earlier).work_order_id or "")
            if (joined := _joined(book, case, label, order, at)) is not None:
                book.assign(case, joined.id)
                continue
            if order is not None and closed_for(earlier, order):
                closed = earlier.appeal_id
        book.assign(case, open_own(book, case.appeal_id, appeal, label, at, repeat_of=closed).id)


def closed_for(case: CaseState, order: WorkOrder) -> bool:
    """Whether the case is over for its citizen: nobody asks him any more, whatever others make of the order."""
    return case.feedback_closed or order.status is Status.CLOSED


def open_own(
    book: Book,
    appeal_id: str,
    appeal: KnownAppeal,
    label: KnownLabel,
    at: datetime,
    *,
    repeat_of: str | None = None,
) -> WorkOrder:
    """An order of its own: with its unit, or at the centre while the label is in review and nothing burns."""
    urgent = label.handling_class is HandlingClass.URGENT
    return book.open(
        case_of(appeal_id, appeal, label, book.desk.platform, repeat_of),
        label.matter_path,
        at,
        in_review=label.needs_review,
        pending=label.needs_review and not urgent,
    )


def _joined(book: Book, case: KnownCase, label: KnownLabel, order: WorkOrder | None, at: datetime) -> WorkOrder | None:
    """The order of the appeal that this one surely repeats, with it, while that is open and of the same matter."""
    if order is None or order.status not in UNFINISHED or order.matter != label.matter or label.needs_review:
        return None
    return book.attempt(order.id, JoinAppeal(appeal_id=case.appeal_id, relation="repeat"), SYSTEM, at)


async def _repeated(
    book: Book, waiting: Sequence[tuple[KnownCase, KnownAppeal, KnownLabel]], threshold: float
) -> dict[str, KnownCase]:
    """The earlier appeal that each surely repeats, its order locked: same reporter, score ≥ the threshold."""
    likely = [
        (case.appeal_id, label.repeat_of, appeal.pseudonym)
        for case, appeal, label in waiting
        if label.repeat_of and label.repeat_score >= threshold and appeal.pseudonym
    ]
    if not likely:
        return {}
    earlier = await repository.read_cases(book.uow.pg, {repeated for _, repeated, _ in likely})
    await book.lock(case.work_order_id for case in earlier.values() if case.work_order_id)
    return {
        appeal_id: other
        for appeal_id, repeated, pseudonym in likely
        if (other := earlier.get(repeated)) and other.appeal and other.appeal.pseudonym == pseudonym
    }


def relabel(book: Book, case: KnownCase, at: datetime) -> None:
    """A newer label on a case that has its order."""
    order = book.orders.get(case.work_order_id or "")
    appeal, label = case.appeal, case.label
    if order is None or appeal is None or label is None or order.appeal_ids[0] != case.appeal_id:
        return
    actor = Actor(f"user:{label.reviewed_by}", system=True) if label.reviewed_by else SYSTEM
    change = Relabel(
        handling_class=label.handling_class,
        matter=label.matter,
        matter_path=label.matter_path,
        kind=label.kind,
        in_review=label.needs_review,
        return_until=_return_until(book, order, label),
        reason="人工复核" if label.reviewed_by else None,
    )
    same = (
        order.matter == label.matter
        and order.handling_class == label.handling_class
        and order.kind == label.kind
        and order.in_review == label.needs_review
    )
    movable = order.status is Status.PENDING or (
        order.status is Status.DISPATCHED and order.placed_by not in ("transfer", "ruling")
    )
    trail = book.trail(order.id)
    if movable and not label.needs_review and not (same and order.status is Status.DISPATCHED):
        seen = case_of(case.appeal_id, appeal, label, book.desk.platform)
        dispatch = book.desk.dispatch(seen, at, "review", without=order.returned_by, label=change)
        if order.status is Status.PENDING or dispatch.decision.lead != order.lead:
            trail.step(dispatch, actor, at)
            book.take(trail)
            return
    if not same:
        book.attempt(order.id, change, actor, at)


def _return_until(book: Book, order: WorkOrder, label: KnownLabel) -> datetime | None:
    """The end of the window that the label's class gives, counted from the dispatch; None when none is open."""
    if order.status is not Status.DISPATCHED or order.dispatched_at is None:
        return None
    return book.desk.return_until(label.handling_class, order.dispatched_at)
