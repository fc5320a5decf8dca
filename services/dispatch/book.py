"""The orders of one transaction: changed in memory step by step, then written and told in a few statements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.dispatch import repository, tables
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.case import Case
from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands import (
    Cancel,
    NotePart,
    Recall,
    Split,
    open_dispatched,
    open_part,
    open_pending,
    part_of,
)
from services.dispatch.domain.machine import Refused, step
from services.dispatch.domain.work_order import SYSTEM, UNFINISHED, Actor, Handoff, Status, SubOrder, WorkOrder
from services.dispatch.events import event_of, handoff_of, shown
from services.dispatch.known import KnownCase
from shared.db import bulk
from shared.errors import Problem
from shared.events.catalog import handoffs
from shared.ids import uuid7
from shared.outbox.uow import Timer, Uow
from shared.telemetry.tracing import current_traceparent

_ENDED = (Status.CANCELLED, Status.HANDED_OFF)
SUSPENSION_END = "suspension-end"
"""timer of an order: its suspension ends"""


@dataclass(frozen=True, slots=True)
class Change:
    """One version of an order: what it was, what it is, what happened, who did it and when."""

    before: WorkOrder | None
    after: WorkOrder
    fact: Fact
    actor: str
    at: datetime
    traceparent: str | None = field(default_factory=current_traceparent)
    """of the work at hand when it was made; it is told later, when others are at hand"""


@dataclass(slots=True)
class Trail:
    """Steps on one order that stand or fall together."""

    order: WorkOrder
    changes: list[Change] = field(default_factory=list)

    def step(self, command: Command, actor: Actor, at: datetime) -> WorkOrder:
        """Raises Problem (403 or 409 with the present state and the allowed actions) when it is refused."""
        outcome = step(self.order, command, actor, at)
        if isinstance(outcome, Refused):
            raise refusal(outcome, self.order)
        self.changes.append(Change(self.order, outcome.order, outcome.fact, actor.name, at))
        self.order = outcome.order
        return self.order


def refusal(refused: Refused, order: WorkOrder) -> Problem:
    """The problem document of a refused command (api.md: the allowed actions and the present state)."""
    return Problem(
        403 if refused.code == "forbidden" else 409,
        refused.code,
        refused.detail,
        actions=list(refused.allowed),
        present=present(order),
    )


def present(order: WorkOrder) -> dict[str, Any]:
    """The state that a caller is told when he was too late."""
    return {"id": order.id, "status": order.status.value, "lead": order.lead, "version": order.version}


class Book:
    """Orders locked for this transaction. Nothing is written before `save`."""

    def __init__(self, uow: Uow, desk: RoutingDesk) -> None:
        self.uow = uow
        self.desk = desk
        self.orders: dict[str, WorkOrder] = {}
        self.lamps: dict[str, repository.Lamp] = {}
        self._new: set[str] = set()
        self._assigned: dict[str, KnownCase] = {}
        self._changes: list[Change] = []

    async def lock(self, ids: Iterable[str]) -> None:
        """Read orders under their row locks."""
        wanted = [order_id for order_id in ids if order_id not in self.orders]
        if wanted:
            for key, (order, lamp) in (await repository.lock_orders(self.uow.pg, wanted)).items():
                self.orders[key], self.lamps[key] = order, lamp

    def open(self, case: Case, path: Sequence[str], at: datetime, *, in_review: bool, pending: bool) -> WorkOrder:
        """A new order for a case: pending at the centre, or with the lead that the chain names."""
        centre = self.desk.units.centre.code
        if pending:
            order, fact = open_pending(uuid7(), case, centre, at, path)
        else:
            dispatch = self.desk.dispatch(case, at, "routing")
            order, fact = open_dispatched(uuid7(), case, centre, at, dispatch, in_review=in_review, matter_path=path)
        self.orders[order.id] = order
        self._new.add(order.id)
        self._changes.append(Change(None, order, fact, "system:dispatch", at))
        return order

    def open_part(self, parent: WorkOrder, part: SubOrder, split: Split, actor: Actor, at: datetime) -> None:
        """A sub-order of `parent` with its unit, or offered to the platform that is asked."""
        order, fact = open_part(
            parent,
            part,
            self.desk.units.name(parent.lead),
            split.allowed_s.get(part.id),
            self.desk.return_until(parent.handling_class, at),
            at,
            Handoff(uuid7(), part.platform) if part.platform else None,
            split.regions.get(part.id),
        )
        self.orders[order.id] = order
        self._new.add(order.id)
        self._changes.append(Change(None, order, fact, actor.name, at))

    async def _join_parts(self) -> None:
        """A parent learns what became of its parts, and parts end with their parent."""
        ended = {
            part.id: change.at
            for change in self._changes
            if change.before is not None and change.after.status in _ENDED
            for part in change.before.open_parts
        }
        await self.lock(ended)
        for part_id, at in ended.items():
            if part_id in self.orders:
                away = self.orders[part_id].status is Status.HANDED_OFF
                ending = Recall if away else Cancel
                self.attempt(part_id, ending(reason="主办工单已结束"), SYSTEM, at)
        parts = [change for change in self._changes if change.after.parent_id is not None and change.before is not None]
        await self.lock(change.after.parent_id for change in parts if change.after.parent_id)
        for change in parts:
            order = self.orders[change.after.id]
            parent = order.parent_id or ""
            if parent in self.orders and (order.status not in UNFINISHED or change.fact.name == "dispatched"):
                note = NotePart(part=part_of(order), reason=change.fact.reason)
                self.attempt(parent, note, SYSTEM, change.at)

    def assign(self, case: KnownCase, order_id: str) -> None:
        """From now on this order answers the appeal."""
        case.work_order_id = order_id
        self._assigned[case.appeal_id] = case

    async def cases(self, appeal_ids: Iterable[str]) -> dict[str, KnownCase]:
        """Cases as they are with what this transaction assigned; without a lock."""
        wanted = set(appeal_ids)
        known = {key: self._assigned[key] for key in wanted & self._assigned.keys()}
        others = wanted - known.keys()
        return known | (await repository.read_cases(self.uow.pg, others) if others else {})

    def trail(self, order_id: str) -> Trail:
        return Trail(self.orders[order_id])

    def take(self, trail: Trail) -> WorkOrder:
        """Keep the steps of a trail."""
        self.orders[trail.order.id] = trail.order
        self._changes += trail.changes
        return trail.order

    def attempt(self, order_id: str, command: Command, actor: Actor, at: datetime) -> WorkOrder | None:
        """One step that may come too late: None when the order no longer allows it."""
        trail = self.trail(order_id)
        try:
            trail.step(command, actor, at)
        except Problem:
            return None
        return self.take(trail)

    async def save(self) -> None:
        """Write the orders and everything that follows from their changes, and publish the facts."""
        if not self._changes:
            return
        if any(change.after.parent_id or change.after.sub_orders for change in self._changes):
            await self._join_parts()
        pg, at = self.uow.pg, self._changes[-1].at
        await self.desk.refresh(pg, NAMES_AGE_S)  # events name the units
        touched = dict.fromkeys(change.after.id for change in self._changes)
        await bulk.write(
            pg,
            repository.new_orders([self.orders[key] for key in touched if key in self._new], at),
            repository.changed_orders([self.orders[key] for key in touched if key not in self._new], at),
            *repository.orders_of_cases(list(self._assigned.values())),
        )
        self._assigned = {}
        await self._save_approvals()
        await self._save_disputes()
        await self._offer_handoffs()
        await self._withdraw_offers()
        for change in self._changes:
            self._set_timer(change)
            event = event_of(change.after, change.fact, change.actor, self.desk.platform, self.desk.units)
            self.uow.emit(
                event,
                key=change.after.id,
                sequence=change.after.version,
                time=change.at,
                traceparent=self._trace_of(change),
            )
        self._changes = []

    def _trace_of(self, change: Change) -> str | None:
        """Of the caller who made the change, else of the message about the order or one of its appeals."""
        return change.traceparent or self.uow.trace_of(change.after.id, *change.after.appeal_ids)

    def _set_timer(self, change: Change) -> None:
        was = change.before.suspended_until if change.before else None
        until = change.after.suspended_until
        if until is not None and until != was:
            self.uow.arm(Timer(SUSPENSION_END, change.after.id, until))
        elif until is None and was is not None:
            self.uow.disarm(SUSPENSION_END, change.after.id)

    async def _save_approvals(self) -> None:
        asked: list[dict[str, Any]] = []
        decided: dict[str, dict[str, Any]] = {}
        for change in self._changes:
            before = change.before.approval if change.before else None
            after = change.after.approval
            if after is not None and after != before:
                asked.append(
                    {
                        "id": after.id,
                        "work_order_id": change.after.id,
                        "what": after.kind.value,
                        "status": "open",
                        "seconds": after.seconds,
                        "reason": after.reason,
                        "evidence": after.evidence,
                        "unit": change.after.lead,
                        "region_code": change.after.region_code,
                        "requested_by": after.requested_by,
                        "requested_at": after.requested_at,
                    }
                )
            if before is not None and (after is None or after.id != before.id):
                verdicts = {"suspended": "approved", "extended": "approved", "approval_rejected": "rejected"}
                decided[before.id] = {
                    "id": before.id,
                    # completed, transferred, cancelled: what was asked for is moot
                    "status": verdicts.get(change.fact.name, "lapsed"),
                    "decided_by": change.actor,
                    "decided_at": change.at,
                    "note": change.fact.reason if change.fact.name in verdicts else None,
                }
        await bulk.insert(self.uow.pg, tables.approvals, asked)
        await bulk.update(self.uow.pg, tables.approvals, list(decided.values()), key=("id",))

    async def _save_disputes(self) -> None:
        """A row is what readers see of a dispute: opened, looked at, ended, its ruling and the appeal against that."""
        opened: list[dict[str, Any]] = []
        looked: dict[str, dict[str, Any]] = {}
        ended: dict[str, dict[str, Any]] = {}
        rulings: dict[str, dict[str, Any]] = {}
        for change in self._changes:
            before, after, fact = change.before, change.after, change.fact
            was = before.dispute_id if before else None
            if after.dispute_id is not None and after.dispute_id != was:
                opened.append(
                    {
                        "id": after.dispute_id,
                        "work_order_id": after.id,
                        "status": "open",
                        "units": fact.fields["units"],
                        "matter": after.matter,
                        "region_code": after.region_code,
                        "class": after.handling_class.value,
                        "opened_at": change.at,
                        "opened_by": change.actor,
                        "cause": fact.reason,
                    }
                )
            if was is not None and before is not None and after.checks != before.checks:
                looked[was] = {"id": was, "checks": shown(after.checks), "looking": after.checking}
            if was is not None and after.dispute_id is None:
                final, ruled = self.orders[after.id], fact.name == "ruled"
                ended[was] = {
                    "id": was,
                    "status": "ruled" if ruled else "cancelled",
                    "lead": final.lead if ruled else None,
                    "co_handlers": final.co_handlers if ruled else None,
                    "scope": fact.fields.get("scope"),
                    "reason": fact.reason,
                    "ended_at": change.at,
                    "ended_by": change.actor,
                }
            ruling = after.ruling
            if ruling is not None and (before is None or ruling != before.ruling):
                rulings[ruling.dispute_id] = {
                    "id": ruling.dispute_id,
                    "status": "contested" if ruling.contested else "ruled",
                    "lead": ruling.lead,
                    "co_handlers": ruling.co_handlers,
                    "scope": ruling.scope,
                    "reason": ruling.reason,
                    "contest_until": ruling.contest_until,
                    "contest": shown(ruling.contest) if ruling.contest else None,
                }
        await bulk.insert(self.uow.pg, tables.disputes, opened)
        for rows in (looked, ended, rulings):
            await bulk.update(self.uow.pg, tables.disputes, list(rows.values()), key=("id",))

    async def _offer_handoffs(self) -> None:
        rows: list[dict[str, Any]] = []
        for change in self._changes:
            order = change.after
            if change.fact.name != "dispatched" or order.handoff is None or order.status is not Status.DISPATCHED:
                continue
            path = self.desk.path(order.handoff.platform, change.at)
            after = handoff_of(order, self.desk.platform, path)
            why = "请对方平台联合处置" if after.joint else "诉求地点属其他平台辖区"
            event = handoffs.HandoffOffered(actor=change.actor, reason=why, after=after)
            self.uow.emit(event, key=after.id, sequence=1, time=change.at, traceparent=self._trace_of(change))
            rows.append(repository.handoff_row(after, 1))
        await repository.new_handoffs(self.uow.pg, rows)

    async def _withdraw_offers(self) -> None:
        """An order that left its offer behind: given another way, ended, answered here, or a part that was recalled."""
        left: dict[str, Change] = {}
        for change in self._changes:
            offer = change.before.handoff if change.before else None
            if offer is None or offer.state not in ("offered", "accepted"):
                continue
            now, open_still = change.after.handoff, change.after.status in (Status.DISPATCHED, Status.ACCEPTED)
            if (
                now is None
                or now.id != offer.id
                or now.state == "withdrawn"
                or (now.state == "offered" and not open_still)
            ):
                left[offer.id] = change
        for held in await repository.lock_handoffs(self.uow.pg, left):
            if held.state not in ("offered", "accepted"):
                continue
            change = left[held.id]
            after = msgspec.structs.replace(held.snapshot, state="withdrawn")
            event = handoffs.HandoffWithdrawn(actor=change.actor, reason=change.fact.reason, after=after)
            self.uow.emit(event, key=held.id, sequence=held.sequence + 1, time=change.at)
            await repository.save_handoff(self.uow.pg, after, held.sequence + 1)
