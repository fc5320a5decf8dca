"""Routes of citizens: the three questions behind a link, as JSON or as a page."""

from __future__ import annotations

import json
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from services.feedback import page
from services.feedback.api.desk import Desk
from services.feedback.commands import Command
from services.feedback.domain import Answer
from services.feedback.repository import Case
from services.feedback.schemas import RatingBody
from shared.clock import rfc3339
from shared.errors import Problem
from shared.http.auth import Public
from shared.http.html import wants_page
from shared.http.problems import RESPONSES, invalid_json, validation_problem

Token = Annotated[str, Path(min_length=1, max_length=200)]

_PAGE: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
_OR_A_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "JSON, or a page for a browser", "content": {"application/json": {}} | _PAGE},
    "4XX": RESPONSES["4XX"] | {"content": RESPONSES["4XX"]["content"] | _PAGE},
}
"""what a citizen's browser gets is a page, whatever the answer"""


def add_routes(routes: APIRouter, desk: Desk) -> None:
    """`/v1/ratings/{token}`."""
    handlers, database, clock = desk.handlers, desk.database, desk.clock

    @routes.get("/v1/ratings/{token}", dependencies=[Public], responses=_OR_A_PAGE)
    async def show_rating(token: Token, request: Request) -> Response:
        """What the citizen is asked: JSON, or a page without JavaScript with `Accept: text/html`."""
        try:
            async with database.look_up() as pg:
                asked = await handlers.open_rating(pg, token, clock.now())
        except Problem as problem:
            if wants_page(request):
                return HTMLResponse(page.refusal(problem), problem.status, page.HEADERS)
            raise
        if wants_page(request):
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
        given = page.parse(await request.body()) if form else None
        try:
            body = await _rating(request, given)
            answer = Answer(body.contacted, body.solved, body.satisfaction, body.words)
            command = Command(desk.acts.rate(answer), _thanks, token=token, device=_device(request))
            outcome = await desk.commands.submit(command)
        except Problem as problem:
            if given is None:
                raise
            return HTMLResponse(await _again(token, given, problem), problem.status, page.HEADERS)
        return HTMLResponse(page.thanks(), headers=page.HEADERS) if form else _json(outcome.answer)

    async def _again(token: str, given: dict[str, object], problem: Problem) -> str:
        """Why it was not taken; of an answer that lacks something the form again, with what was filled in."""
        if problem.code != "invalid":
            return page.refusal(problem)
        try:
            async with database.look_up() as pg:
                asked = await handlers.open_rating(pg, token, clock.now())
        except Problem as closed:
            return page.refusal(closed)
        return page.form(asked, given)


def _device(request: Request) -> str:
    """What of a call tells its device: address and browser. Only a keyed digest of it is kept (signs.py)."""
    return f"{request.client.host if request.client else ''}\n{request.headers.get('user-agent', '')}"


def _thanks(case: Case) -> dict[str, Any]:
    return {
        "status": case.feedback.status.value,
        "second_handling": case.feedback.status.value == "second_handling",
        "words": "谢谢您的评价。",
    }


async def _rating(request: Request, given: dict[str, object] | None) -> RatingBody:
    """The three answers, those of a form as `given`. Raises `Problem` 415, 422."""
    try:
        return RatingBody.model_validate(await request.json() if given is None else given)
    except ValidationError as error:
        raise validation_problem(error.errors(include_input=False, include_url=False)) from error
    except json.JSONDecodeError as error:
        raise invalid_json(request.headers.get("content-type")) from error


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers={"Cache-Control": "no-store"})
