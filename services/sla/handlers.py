"""What sla does: reacts to orders and feedback, and to its own timers; keeps supervisions and rules."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.sla import ledger, repository
from services.sla.domain import lifecycle
from services.sla.domain.clock import Fact, FactName
from services.sla.domain.clock_set import ClockSet, Terms, moves
from services.sla.events import LATE_AFTER, Owner, events_of
from services.sla.reactions import IGNORED, feedback_fact, on_feedback_fact, on_order_event
from services.sla.repository import Row
from services.sla.supervision import Supervision
from services.sla.terms import TermsBook
from shared.events.catalog import ratings, work_orders
from shared.events.event import Message
from shared.ids import uuid7
from shared.outbox.uow import Timer, Uow

CLOCK_TIMER = "clock"
"""one timer per work order: the next lamp or level of any of its clocks"""

RULES_TIMER = "rules"
"""one timer per instant from which other rules hold; it goes through the open orders"""

RULES_PAGE = 1_000
SECOND_LOOK = timedelta(seconds=15)
"""by then every replica has read the rules (`bootstrap.REFRESH_S`)"""


class Handlers:
    """The service's reactions. All of them write in the caller's unit of work."""

    def __init__(self, terms: TermsBook, supervision: Supervision) -> None:
        self.terms = terms
        self.supervision = supervision

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Start, stop and re-base clocks by the order's facts (domain.md, SLA, Start and stop)."""
        await ledger.keep(uow.pg, batch)
        moving = [message for message in batch if not isinstance(message.data, IGNORED)]
        if not moving:
            return
        rows = await repository.lock(uow.pg, (message.key for message in moving))
        page = _Page(uow, self.terms, self.supervision)
        for message in moving:
            row, order = rows[message.key], message.data.after
            terms = page.terms_of(row, message.time)
            row.owner = Owner(order.appeal_ids, order.lead, order.region_code)
            page.put(row, *on_order_event(row.clock_set, message.data, message.time, terms))
            row.applied_to = message.time if row.applied_to is None else max(row.applied_to, message.time)
            _catch_up(row, page)
        await page.write(list(rows.values()))

    async def on_feedback(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """The first call stops call-back; the second bad rating of one appeal is level 3."""
        found = [(m.data.after.work_order_id, fact) for m in batch if (fact := feedback_fact(m.data, m.time))]
        if not found:
            return
        rows = await repository.lock_or_create(uow.pg, (work_order_id for work_order_id, _ in found))
        page = _Page(uow, self.terms, self.supervision)
        for work_order_id, fact in found:
            rows[work_order_id].early.append(fact)
            _catch_up(rows[work_order_id], page)
        await page.write(list(rows.values()))

    async def on_due(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Announce lamps and levels that are due, oldest first."""
        rows = await repository.lock_free(uow.pg, (timer.key for timer in timers))
        page = _Page(uow, self.terms, self.supervision)
        for timer in timers:
            row = rows.get(timer.key)
            if row is None:
                uow.arm(timer)  # its order is being changed at this moment: look again right after
                continue
            row.next_at = None  # the timer that was armed is gone
            page.terms_of(row, timer.due_at)
            if row.clock_set is not None:
                page.put(row, *lifecycle.fire(row.clock_set, timer.due_at))
        await page.write(list(rows.values()))

    async def on_rules(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Rules came into force: open orders are timed by them, some at each call.

        A second look follows for what a replica wrote that had not read of them yet.
        """
        await self.terms.read(uow.pg)
        for timer in timers:
            page = _Page(uow, self.terms, self.supervision)
            rows = await repository.lock_running(uow.pg, timer.payload.get("after", ""), RULES_PAGE)
            changed = []
            for row in rows:
                before = row.clock_set
                page.terms_of(row, timer.due_at)
                if before is not None and row.clock_set is not None and row.clock_set.clocks is not before.clocks:
                    changed.append(row)
            await page.write(changed)
            if len(rows) == RULES_PAGE:
                uow.arm(replace(timer, payload={**timer.payload, "after": rows[-1].work_order_id}))
            elif not timer.payload.get("second"):
                uow.arm(Timer(RULES_TIMER, f"{timer.key}/2", timer.due_at + SECOND_LOOK, {"second": True}))


def _catch_up(row: Row, page: "_Page") -> None:
    """Apply feedback facts, in order, as far as the completion that they speak of was read."""
    while row.early and row.clock_set is not None and row.applied_to is not None:
        fact = row.early[0]
        # an event of the same instant may be the one before the completion
        if fact.asked_at >= row.applied_to and row.clock_set.completed_by(fact.asked_at) is None:
            return
        terms = page.terms_of(row, fact.at)
        page.put(row, *on_feedback_fact(row.clock_set, fact, terms))
        row.early = row.early[1:]


class _Page:
    """The effects of one batch: changed rows, events, supervisions and timers, written at its end."""

    def __init__(self, uow: Uow, terms: TermsBook, supervision: Supervision) -> None:
        self.uow = uow
        self.terms = terms
        self.supervision = supervision
        self.now = uow.clock.now()
        self.raised: list[Mapping[str, Any]] = []
        self.moved: list[Mapping[str, Any]] = []
        self.withdrawn: list[tuple[str, str, int, int, datetime]] = []

    def terms_of(self, row: Row, at: datetime) -> Terms:
        """The rules for an event of time `at`; the order is timed by them first, if it was not yet.

        An event from before the rules by which the order is timed is judged by its own; they are applied again after
        it (`_arm`).
        """
        terms = self.terms.at(at)
        before = row.clock_set
        if before is None or before.rules == terms.number:
            return terms
        if before.rules > terms.number:
            self.put(row, *lifecycle.restored(before, at, terms))
            return terms
        for newer in self.terms.since(before.rules, at):
            assert newer.since is not None
            clock_set, facts = lifecycle.retimed(row.clock_set or before, newer.since, newer)
            self.moved += [
                {
                    "effective_from": newer.since,
                    "work_order_id": row.work_order_id,
                    "clock": move.clock.value,
                    "round": move.round,
                    "unit": row.owner.unit,
                    "region_code": row.owner.region_code,
                    "from_at": move.before,
                    "to_at": move.after,
                }
                for move in moves(row.clock_set or before, clock_set)
            ]
            self.put(row, clock_set, facts)
        return terms

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
        calendar = self.terms.at(facts[-1].at).calendar_for(changed)
        for event, at in events_of(facts, changed, row.owner, self.now, calendar, named):
            row.sequence += 1
            self.uow.emit(event, key=row.work_order_id, sequence=row.sequence, time=at)

    def _raise(self, row: Row, fact: Fact, supervision_id: str) -> None:
        assert fact.level is not None
        assert row.clock_set is not None
        late = self.now - fact.at > LATE_AFTER
        raised = {
            "id": supervision_id,
            "work_order_id": row.work_order_id,
            "clock": fact.clock.value,
            "round": fact.round,
            "level": fact.level,
            "unit": row.owner.unit,
            "region_code": row.owner.region_code,
            "due_at": fact.due_at or fact.at,
            "raised_at": fact.at,
            "late": late,
            "withdrawn_at": None,
            "reach": fact.level,
            "told_at": None if late else self.now,
            "handling_class": row.clock_set.handling_class,
        }
        self.raised.append(raised | {"audience": self.supervision.audience(fact.level, raised)})

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
            taken_back = await repository.withdraw_supervisions(self.uow.pg, self.withdrawn)
            self.supervision.take_back(taken_back, self.uow)
        if self.raised:
            await repository.raise_supervisions(self.uow.pg, self.raised)
            self.supervision.announce(self.raised, self.uow)
        if self.moved:
            await repository.record_moves(self.uow.pg, self.moved)

    def _arm(self, row: Row) -> None:
        instant = None if row.clock_set is None else row.clock_set.next_instant()
        if row.clock_set is not None and row.clock_set.running:
            # rules that hold already and were not applied: once the input is read up to them
            newer = next(self.terms.since(row.clock_set.rules, self.now), None)
            if newer is not None and newer.since is not None:
                instant = newer.since if instant is None else min(instant, newer.since)
        if instant == row.next_at:
            return
        if instant is None:
            self.uow.disarm(CLOCK_TIMER, row.work_order_id)
        else:
            self.uow.arm(Timer(CLOCK_TIMER, row.work_order_id, instant))
        row.next_at = instant
