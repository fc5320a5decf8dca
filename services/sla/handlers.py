"""What sla does: reacts to orders and feedback, and to its own timers; keeps supervisions and rules."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.sla import repository
from services.sla.domain import lifecycle
from services.sla.domain.clocks import Fact, FactName
from services.sla.domain.lifecycle import ClockSet
from services.sla.events import LATE_AFTER, Owner, events_of
from services.sla.reactions import IGNORED, feedback_fact, on_feedback_fact, on_order_event
from services.sla.repository import Row
from services.sla.terms import TermsBook
from shared.events.catalog import ratings, work_orders
from shared.events.event import Message
from shared.ids import uuid7
from shared.outbox.uow import Timer, Uow

CLOCK_TIMER = "clock"
"""one timer per work order: the next lamp or level of any of its clocks"""


class Handlers:
    """The service's reactions. All of them write in the caller's unit of work."""

    def __init__(self, terms: TermsBook) -> None:
        self.terms = terms

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Start, stop and re-base clocks by the order's facts (domain.md, SLA, Start and stop)."""
        moving = [message for message in batch if not isinstance(message.data, IGNORED)]
        if not moving:
            return
        rows = await repository.lock(uow.pg, (message.key for message in moving))
        page = _Page(uow, self.terms)
        for message in moving:
            row, order = rows[message.key], message.data.after
            row.owner = Owner(order.appeal_ids, order.lead, order.region_code)
            changed, facts = on_order_event(row.clock_set, message.data, message.time, self.terms.at(message.time))
            page.put(row, changed, facts)
            row.applied_to = message.time if row.applied_to is None else max(row.applied_to, message.time)
            _catch_up(row, page)
        await page.write(list(rows.values()))

    async def on_feedback(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """The first call stops call-back; the second bad rating of one appeal is level 3."""
        found = [(m.data.after.work_order_id, fact) for m in batch if (fact := feedback_fact(m.data, m.time))]
        if not found:
            return
        rows = await repository.lock_or_create(uow.pg, (work_order_id for work_order_id, _ in found))
        page = _Page(uow, self.terms)
        for work_order_id, fact in found:
            rows[work_order_id].early.append(fact)
            _catch_up(rows[work_order_id], page)
        await page.write(list(rows.values()))

    async def on_due(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Announce lamps and levels that are due, oldest first."""
        rows = await repository.lock_free(uow.pg, (timer.key for timer in timers))
        page = _Page(uow, self.terms)
        for timer in timers:
            row = rows.get(timer.key)
            if row is None:
                uow.arm(timer)  # its order is being changed at this moment: look again right after
                continue
            row.next_at = None  # the timer that was armed is gone
            if row.clock_set is not None:
                page.put(row, *lifecycle.fire(row.clock_set, timer.due_at))
        await page.write(list(rows.values()))


def _catch_up(row: Row, page: "_Page") -> None:
    """Apply feedback facts, in order, as far as the completion that they speak of was read."""
    while row.early and row.clock_set is not None and row.applied_to is not None:
        fact = row.early[0]
        # an event of the same instant may be the one before the completion
        if fact.asked_at >= row.applied_to and row.clock_set.completed_by(fact.asked_at) is None:
            return
        page.put(row, *on_feedback_fact(row.clock_set, fact, page.terms.at(fact.at)))
        row.early = row.early[1:]


class _Page:
    """The effects of one batch: changed rows, events, supervisions and timers, written at its end."""

    def __init__(self, uow: Uow, terms: TermsBook) -> None:
        self.uow = uow
        self.terms = terms
        self.now = uow.clock.now()
        self.raised: list[Mapping[str, Any]] = []
        self.withdrawn: list[tuple[str, str, int, int, datetime]] = []

    def put(self, row: Row, changed: ClockSet, facts: Sequence[Fact]) -> None:
        """A transition of one row: its new set and what it publishes."""
        row.clock_set = changed
        if not facts:
            return
        named = {fact: uuid7() for fact in facts if fact.name is FactName.ESCALATED}
        for fact in facts:
            if fact.name is FactName.ESCALATED:
                self._raise(row, fact, named[fact])
            elif fact.name is FactName.CORRECTED:
                self._withdraw(row, fact)
        calendar = self.terms.at(facts[-1].at).calendar
        for event, at in events_of(facts, changed, row.owner, self.now, calendar, named):
            row.sequence += 1
            self.uow.emit(event, key=row.work_order_id, sequence=row.sequence, time=at)

    def _raise(self, row: Row, fact: Fact, supervision_id: str) -> None:
        self.raised.append(
            {
                "id": supervision_id,
                "work_order_id": row.work_order_id,
                "clock": fact.clock.value,
                "round": fact.round,
                "level": fact.level,
                "unit": row.owner.unit,
                "region_code": row.owner.region_code,
                "due_at": fact.due_at or fact.at,
                "raised_at": fact.at,
                "late": self.now - fact.at > LATE_AFTER,
                "withdrawn_at": None,
            }
        )

    def _withdraw(self, row: Row, fact: Fact) -> None:
        for level in fact.withdrawn:
            key = (row.work_order_id, fact.clock.value, fact.round, level)
            for index, raised in enumerate(self.raised):  # raised and taken back by the same batch
                same = key == (raised["work_order_id"], raised["clock"], raised["round"], raised["level"])
                if same and raised["withdrawn_at"] is None:
                    self.raised[index] = {**raised, "withdrawn_at": fact.at}
                    break
            else:
                self.withdrawn.append((*key, fact.at))

    async def write(self, rows: Sequence[Row]) -> None:
        """Rows, supervisions and timers of the batch."""
        for row in rows:
            self._arm(row)
        for row in await repository.save(self.uow.pg, rows):
            _catch_up(row, self)
            self._arm(row)
            await repository.save(self.uow.pg, [row])
        if self.withdrawn:
            await repository.withdraw_supervisions(self.uow.pg, self.withdrawn)
        if self.raised:
            await repository.raise_supervisions(self.uow.pg, self.raised)

    def _arm(self, row: Row) -> None:
        instant = None if row.clock_set is None else row.clock_set.next_instant()
        if instant == row.next_at:
            return
        if instant is None:
            self.uow.disarm(CLOCK_TIMER, row.work_order_id)
        else:
            self.uow.arm(Timer(CLOCK_TIMER, row.work_order_id, instant))
        row.next_at = instant
