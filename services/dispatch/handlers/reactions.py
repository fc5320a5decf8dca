"""What dispatch does when something happened: a label, an appeal, a rating, a lamp, the end of a suspension."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.dispatch import repository
from services.dispatch.book import Book, Trail
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.commands import (
    Cancel,
    Close,
    JoinAppeal,
    PartAppeal,
    Relabel,
    Reopen,
    Resume,
)
from services.dispatch.domain.work_order import SYSTEM, UNFINISHED, Actor, Status, WorkOrder
from services.dispatch.repository import CaseState, KnownAppeal, KnownCase, KnownLabel
from shared.events.batch import newest
from shared.events.catalog import appeals, clocks, labels, ratings
from shared.events.event import Message
from shared.outbox.uow import Timer, Uow

RECEIVED = "received"
"""intake's status of an appeal that nobody has ended"""

LINK = "link"
LINK_AGAIN = timedelta(seconds=5)
"""how soon a link is tried again while the other appeal has no order"""


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
            uow.pg, {key: (message.sequence, _known_appeal(message.data.after)) for key, message in said.items()}
        )
        book = Book(uow, self.desk)
        await self._open_missing(book, known, uow.clock.now())
        for case in known:
            message = said[case.appeal_id]
            if message.data.after.status != RECEIVED:
                await self._withdraw(book, case, message)
                continue
            match message.data:
                case appeals.AppealLinkRequested(link=link):
                    await self._link(book, case, link.to, link.relation, message.time)
                case appeals.AppealUnlinkRequested():
                    await self._unlink(book, case, message)
        await book.save()

    async def on_labels(self, batch: Sequence[Message[labels.LabelEvent]], uow: Uow) -> None:
        """Give every labelled appeal an order and an owner; let a person's label dispatch or change an order."""
        known = await repository.remember_labels(
            uow.pg,
            {key: (m.sequence, _known_label(m.data.after)) for key, m in newest(batch).items()},
        )
        book, at = Book(uow, self.desk), uow.clock.now()
        labelled = [case for case in known if case.work_order_id is not None]
        await self._open_missing(book, known, at)
        if labelled:
            await self.desk.refresh(uow.pg)
            await book.lock(case.work_order_id for case in labelled if case.work_order_id)
            for case in labelled:
                self._relabel(book, case, at)
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
            message = said[case.appeal_id]
            if case.work_order_id in book.orders:
                # an order that is open again already is simply joined: the citizen's second handling is under way
                command = Reopen(appeal_id=case.appeal_id, reason=message.data.reason or "回访评价未解决或不满意")
                book.attempt(case.work_order_id, command, SYSTEM, message.time)
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
                await self._link(book, case, timer.payload["to"], timer.payload["relation"], timer.due_at)
        await book.save()

    # --- orders for cases ----------------------------------------------------------------------------------------

    async def _open_missing(self, book: Book, known: Iterable[KnownCase], at: datetime) -> None:
        """Orders for the cases whose appeal and label are both here."""
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
        await self.desk.refresh(book.uow.pg)
        repeated = await self._repeated(book, waiting)
        assigned: dict[str, str] = {}
        # the earlier of two that came together has its order when the later one repeats it
        for case, appeal, label in sorted(waiting, key=lambda one: (one[1].received_at, one[0].appeal_id)):
            earlier = repeated.get(case.appeal_id)
            closed = None
            if earlier is not None:
                order = book.orders.get(assigned.get(earlier.appeal_id) or earlier.work_order_id or "")
                if (joined := self._joined(book, case, label, order, at)) is not None:
                    assigned[case.appeal_id] = joined.id
                    continue
                if order is not None and (earlier.feedback_closed or order.status is Status.CLOSED):
                    closed = earlier.appeal_id
            assigned[case.appeal_id] = self._open(book, case.appeal_id, appeal, label, at, repeat_of=closed).id
        await repository.assign_cases(book.uow.pg, [(case, assigned[case.appeal_id]) for case, _, _ in waiting])

    def _open(
        self,
        book: Book,
        appeal_id: str,
        appeal: KnownAppeal,
        label: KnownLabel,
        at: datetime,
        *,
        repeat_of: str | None = None,
    ) -> WorkOrder:
        """An order of its own: with its unit, or at the centre while the label is in review and nothing burns."""
        urgent = label.handling_class == HandlingClass.URGENT
        return book.open(
            replace(_case(appeal_id, appeal, label, self.desk.platform), repeat_of=repeat_of),
            label.matter_path,
            at,
            in_review=label.needs_review,
            pending=label.needs_review and not urgent,
        )

    def _joined(
        self, book: Book, case: KnownCase, label: KnownLabel, order: WorkOrder | None, at: datetime
    ) -> WorkOrder | None:
        """The order of the appeal that this one surely repeats, with it, while that is open and of the same matter."""
        if order is None or order.status not in UNFINISHED or order.matter != label.matter or label.needs_review:
            return None
        return book.attempt(order.id, JoinAppeal(appeal_id=case.appeal_id, relation="repeat"), SYSTEM, at)

    async def _repeated(
        self, book: Book, waiting: Sequence[tuple[KnownCase, KnownAppeal, KnownLabel]]
    ) -> dict[str, KnownCase]:
        """The earlier appeal that each surely repeats, its order locked: same reporter, score ≥ the threshold."""
        likely = [
            (case.appeal_id, label.repeat_of, appeal.pseudonym)
            for case, appeal, label in waiting
            if label.repeat_of and label.repeat_score >= self.auto_link_threshold and appeal.pseudonym
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

    def _relabel(self, book: Book, case: KnownCase, at: datetime) -> None:
        """A newer label on a case that has its order."""
        order = book.orders.get(case.work_order_id or "")
        appeal, label = case.appeal, case.label
        if order is None or appeal is None or label is None or order.appeal_ids[0] != case.appeal_id:
            return
        actor = Actor(f"user:{label.reviewed_by}", system=True) if label.reviewed_by else SYSTEM
        relabel = Relabel(
            handling_class=HandlingClass(label.handling_class),
            matter=label.matter,
            matter_path=label.matter_path,
            kind=label.kind,
            in_review=label.needs_review,
            return_until=self._return_until(order, label),
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
        trail = Trail(order)
        if movable and not label.needs_review and not (same and order.status is Status.DISPATCHED):
            seen = _case(case.appeal_id, appeal, label, self.desk.platform)
            dispatch = self.desk.dispatch(seen, at, "review", without=order.returned_by, label=relabel)
            if order.status is Status.PENDING or dispatch.decision.lead != order.lead:
                trail.step(dispatch, actor, at)
                book.take(trail)
                return
        if not same:
            book.attempt(order.id, relabel, actor, at)

    def _return_until(self, order: WorkOrder, label: KnownLabel) -> datetime | None:
        """The window follows the class, as the accept clock does."""
        if order.status is not Status.DISPATCHED or order.dispatched_at is None:
            return None
        return self.desk.return_until(HandlingClass(label.handling_class), order.dispatched_at)

    # --- withdrawals, links, feedback ------------------------------------------------------------------------------

    async def _withdraw(self, book: Book, case: KnownCase, message: Message[appeals.AppealEvent]) -> None:
        """The appeal ended at intake: told by its status, since a later wish may have come with the withdrawal."""
        if case.work_order_id is None:
            return
        await book.lock([case.work_order_id])
        ended = isinstance(message.data, appeals.AppealWithdrawn | appeals.AppealDeclined)
        await self._leave(book, case, (ended and message.data.reason) or "诉求人撤回", message.time)

    async def _leave(self, book: Book, case: KnownCase, reason: str, at: datetime) -> None:
        """The appeal no longer belongs to its order, which is cancelled when it was the only one."""
        order = book.orders.get(case.work_order_id or "")
        if order is None or case.appeal_id not in order.appeal_ids:
            return
        if len(order.appeal_ids) > 1:
            book.attempt(order.id, PartAppeal(appeal_id=case.appeal_id, reason=reason), SYSTEM, at)
        else:
            book.attempt(order.id, Cancel(reason=reason), SYSTEM, at)

    async def _link(self, book: Book, case: KnownCase, to: str, relation: str, at: datetime) -> None:
        """A person's link: the appeal's own order ends, the other one answers both; finished ones stay as they are."""
        target = (await repository.read_cases(book.uow.pg, [to])).get(to)
        if (
            target is None
            or target.appeal is None
            or (target.work_order_id is None and target.appeal.status == RECEIVED)
        ):
            # the other appeal is still on its way to its order
            book.uow.arm(Timer(LINK, case.appeal_id, at + LINK_AGAIN, {"to": to, "relation": relation}))
            return
        if target.work_order_id is None or target.work_order_id == case.work_order_id:
            return
        await book.lock([key for key in (target.work_order_id, case.work_order_id) if key])
        own = book.orders.get(case.work_order_id or "")
        if own is not None and own.status not in UNFINISHED:
            return
        command = JoinAppeal(appeal_id=case.appeal_id, relation=relation)
        if book.attempt(target.work_order_id, command, SYSTEM, at) is None:
            return
        if case.work_order_id is not None:
            await self._leave(book, case, "已并入另一件相同诉求的工单", at)
        await repository.assign_cases(book.uow.pg, [(case, target.work_order_id)])

    async def _unlink(self, book: Book, case: KnownCase, message: Message[appeals.AppealEvent]) -> None:
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
        await self.desk.refresh(book.uow.pg)
        own = self._open(book, case.appeal_id, case.appeal, case.label, message.time)
        await repository.assign_cases(book.uow.pg, [(case, own.id)])

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


def _known_appeal(appeal: appeals.Appeal) -> KnownAppeal:
    return KnownAppeal(
        reference_no=appeal.reference_no,
        status=appeal.status,
        channel=appeal.channel,
        received_at=appeal.received_at,
        taken_at=appeal.emergency_action.taken_at if appeal.emergency_action else None,
        region_code=appeal.place.region_code,
        groups=tuple(appeal.reporter.groups),
        pseudonym=appeal.reporter.pseudonym,
        kind=appeal.kind,
        title=appeal.title,
        text=appeal.text,
    )


def _known_label(label: labels.Label) -> KnownLabel:
    return KnownLabel(
        matter=label.matter.code,
        matter_path=tuple(label.matter.path),
        handling_class=label.handling_class,
        kind=label.kind,
        region_code=label.region_code,
        tags=tuple(tag.code for tag in label.tags),
        needs_review=label.needs_review,
        reviewed_by=label.reviewed_by,
        repeat_of=label.repeat_of.appeal_id if label.repeat_of else None,
        repeat_score=label.repeat_of.score if label.repeat_of else 0.0,
    )


def _case(appeal_id: str, appeal: KnownAppeal, label: KnownLabel, platform: str) -> Case:
    return Case(
        appeal_id=appeal_id,
        matter=label.matter,
        handling_class=HandlingClass(label.handling_class),
        received_at=appeal.received_at,
        taken_at=appeal.taken_at,
        kind=label.kind,
        region_code=label.region_code or appeal.region_code or platform,
        channel=appeal.channel,
        tags=frozenset(label.tags),
        groups=frozenset(appeal.groups),
        text=appeal.text,
    )
