"""HTTP of feedback: call-backs for seats, ratings for citizens, exclusions for units and the centre."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from services.feedback import page, repository
from services.feedback.domain import Answer, AttemptOutcome, Method
from services.feedback.handlers import Command, Handlers, Rule, visible_to
from services.feedback.repository import Case
from services.feedback.schemas import (
    AttemptBody,
    DecisionBody,
    ExclusionBody,
    ExclusionDecisionBody,
    LeaseBody,
    RatingBody,
)
from shared.clock import Clock, rfc3339
from shared.db.database import Database
from shared.errors import Problem, not_found
from shared.http.auth import Idempotency, Public, allowed
from shared.http.commands import CommandQueue
from shared.http.pages import Paged, after_of, cursor_of, page_of
from shared.http.problems import RESPONSES, invalid_json, validation_problem
from shared.http.requests import StrictRoute
from shared.security.principal import Principal

LEASE = timedelta(minutes=15)
"""how long a seat holds a call-back, real time"""

Seat = Annotated[Principal, allowed("seat", "supervisor", "leader")]
Centre = Annotated[Principal, allowed("supervisor", "leader")]
Reader = Annotated[Principal, allowed("handler", "supervisor", "leader", "auditor")]
Token = Annotated[str, Path(min_length=1, max_length=200)]
CaseId = Annotated[str, Path(min_length=1, max_length=64)]


_PAGE: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
_OR_A_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "JSON, or a page for a browser", "content": {"application/json": {}} | _PAGE},
    "4XX": RESPONSES["4XX"] | {"content": RESPONSES["4XX"]["content"] | _PAGE},
}
"""what a citizen's browser gets is a page, whatever the answer"""


