"""What dispatch does when something happened: a label, an appeal, a rating, a lamp, the end of a suspension."""

from collections.abc import Sequence

from services.dispatch import repository
from services.dispatch.book import Book
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.commands import (
    Close,
    Reopen,
    Resume,
)
from services.dispatch.domain.work_order import SYSTEM, Status
from services.dispatch.handlers.linking import link, unlink, withdraw
from services.dispatch.handlers.opening import open_missing, relabel
from services.dispatch.known import RECEIVED, CaseState, KnownAppeal, KnownLabel
from shared.events.batch import newest
from shared.events.catalog import appeals, attachments, catalogues, clocks, labels, ratings
from shared.events.event import Message
from shared.outbox.uow import Timer, Uow


class Reactions:
    """Handlers of the subscriptions and timers. Each takes a batch and works in the caller's unit of work.

    `auto_link_threshold`: from this score on an appeal joins the open order of the one it repeats (domain.md, Appeal).
    """

    def __init__(self, desk: RoutingDesk, auto_link_threshold: float) -> None:
        self.desk = desk
        self.auto_link_threshold = auto_link_threshold

    async def on_appeals(self, batch: Sequence[Message[appeals.AppealEvent]], uow: Uow) -> None:
        """Keep what routing needs of each appeal; open orders whose label came first; follow withdrawals and links."""
        said = newest(batch)
        known = await repository.remember_appeals(
            uow.pg, {key: (message.sequence, KnownAppeal.of(message.data.after)) for key, message in said.items()}
        )
        book = Book(uow, self.desk)
        await open_missing(book, known, uow.clock.now(), self.auto_link_threshold)
        for case in known:
            message = said[case.appeal_id]
            if message.data.after.status != RECEIVED:
                await withdraw(book, case, message)
                continue
            match message.data:
                case appeals.AppealLinkRequested(link=wish):
                    await link(book, case, wish.to, wish.relation, message.time)
                case appeals.AppealUnlinkRequested():
                    await unlink(book, case, message)
        await book.save()

    async def on_catalogues(self, batch: Sequence[Message[catalogues.CatalogueEvent]], uow: Uow) -> None:
        """Keep which matters there are."""
        await repository.keep_catalogues(uow.pg, [(m.sequence, m.data.after) for m in newest(batch).values()])

    async def on_attachments(self, batch: Sequence[Message[attachments.AttachmentEvent]], uow: Uow) -> None:
        """Keep which file belongs to which case."""
        rows = [
            {"id": key, "sequence": m.sequence, "appeal_id": m.data.after.appeal_id, "removed": m.data.after.removed}
            for key, m in sorted(newest(batch).items())
        ]
        await repository.keep_attachments(uow.pg, rows)

    async def on_labels(self, batch: Sequence[Message[labels.LabelEvent]], uow: Uow) -> None:
        """Give every labelled appeal an order and an owner; let a person's label dispatch or change an order."""
        known = await repository.remember_labels(
            uow.pg,
            {key: (m.sequence, KnownLabel.of(m.data.after)) for key, m in newest(batch).items()},
        )
        book, at = Book(uow, self.desk), uow.clock.now()
        labelled = [case for case in known if case.work_order_id is not None]
        await open_missing(book, known, at, self.auto_link_threshold)
        if labelled:
            await self.desk.refresh(uow.pg)
            await book.lock(case.work_order_id for case in labelled if case.work_order_id)
            for case in labelled:
                relabel(book, case, at)
        await book.save()

    async def on_feedback(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """Second handling after the first bad rating of an appeal; closing when every appeal's feedback is closed."""
        said = newest(batch)
        known = await repository.remember_feedback(
            uow.pg, {key: (m.sequence, m.data.after.status == "closed") for key, m in said.items()}
        )
        bad = [
            case
            for case in known
            if said[case.appeal_id].data.after.status == "second_handling" and not case.second_handled
        ]
        closed = [case for case in known if case.feedback_closed]
        if not bad and not closed:
            return
        book = Book(uow, self.desk)
        await book.lock(case.work_order_id for case in (*bad, *closed) if case.work_order_id)
        for case in bad:
            if case.work_order_id in book.orders:
                # an order that is open again already is simply joined: the citizen's second handling is under way
                command = Reopen(appeal_id=case.appeal_id, reason="回访评价未解决或不满意")
                # later facts of the feedback may have come with the rating
                message = said[case.appeal_id]
                rated_at = max((answer.at for answer in message.data.after.answers), default=message.time)
                book.attempt(case.work_order_id, command, SYSTEM, rated_at)
        if bad:
            await repository.mark_second_handled(uow.pg, [case.appeal_id for case in bad])
        await self._close(book, closed, said)
        await book.save()

    async def on_clocks(self, batch: Sequence[Message[clocks.ClockEvent]], uow: Uow) -> None:
        """Keep the lamp of each order for the lists, and when its `complete` clock is due."""
        rows = []
        for key, message in sorted(newest(batch).items()):
            after = message.data.after
            due = [clock.due_at for clock in after.clocks if clock.clock == "complete" and clock.stopped_at is None]
            rows.append(
                {
                    "work_order_id": key,
                    "sequence": message.sequence,
                    "lamp": after.lamp,
                    "level": after.level,
                    "complete_due_at": max(due) if due else None,
                }
            )
        await repository.save_lamps(uow.pg, rows)

    async def on_suspension_end(self, timers: Sequence[Timer], uow: Uow) -> None:
        """A suspension ends by itself (domain.md, SLA)."""
        book = Book(uow, self.desk)
        await book.lock(timer.key for timer in timers)
        for timer in timers:
            order = book.orders.get(timer.key)
            if order is not None and order.suspended_until is not None and order.suspended_until <= timer.due_at:
                book.attempt(timer.key, Resume(note="挂账到期，自动恢复"), SYSTEM, timer.due_at)
        await book.save()

    async def on_link(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Links to appeals that had no order yet."""
        book = Book(uow, self.desk)
        known = await repository.lock_cases(uow.pg, [timer.key for timer in timers])
        for timer in timers:
            case = known.get(timer.key)
            if case is not None and case.appeal is not None and case.appeal.status == RECEIVED:
                await link(book, case, timer.payload["to"], timer.payload["relation"], timer.due_at)
        await book.save()

    async def _close(
        self, book: Book, closed: Sequence[CaseState], said: dict[str, Message[ratings.FeedbackEvent]]
    ) -> None:
        """An order is closed with the feedback of its last appeal."""
        finished = [
            (case, order)
            for case in closed
            if (order := book.orders.get(case.work_order_id or "")) and order.status is Status.COMPLETED
        ]
        shared = [order.id for _, order in finished if len(order.appeal_ids) > 1]
        together = await repository.closed_appeals(book.uow.pg, shared) if shared else {}
        for case, order in finished:
            done = tuple(together.get(order.id, [case.appeal_id]))
            book.attempt(order.id, Close(closed_appeals=done), SYSTEM, said[case.appeal_id].time)
