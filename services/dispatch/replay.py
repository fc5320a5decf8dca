"""Replay: past cases decided again by changed rules or duties, before the change is switched on (domain.md, Dispatch).

Rules are pure and duties are dated, so what the chain would have said at an instant of the past can be computed. Each
order of the time is decided twice for the instant at which it was opened: by what is in force, and by the change. The
work goes in pieces beside everything else; a worker that dies is followed by another where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.case import Case
from services.dispatch.domain.duties import Duty, DutyList
from services.dispatch.domain.routing import Decision, Outcome, RoutingRule
from services.dispatch.domain.units import UnitDirectory
from services.dispatch.domain.work_order import WorkOrder
from services.dispatch.repository import replays as repository
from services.dispatch.repository.registers import read_units
from services.dispatch.rules import BUILT_IN, ENTRY_POINT_GROUP
from shared.db.database import Database
from shared.errors import Transient
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.plugins.registry import PluginMissing, load

log = logging.getLogger(__name__)

PIECE = 500
"""orders of one transaction"""
BREATH = 25
"""orders between two looks at what else there is to do in this process"""
LOOK_S = 1.0
LISTED = 200


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What would be otherwise; None and empty: as it is."""

    rules: tuple[str, ...] | None = None
    """names of installed rules in their order"""
    add_duties: tuple[Duty, ...] = ()
    without_duties: tuple[str, ...] = ()
    """ids of entries"""
    units_version: int | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """The chain as the change would have it."""

    rules: Sequence[RoutingRule]
    duties: DutyList
    units: UnitDirectory

    def decide(self, desk: RoutingDesk, case: Case, at: datetime) -> Decision:
        return desk.decide(case, at, rules=self.rules, duties=self.duties, units=self.units)


def rules_named(names: Sequence[str]) -> tuple[RoutingRule, ...]:
    """Installed rules. Raises `PluginMissing`."""
    return tuple(load(ENTRY_POINT_GROUP, {str(rule.name): rule() for rule in BUILT_IN}, names))


async def alternative(pg: Any, desk: RoutingDesk, change: Change) -> Alternative:
    """Raises `PluginMissing` for a rule that is not installed and `LookupError` for units that were never imported."""
    await desk.refresh(pg)
    rules = desk.rules if change.rules is None else rules_named(change.rules)
    kept = tuple(duty for duty in desk.duties.entries if duty.id not in change.without_duties)
    units = desk.units
    if change.units_version is not None:
        found = await read_units(pg, change.units_version)
        if found is None:
            raise LookupError(f"the units' version {change.units_version} was never imported")
        units = UnitDirectory.of(found, change.units_version)
    return Alternative(rules, DutyList((*kept, *change.add_duties)), units)


def moved(desk: RoutingDesk, other: Alternative, order: WorkOrder, text: str) -> dict[str, Any] | None:
    """The line of an order that would have had another lead."""
    case, at = order.as_case(text), order.opened_at
    now, then = desk.decide(case, at), other.decide(desk, case, at)
    if now.lead == then.lead:
        return None
    return {
        "work_order_id": order.id,
        "lead": order.lead,
        "lead_now": now.lead,
        "lead_then": then.lead,
        "rule_now": _chosen(now),
        "rule_then": _chosen(then),
    }


def _chosen(decision: Decision) -> str:
    return next((answer.rule for answer in decision.answers if answer.outcome is Outcome.CHOSEN), "")


class Replays:
    """Works on what is asked, one replay at a time and replica."""

    def __init__(self, desk: RoutingDesk, database: Database) -> None:
        self.desk = desk
        self.database = database
        self.asked = asyncio.Event()
        """set when somebody asked in this process"""

    async def ask(self, change: Change, since: datetime, until: datetime, by: str, uow: Uow) -> dict[str, Any]:
        """Keep what is asked; the work begins at once."""
        identifier = uuid7()
        row = {
            "id": identifier,
            "change": msgspec.to_builtins(change),
            "opened_from": since,
            "opened_to": until,
            "asked_by": by,
            "asked_at": uow.clock.now(),
        }
        total = await repository.add(uow.pg, row)
        uow.after_commit(self.asked.set)
        return {"id": identifier, "state": "waiting", "total": total}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                found = await self._next()
            except Transient as trouble:
                log.warning("replays wait", extra={"error": str(trouble)})
                found = False
            if not found:
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self.asked.wait()
                except TimeoutError:
                    pass
                self.asked.clear()

    async def _next(self) -> bool:
        lease = uuid7()
        async with self.database.transaction() as uow:
            replay = await repository.claim(uow.pg, lease)
        if replay is None:
            return False
        try:
            await self._replay(replay, lease)
        except Transient:
            raise
        except (PluginMissing, LookupError) as fault:
            await self._end(replay, lease, "failed", str(fault))
        except Exception as fault:
            log.exception("a replay failed", extra={"replay": replay["id"]})
            await self._end(replay, lease, "failed", f"{type(fault).__name__}: {fault}")
        return True

    async def _end(self, replay: dict[str, Any], lease: str, state: str, error: str | None) -> None:
        async with self.database.transaction() as uow:
            await repository.advance(
                uow.pg,
                replay["id"],
                lease,
                [],
                cursor=replay["cursor"],
                examined=0,
                state=state,
                error=error,
                ended_at=uow.clock.now(),
            )

    async def _replay(self, replay: dict[str, Any], lease: str) -> None:
        change = msgspec.convert(replay["change"], Change, strict=False)
        async with self.database.read() as pg:
            other = await alternative(pg, self.desk, change)
        while True:
            async with self.database.read() as pg:
                orders = await repository.past_orders(
                    pg, replay["opened_from"], replay["opened_to"], replay["cursor"], PIECE
                )
            if not orders:
                await self._end(replay, lease, "done", None)
                return
            lines: list[dict[str, Any]] = []
            for number, (order, text) in enumerate(orders):
                if number % BREATH == 0:
                    await asyncio.sleep(0)  # cases that come in now go first
                line = moved(self.desk, other, order, text)
                if line is not None:
                    lines.append({"replay_id": replay["id"]} | line)
            replay["cursor"] = orders[-1][0].id
            async with self.database.transaction() as uow:
                if not await repository.advance(
                    uow.pg, replay["id"], lease, lines, cursor=replay["cursor"], examined=len(orders)
                ):
                    return  # somebody else works on it
