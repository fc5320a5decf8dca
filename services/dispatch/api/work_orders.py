"""Work orders and what people do with them; approvals."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi import Body as JsonBody
from pydantic import ValidationError

from services.dispatch import repository
from services.dispatch.api.parameters import (
    Centre,
    Digits,
    Filter,
    Handling,
    Id,
    IfMatch,
    Staff,
    uuid_of,
    version_of,
)
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.case import HandlingClass
from services.dispatch.domain.machine import allowed_actions
from services.dispatch.domain.work_order import Status
from services.dispatch.events import view
from services.dispatch.handlers import Act, actor_of, sees
from services.dispatch.handlers.action_table import ACTIONS, Action
from services.dispatch.repository import Wanted
from services.dispatch.schemas import BulkBody, NoteBody, OneOfManyBody
from shared.clock import Clock, in_zone, rfc3339
from shared.db.database import Database
from shared.errors import Problem, invalid, not_found
from shared.http.auth import Idempotency
from shared.http.commands import CommandQueue, IdempotencyKey
from shared.http.pages import Paged, after_of, page_of
from shared.http.problems import validation_problem


async def done(acts: CommandQueue[Act], act: Act, key: IdempotencyKey | None, response: Response) -> dict[str, Any]:
    """The work order after an act, with its version as `ETag`."""
    outcome = await acts.submit(act, key)
    response.headers["ETag"] = f'"{outcome.answer["version"]}"'
    return outcome.answer


def add_routes(routes: APIRouter, desk: RoutingDesk, acts: CommandQueue[Act], database: Database, clock: Clock) -> None:
    """Add the routes of `work-orders` and `approvals`."""

    async def do(act: Act, key: IdempotencyKey | None, response: Response) -> dict[str, Any]:
        return await done(acts, act, key, response)

    def add_action(action: Action[Any]) -> None:
        """One route `POST /v1/work-orders/{id}/<name>`."""
        # a remark may be left out together with its body
        optional = action.body is NoteBody
        shape: Any = action.body | None if optional else action.body
        left_out = JsonBody(None if optional else ...)

        async def route(
            order_id: Id,
            who: Handling,
            idempotency: Idempotency,
            response: Response,
            if_match: IfMatch = None,
            body: shape = left_out,
        ) -> dict[str, Any]:
            body = body or NoteBody()
            act = Act(uuid_of(order_id, "The work order"), action.name, body, who, version=version_of(if_match))
            return await do(act, idempotency(who, body), response)

        routes.add_api_route(
            f"/v1/work-orders/{{order_id}}/{action.name}",
            route,
            methods=["POST"],
            name=action.name,
            description=action.words,
            operation_id=f"work_order_{action.name.replace('-', '_')}",
        )

    @routes.get("/v1/work-orders")
    async def list_work_orders(
        who: Staff,
        page: Paged,
        unit: Filter = None,
        status: Annotated[Status | None, Query()] = None,
        lamp: Annotated[Literal["green", "yellow", "red"] | None, Query()] = None,
        class_: Annotated[HandlingClass | None, Query(alias="class")] = None,
        region: Digits = None,
        matter: Digits = None,
        q: Annotated[str | None, Query(min_length=2, max_length=100)] = None,
    ) -> dict[str, Any]:
        """Orders in the caller's scope, newest first. `region` and `matter` take groups too; `q`: words."""
        wanted = Wanted(unit, status, lamp, class_, region, matter, q)
        async with database.read() as pg:
            await desk.refresh(pg, NAMES_AGE_S)
            found = await repository.list_orders(pg, wanted, who.scope, after_of(page, str), page.limit + 1)
        actor, now = actor_of(who), clock.now()
        rows = [
            view(order, desk.platform, desk.units, lamp=shown) | {"actions": list(allowed_actions(order, actor, now))}
            for order, shown in found
        ]
        return page_of(rows, page, lambda row: [row["id"]])

    @routes.get("/v1/work-orders/{order_id}")
    async def show_work_order(order_id: Id, who: Staff, response: Response) -> dict[str, Any]:
        """One order with its appeals, every rule's answer, and the actions that the caller may take now."""
        async with database.look_up() as pg:
            await desk.refresh(pg, NAMES_AGE_S)
            found = await repository.read_order(pg, uuid_of(order_id, "The work order"))
            if found is None or not sees(who, found[0]):
                raise not_found(f"The work order {order_id}")
            answered = found[0].parent_id or found[0].id  # a part has its parent's appeals
            cases = (await repository.cases_of_orders(pg, [answered])).get(answered, [])
        order, lamp = found
        response.headers["ETag"] = f'"{order.version}"'
        return view(order, desk.platform, desk.units, lamp=lamp) | {
            "actions": list(allowed_actions(order, actor_of(who), clock.now())),
            "appeals": [
                {
                    "id": case.appeal_id,
                    "reference_no": case.appeal.reference_no,
                    "channel": case.appeal.channel,
                    "title": case.appeal.title,
                    "text": case.appeal.text,
                    "received_at": rfc3339(case.appeal.received_at),
                }
                for case in cases
                if case.appeal is not None
            ],
        }

    for action in ACTIONS.values():
        add_action(action)

    @routes.post("/v1/work-orders/bulk")
    async def bulk(body: BulkBody, who: Handling, idempotency: Idempotency) -> dict[str, Any]:
        """One action on up to 200 orders: each is done or refused by itself, as if it were sent alone. With an
        Idempotency-Key those done before answer as then, and those refused are tried again."""
        action = ACTIONS.get(body.action)
        if action is None:
            raise invalid("/action", f"{body.action!r} is none of {', '.join(ACTIONS)}")
        try:
            what = action.body.model_validate(body.body)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise validation_problem([fault | {"loc": ("body", "body", *fault["loc"])} for fault in faults]) from None
        named = [one.id for one in body.orders]
        twice = next((place for place, one in enumerate(named) if one in named[:place]), None)
        if twice is not None:
            raise invalid(f"/orders/{twice}/id", "stands twice")
        key = idempotency(who, body)

        async def one(order: OneOfManyBody) -> dict[str, Any]:
            try:
                act = Act(uuid_of(order.id, "The work order"), action.name, what, who, version=order.version)
                answer = (await acts.submit(act, key.part(order.id) if key else None)).answer
            except Problem as problem:
                if problem.status >= 500:
                    raise
                refused = {"id": order.id, "status": problem.status, "code": problem.code, "detail": problem.detail}
                return refused | {name: problem.extra[name] for name in ("present", "actions") if name in problem.extra}
            return {"id": order.id, "status": 200, "state": answer["status"], "version": answer["version"]}

        return {"items": list(await asyncio.gather(*(one(order) for order in body.orders)))}

    @routes.get("/v1/approvals")
    async def list_approvals(
        who: Staff,
        page: Paged,
        status: Annotated[Literal["open", "approved", "rejected", "lapsed"] | None, Query()] = None,
    ) -> dict[str, Any]:
        """Requests for a suspension or an extension, newest first."""
        async with database.read() as pg:
            rows = await repository.list_approvals(pg, status, who.scope, after_of(page, str), page.limit + 1)
        return page_of([in_zone(row) for row in rows], page, lambda row: [row["id"]])

    @routes.post("/v1/approvals/{approval_id}/approve")
    async def approve(
        approval_id: Id, who: Centre, idempotency: Idempotency, response: Response, body: NoteBody | None = None
    ) -> dict[str, Any]:
        """Grants the request (the centre; for the extension of a complex order also the unit's head)."""
        body = body or NoteBody()
        act = Act(uuid_of(approval_id, "The approval"), "approve", body, who, target="approval")
        return await do(act, idempotency(who, body), response)

    @routes.post("/v1/approvals/{approval_id}/reject")
    async def reject(
        approval_id: Id, who: Centre, idempotency: Idempotency, response: Response, body: NoteBody | None = None
    ) -> dict[str, Any]:
        """Refuses the request; the order goes on as before."""
        body = body or NoteBody()
        act = Act(uuid_of(approval_id, "The approval"), "reject", body, who, target="approval")
        return await do(act, idempotency(who, body), response)