def router(handlers: Handlers, database: Database, clock: Clock, commands: CommandQueue[Command]) -> APIRouter:
    """The routes of `callbacks`, `ratings` and `exclusions` (api.md, "Routes")."""
    routes = APIRouter(tags=["feedback"], route_class=StrictRoute)

    def callback(case: Case) -> dict[str, Any]:
        asked = case.feedback.rounds[-1]
        now = clock.now()
        calling = asked.open and asked.method is Method.CALLBACK
        starts = handlers.hours.next_attempt(asked) if calling else None
        leased = case.leased_until is not None and case.leased_until > datetime.now(UTC)
        completion = asked.completion
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
            "round": asked.number,
            "bad_ratings": case.feedback.bad_ratings,
            "completed_at": rfc3339(completion.at),
            "attempts": [{"at": rfc3339(a.at), "outcome": a.outcome.value} for a in asked.attempts],
            "next_attempt_at": rfc3339(starts) if starts else None,
            "callable_now": starts is not None and starts <= now and handlers.hours.half_day(now) is not None,
            "leased_by": case.leased_by if leased else None,
            "leased_until": rfc3339(case.leased_until) if leased and case.leased_until else None,
        }

    async def submit(rule: Rule, who: Principal, appeal_id: str, key: Any) -> dict[str, Any]:
        return (await commands.submit(Command(visible_to(who, rule), callback, appeal_id), key)).answer

    @routes.get("/v1/callbacks")
    async def list_callbacks(
        who: Seat,
        asked: Paged,
        status: Literal["open", "awaiting_decision"] = "open",
        due: Annotated[bool, Query(description="only those that may be called now")] = False,
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
                return page_of([callback(case) for case in found], asked, lambda row: [row["id"]])
            found = await repository.list_callbacks(
                pg,
                due_by=now if due else None,
                who=who,
                after=(after[0], after[1]) if (after := cursor_of(asked, datetime, str)) else None,
                limit=asked.limit + 1,
            )
        return page_of([callback(case) for case in found], asked, lambda row: [row["next_attempt_at"], row["id"]])

    @routes.post("/v1/callbacks/lease")
    async def lease_callbacks(body: LeaseBody, who: Seat) -> dict[str, Any]:
        """Take the next call-backs that may be made now; nobody else gets them for 15 minutes."""
        now, real = clock.now(), datetime.now(UTC)
        if handlers.hours.half_day(now) is None:
            return {"items": [], "next_attempt_at": rfc3339(handlers.hours.next_start(now))}
        async with database.transaction() as uow:
            taken = await repository.lease(uow.pg, who, due_by=now, until=real + LEASE, now=real, limit=body.limit)
        return {"items": [callback(case) for case in taken]}

    @routes.post("/v1/callbacks/{appeal_id}/attempts")
    async def add_attempt(appeal_id: CaseId, body: AttemptBody, who: Seat, idempotency: Idempotency) -> dict[str, Any]:
        """A call was made. 409 when the rules refuse it (outside 09:00–21:00, the same half-day, another seat's)."""
        answer = Answer(body.contacted, body.solved, body.satisfaction, body.words)
        rule = handlers.attempt(who.sub, AttemptOutcome(body.outcome), answer, datetime.now(UTC))
        return await submit(rule, who, appeal_id, idempotency(who, body))

    @routes.post("/v1/callbacks/{appeal_id}/decision")
    async def decide(appeal_id: CaseId, body: DecisionBody, who: Centre, idempotency: Idempotency) -> dict[str, Any]:
        """The centre closes a case that was rated badly twice."""
        return await submit(handlers.decide(who.actor, body.reason), who, appeal_id, idempotency(who, body))

    @routes.get("/v1/ratings/{token}", dependencies=[Public], responses=_OR_A_PAGE)
    async def show_rating(token: Token, request: Request) -> Response:
        """What the citizen is asked: JSON, or a page without JavaScript with `Accept: text/html`."""
        try:
            async with database.look_up() as pg:
                asked = await handlers.open_rating(pg, token, clock.now())
        except Problem as problem:
            if _wants_page(request):
                return HTMLResponse(page.refusal(problem), problem.status, page.HEADERS)
            raise
        if _wants_page(request):
            return HTMLResponse(page.form(asked), headers=page.HEADERS)
        completion = asked.completion
        return _json(
            {
                "status": "open",
                "round": asked.number,
                "expires_at": rfc3339(asked.expires_at) if asked.expires_at else None,
                "unit_name": completion.unit_name,
                "matter": completion.matter_name,
                "result": completion.result,
                "questions": {
                    "contacted": "boolean",
                    "solved": "boolean",
                    "satisfaction": "1 to 5",
                    "words": "optional",
                },
            }
        )

    @routes.post(
        "/v1/ratings/{token}",
        dependencies=[Public],
        responses=_OR_A_PAGE,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": RatingBody.model_json_schema()},
                    "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                },
            }
        },
    )
    async def give_rating(token: Token, request: Request) -> Response:
        """The citizen's answer, JSON or the page's form. One use: 409 `rating_used`, 410 `rating_closed`."""
        form = "form-urlencoded" in request.headers.get("content-type", "")
        try:
            body = await _rating(request, form)
            answer = Answer(body.contacted, body.solved, body.satisfaction, body.words)
            outcome = await commands.submit(Command(handlers.rate(answer), _thanks, token=token))
        except Problem as problem:
            if form:
                return HTMLResponse(page.refusal(problem), problem.status, page.HEADERS)
            raise
        return HTMLResponse(page.thanks(), headers=page.HEADERS) if form else _json(outcome.answer)

    @routes.get("/v1/exclusions")
    async def list_exclusions(
        who: Reader, asked: Paged, state: Literal["requested", "granted", "refused"] | None = None
    ) -> dict[str, Any]:
        """Requests to leave a rating out, in the caller's scope."""
        async with database.read() as pg:
            rows = await repository.list_exclusions(
                pg, state=state, who=who, after=after_of(asked, str) or "", limit=asked.limit + 1
            )
        return page_of(rows, asked, lambda row: [row["id"]])

    @routes.post(
        "/v1/exclusions",
        status_code=201,
        responses={200: {"description": "The first answer to the same Idempotency-Key"}},
    )
    async def ask_exclusion(
        body: ExclusionBody,
        who: Annotated[Principal, allowed("handler", "supervisor", "leader")],
        idempotency: Idempotency,
        response: Response,
    ) -> dict[str, Any]:
        """剔除: the scored unit asks within five working days after closing. 200 for a repeated call."""
        rule = handlers.request_exclusion(who, body.reason, body.evidence)
        outcome = await commands.submit(
            Command(visible_to(who, rule), _exclusion, body.appeal_id), idempotency(who, body)
        )
        response.status_code = 200 if outcome.repeated else 201
        return outcome.answer

    @routes.post("/v1/exclusions/{exclusion_id}/decision")
    async def decide_exclusion(
        exclusion_id: CaseId, body: ExclusionDecisionBody, who: Centre, idempotency: Idempotency
    ) -> dict[str, Any]:
        """The centre grants or refuses; a granted rating leaves both sides of every rate."""
        async with database.read() as pg:
            appeal_id = await repository.appeal_of_exclusion(pg, exclusion_id)
        if appeal_id is None:
            raise not_found("This exclusion")
        rule = handlers.decide_exclusion(exclusion_id, who.actor, body.granted, body.reason)
        command = Command(visible_to(who, rule), _exclusion, appeal_id)
        return (await commands.submit(command, idempotency(who, body))).answer

    return routes


def _thanks(case: Case) -> dict[str, Any]:
    return {
        "status": case.feedback.status.value,
        "second_handling": case.feedback.status.value == "second_handling",
        "words": "谢谢您的评价。",
    }


def _exclusion(case: Case) -> dict[str, Any]:
    asked = case.feedback.exclusion
    assert asked is not None
    state = {None: "requested", True: "granted", False: "refused"}[asked.granted]
    return {
        "id": asked.id,
        "appeal_id": case.appeal_id,
        "unit": asked.unit,
        "state": state,
        "reason": asked.reason,
        "evidence": asked.evidence,
        "asked_at": rfc3339(asked.asked_at),
        "decision": asked.decision,
    }


async def _rating(request: Request, form: bool) -> RatingBody:
    """The three answers. Raises `Problem` 415, 422."""
    try:
        return RatingBody.model_validate(page.parse(await request.body()) if form else await request.json())
    except ValidationError as error:
        raise validation_problem(error.errors(include_input=False, include_url=False)) from error
    except json.JSONDecodeError as error:
        raise invalid_json(request.headers.get("content-type")) from error


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers={"Cache-Control": "no-store"})
