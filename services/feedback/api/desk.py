"""What the routes work with, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path

from services.feedback.commands import Acts, Command, JudgedOf, Lease, Rule, visible_to
from services.feedback.handlers import Handlers
from services.feedback.repository import Case
from services.feedback.scripts import Scripts
from shared.clock import Clock, rfc3339
from shared.db.database import Database
from shared.http.auth import allowed
from shared.http.commands import CommandQueue, IdempotencyKey, Outcome
from shared.security.principal import Principal

Seat = Annotated[Principal, allowed("seat", "supervisor", "leader")]
Centre = Annotated[Principal, allowed("supervisor", "leader")]
Leader = Annotated[Principal, allowed("leader")]
Reader = Annotated[Principal, allowed("handler", "supervisor", "leader", "auditor")]
Loser = Annotated[Principal, allowed("handler", "seat")]
"""asks for a review: a handler for his unit, a seat for the citizen"""
Id = Annotated[str, Path(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that routes need."""

    handlers: Handlers
    acts: Acts
    database: Database
    clock: Clock
    scripts: Scripts
    commands: CommandQueue[Command]
    leases: CommandQueue[Lease]

    async def submit(
        self,
        rule: Rule,
        who: Principal,
        appeal_id: str,
        key: IdempotencyKey | None,
        view: Callable[[Case], dict[str, Any]],
        of: JudgedOf | None = None,
    ) -> Outcome:
        """The outcome of a command about an appeal in the scope of `who`, the case as `view` shows it; `of`: see
        `visible_to`."""
        return await self.commands.submit(Command(visible_to(who, rule, of), view, appeal_id), key)

    def callback(self, case: Case) -> dict[str, Any]:
        """A call-back as seats see it."""
        asked = case.feedback.rounds[-1]
        now, hours = self.clock.now(), self.handlers.hours
        starts = hours.next_attempt(asked) if asked.open else None
        leased = case.leased_until is not None and case.leased_until > datetime.now(UTC)
        completion, medium = asked.completion, asked.seat_medium
        return {
            "id": case.appeal_id,
            "appeal_id": case.appeal_id,
            "work_order_id": completion.work_order_id,
            "unit": completion.unit,
            "unit_name": completion.unit_name,
            "matter": completion.matter,
            "region_code": completion.region_code,
            "result": completion.result,
            "unit_said_solved": completion.solved,
            "status": case.feedback.status.value,
            "outcome": case.feedback.outcome.value if case.feedback.outcome else None,
            "method": asked.method.value,
            "medium": medium.value if medium else None,
            "script": self.scripts.for_round(asked) if medium and asked.open else None,
            "round": asked.number,
            "bad_ratings": case.feedback.bad_ratings,
            "completed_at": rfc3339(completion.at),
            "attempts": [{"at": rfc3339(a.at), "outcome": a.outcome.value} for a in asked.attempts],
            "next_attempt_at": rfc3339(starts) if starts else None,
            "callable_now": starts is not None and starts <= now and hours.half_day(now) is not None,
            "leased_by": case.leased_by if leased else None,
            "leased_until": rfc3339(case.leased_until) if leased and case.leased_until else None,
        }
