"""Routes of seats: whom to call, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from services.feedback import repository
from services.feedback.api.desk import Centre, Desk, Id, Seat
from services.feedback.commands import Lease
from services.feedback.domain import Answer, AttemptOutcome, Medium
from services.feedback.schemas import AttemptBody, DecisionBody, LeaseBody
from shared.clock import rfc3339
from shared.http.auth import Idempotency
from shared.http.pages import Paged, after_of, cursor_of, page_of

LEASE = timedelta(minutes=15)
"""how long a seat holds a call-back, real time; not beyond the hours"""


def add_routes(routes: APIRouter, desk: Desk) -> None:
    """`/v1/callbacks`, without what is contested."""
    handlers, database, clock = desk.handlers, desk.database, desk.clock

    @routes.get("/v1/callbacks")
    async def list_callbacks(
        who: Seat,
        asked: Paged,
        status: Literal["open", "awaiting_decision"] = "open",
        due: Annotated[bool, Query(description="only those that may be called now")] = False,
        medium: Medium | None = None,
    ) -> dict[str, Any]:
        """Citizens to call, the next one first; or, with `status=awaiting_decision`, cases rated badly twice."""
        now = clock.now()
        if due and handlers.hours.half_day(now) is None:
            return {"items": [], "next": None}
        async with database.read() as pg:
            if status == "awaiting_decision":
                found = await repository.list_decisions(
                    pg, who=who, after=after_of(asked, str) or "", limit=asked.limit + 1
                )
                return page_of([desk.callback(case) for case in found], asked, lambda row: [row["id"]])
            found = await repository.list_callbacks(
                pg,
                due_by=now if due else None,
                media=[medium or one for one in Medium],
                who=who,
                after=(after[0], after[1]) if (after := cursor_of(asked, datetime, str)) else None,
                limit=asked.limit + 1,
            )
        return page_of([desk.callback(case) for case in found], asked, lambda row: [row["next_attempt_at"], row["id"]])

    @routes.post("/v1/callbacks/lease")
    async def lease_callbacks(body: LeaseBody, who: Seat, idempotency: Idempotency) -> dict[str, Any]:
        """Take the next call-backs that may be made now; nobody else gets them for 15 minutes, or until 21:00. Without
        `media` those by phone and in writing: sign language is for seats that know it."""
        now, real = clock.now(), datetime.now(UTC)
        left = handlers.hours.left(now)
        if not left:
            return {"items": [], "next_attempt_at": rfc3339(handlers.hours.next_start(now))}
        wish = Lease(who, body.limit, tuple(body.media), real, real + min(LEASE, left), desk.callback)
        return (await desk.leases.submit(wish, idempotency(who, body))).answer

    @routes.post("/v1/callbacks/{appeal_id}/attempts")
    async def add_attempt(appeal_id: Id, body: AttemptBody, who: Seat, idempotency: Idempotency) -> dict[str, Any]:
        """A call was made. 409 when the rules refuse it (outside 09:00–21:00, the same half-day, another seat's)."""
        answer = Answer(body.contacted, body.solved, body.satisfaction, body.words)
        rule = desk.acts.attempt(who.sub, AttemptOutcome(body.outcome), answer, datetime.now(UTC))
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), desk.callback)).answer

    @routes.post("/v1/callbacks/{appeal_id}/decision")
    async def decide(appeal_id: Id, body: DecisionBody, who: Centre, idempotency: Idempotency) -> dict[str, Any]:
        """The centre closes a case that was rated badly twice."""
        rule = desk.acts.decide(who.actor, body.reason)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), desk.callback)).answer
