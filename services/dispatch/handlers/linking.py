"""Appeals that leave or share an order: withdrawals, links and their undoing."""

from datetime import datetime, timedelta

from services.dispatch.book import Book
from services.dispatch.domain.commands import Cancel, JoinAppeal, NoteRepeat, PartAppeal, Recall
from services.dispatch.domain.work_order import SYSTEM, UNFINISHED, Status, WorkOrder
from services.dispatch.handlers.opening import closed_for, open_own
from services.dispatch.known import RECEIVED, KnownCase
from shared.events.catalog import appeals
from shared.events.event import Message
from shared.outbox.uow import Timer

LINK = "link"
LINK_AGAIN = timedelta(seconds=5)
"""how soon a link is tried again while one of the appeals has no order"""
REPEAT_WITHIN = timedelta(days=30)
"""domain.md, Appeal: what comes later is another matter"""


async def withdraw(book: Book, case: KnownCase, message: Message[appeals.AppealEvent]) -> None:
    """The appeal ended at intake: told by its status, since a later wish may have come with the withdrawal."""
    if case.work_order_id is None:
        return
    await book.lock([case.work_order_id])
    ended = isinstance(message.data, appeals.AppealWithdrawn | appeals.AppealDeclined)
    _leave(book, case, (ended and message.data.reason) or "诉求人撤回", message.time)


def _leave(book: Book, case: KnownCase, reason: str, at: datetime) -> None:
    """The appeal no longer belongs to its order, which is cancelled when it was the only one."""
    order = book.orders.get(case.work_order_id or "")
    if order is None or case.appeal_id not in order.appeal_ids:
        return
    if len(order.appeal_ids) > 1:
        book.attempt(order.id, PartAppeal(appeal_id=case.appeal_id, reason=reason), SYSTEM, at)
    elif order.status is Status.HANDED_OFF:
        book.attempt(order.id, Recall(reason=reason), SYSTEM, at)
    else:
        book.attempt(order.id, Cancel(reason=reason), SYSTEM, at)


async def link(book: Book, case: KnownCase, to: str, relation: str, at: datetime) -> None:
    """A person's link: the appeal's own order ends, the other one answers both; finished ones stay as they are, and a
    repeat of one tells its own handler."""
    again = Timer(LINK, case.appeal_id, at + LINK_AGAIN, {"to": to, "relation": relation})
    target = (await book.cases([to])).get(to)
    if target is None or target.appeal is None or (target.work_order_id is None and target.appeal.status == RECEIVED):
        book.uow.arm(again)  # the other appeal is still on its way to its order
        return
    if target.work_order_id is None or target.work_order_id == case.work_order_id:
        return
    await book.lock([key for key in (target.work_order_id, case.work_order_id) if key])
    own, other = book.orders.get(case.work_order_id or ""), book.orders.get(target.work_order_id)
    if relation == "repeat" and other is not None and closed_for(target, other):
        if own is None:
            book.uow.arm(again)  # it is on its way itself
        elif _comes_soon(case, other):
            book.attempt(own.id, NoteRepeat(repeat_of=to), SYSTEM, at)
        return
    if own is not None and own.status not in UNFINISHED:
        return
    command = JoinAppeal(appeal_id=case.appeal_id, relation=relation)
    if book.attempt(target.work_order_id, command, SYSTEM, at) is None:
        return
    if case.work_order_id is not None:
        _leave(book, case, "已并入另一件相同诉求的工单", at)
    book.assign(case, target.work_order_id)


def _comes_soon(case: KnownCase, closed: WorkOrder) -> bool:
    """Whether the appeal came within `REPEAT_WITHIN` of the closed order's completion."""
    done = closed.completed_at
    return case.appeal is not None and (done is None or case.appeal.received_at - done <= REPEAT_WITHIN)


async def unlink(book: Book, case: KnownCase, message: Message[appeals.AppealEvent]) -> None:
    """The join is undone: the appeal gets an order of its own, its clocks start at its own `received_at`."""
    book.uow.disarm(LINK, case.appeal_id)
    if case.work_order_id is None or case.appeal is None or case.label is None:
        return
    await book.lock([case.work_order_id])
    order = book.orders.get(case.work_order_id)
    if order is None or len(order.appeal_ids) < 2 or case.appeal_id not in order.appeal_ids:
        return
    parted = book.attempt(order.id, PartAppeal(appeal_id=case.appeal_id, reason="解除并案"), SYSTEM, message.time)
    if parted is None:
        return
    await book.desk.refresh(book.uow.pg)
    own = open_own(book, case.appeal_id, case.appeal, case.label, message.time)
    book.assign(case, own.id)
