"""派单争议: opened, looked at on the spot, ruled, its ruling contested once (domain.md, Dispatch 3 and 4; ADR 0023)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from services.dispatch import repository
from services.dispatch.api.parameters import Centre, Handling, Id, Leading, Staff, uuid_of
from services.dispatch.api.work_orders import done
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.commands import DISPUTE_ACTIONS
from services.dispatch.domain.machine import allowed_actions
from services.dispatch.domain.work_order import WorkOrder
from services.dispatch.handlers import Act, actor_of, sees
from services.dispatch.schemas import (
    CheckBody,
    CheckRecordBody,
    ContestBody,
    ContestDecisionBody,
    DisputeBody,
    RulingBody,
)
from shared.clock import Clock, in_zone
from shared.db.database import Database
from shared.errors import not_found
from shared.http.auth import Idempotency
from shared.http.bodies import Body
from shared.http.commands import CommandQueue
from shared.http.pages import Paged, after_of, page_of
from shared.security.principal import Principal

State = Literal["open", "ruled", "contested", "cancelled"]


def add_routes(routes: APIRouter, desk: RoutingDesk, acts: CommandQueue[Act], database: Database, clock: Clock) -> None:
    """Add the routes of `disputes`. Every write answers with the work order."""

    def shown(row: dict[str, Any], order: WorkOrder, who: Principal) -> dict[str, Any]:
        """A dispute with what the caller may do about it now."""
        own = order.dispute_id == row["id"] or (order.ruling is not None and order.ruling.dispute_id == row["id"])
        actions = allowed_actions(order, actor_of(who), clock.now(), DISPUTE_ACTIONS) if own else ()
        names = {code: desk.units.name(code) for code in (*row["units"], row["lead"]) if code}
        told: dict[str, Any] = in_zone(row)
        return told | {
            "unit_names": [names[code] for code in row["units"]],
            "lead_name": names.get(row["lead"]),
            "actions": list(actions),
        }

    @routes.get("/v1/disputes")
    async def list_disputes(who: Staff, page: Paged, status: Annotated[State | None, Query()] = None) -> dict[str, Any]:
        """派单争议, newest first; `contested`: one level up has to decide."""
        async with database.read() as pg:
            await desk.refresh(pg, NAMES_AGE_S)
            found = await repository.list_disputes(pg, status, who.scope, after_of(page, str), page.limit + 1)
        return page_of([shown(row, order, who) for row, order in found], page, lambda row: [row["id"]])

    @routes.get("/v1/disputes/{dispute_id}")
    async def show_dispute(dispute_id: Id, who: Staff) -> dict[str, Any]:
        """One dispute with its on-site checks, its ruling and the appeal against that, and what the caller may do."""
        async with database.look_up() as pg:
            await desk.refresh(pg, NAMES_AGE_S)
            found = await repository.read_dispute(pg, uuid_of(dispute_id, "The dispute"))
        if found is not None:
            row, order = found
            parties = (*row["units"], *row["looking"], row["lead"], *(row["co_handlers"] or ()))
            if sees(who, order) or (who.sees_region(order.region_code) and who.sees_unit(*parties)):
                return shown(row, order, who)
        raise not_found(f"The dispute {dispute_id}")

    async def do(
        dispute_id: str, action: str, body: Body, who: Principal, idempotency: Any, response: Response, part: str = ""
    ) -> dict[str, Any]:
        act = Act(uuid_of(dispute_id, "The dispute"), action, body, who, target="dispute", part=part)
        return await done(acts, act, idempotency(who, body), response)

    @routes.post("/v1/disputes")
    async def open_dispute(
        body: DisputeBody, who: Centre, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """The centre opens a dispute by hand about an order that is not completed."""
        act = Act(uuid_of(body.work_order_id, "The work order"), "dispute", body, who)
        return await done(acts, act, idempotency(who, body), response)

    @routes.post("/v1/disputes/{dispute_id}/checks")
    async def order_check(
        dispute_id: Id, body: CheckBody, who: Centre, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """现场核查: the centre sends units to look at the place. The ruling clock runs on."""
        return await do(dispute_id, "check", body, who, idempotency, response)

    @routes.post("/v1/disputes/{dispute_id}/checks/{check_id}/record")
    async def record_check(
        dispute_id: Id, check_id: Id, body: CheckRecordBody, who: Handling, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """What a unit that was sent found there, with attachments as evidence; it stands in the ruling's reason."""
        part = uuid_of(check_id, "The on-site check")
        return await do(dispute_id, "record", body, who, idempotency, response, part)

    @routes.post("/v1/disputes/{dispute_id}/ruling")
    async def rule(
        dispute_id: Id, body: RulingBody, who: Centre, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """The centre's binding decision. The order is dispatched to the unit that was ruled."""
        return await do(dispute_id, "ruling", body, who, idempotency, response)

    @routes.post("/v1/disputes/{dispute_id}/contest")
    async def contest(
        dispute_id: Id, body: ContestBody, who: Handling, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """A unit that the ruling gave work to appeals against it: once, until `contest_until`. The ruling stays binding
        until the decision."""
        return await do(dispute_id, "contest", body, who, idempotency, response)

    @routes.post("/v1/disputes/{dispute_id}/contest/decision")
    async def decide(
        dispute_id: Id, body: ContestDecisionBody, who: Leading, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """One level up, by somebody who did not give the ruling: upheld, or changed into another, which is final."""
        return await do(dispute_id, "decision", body, who, idempotency, response)
