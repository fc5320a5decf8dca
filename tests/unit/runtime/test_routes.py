"""A `StrictRoute` answers what FastAPI answers to the same declaration and the same request."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi import Body as JsonBody
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from shared.errors import Problem, Transient
from shared.http import problems
from shared.http.app import gated
from shared.http.bodies import Body, Instant
from shared.http.pages import Paged, page_of
from shared.http.requests import StrictRoute


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Thing(Body):
    name: str
    size: int = 1
    at: Instant | None = None


async def _limit(limit: Annotated[int, Query(ge=1, le=9)] = 5) -> int:
    return limit


async def _double(limit: Annotated[int, Depends(_limit)], request: Request) -> int:
    if "x-refuse" in request.headers:
        raise Problem(403, "forbidden", "No.")
    return 2 * limit


Double = Annotated[int, Depends(_double)]


def routes(route_class: type[APIRoute]) -> APIRouter:
    found = APIRouter(route_class=route_class)

    @found.get("/v1/things")
    async def things(
        page: Paged,
        double: Double,
        limit: Annotated[int, Depends(_limit)],
        colour: Colour | None = None,
        kind: Annotated[Literal["a", "b"] | None, Query(alias="Kind")] = None,
        since: Annotated[Instant | None, Query(alias="from")] = None,
        flag: bool = False,
        version: Annotated[str | None, Header(alias="If-Match", max_length=4)] = None,
        x_note: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        seen = [double, limit, page.limit, page.after, colour, kind, flag, version, x_note]
        return page_of([{"seen": seen, "since": since}], page, lambda row: [1])

    @found.get("/v1/things/mine")
    async def mine() -> dict[str, str]:
        return {"whose": "mine"}

    @found.get("/v1/things/{thing_id}", dependencies=[Depends(_double)])
    async def thing(thing_id: Annotated[str, Path(max_length=8)], response: Response) -> dict[str, Any]:
        response.headers["ETag"] = '"1"'
        if thing_id == "gone":
            response.status_code = 410
        return {
            "id": thing_id,
            "at": datetime(2026, 11, 2, 10, tzinfo=UTC),
            "uuid": UUID(int=1),
            "colour": Colour.RED,
            "large": 2**70,
            "not": float("nan"),
            "set": {1},
        }

    @found.get("/v1/numbers/{number}")
    async def number(number: Annotated[int, Path(ge=1)]) -> dict[str, Any]:
        if number == 7:
            raise Transient("away")
        if number == 8:
            raise Problem(409, "eight", "Not eight.", headers={"X-Eight": "8"})
        return {"number": number}

    @found.post("/v1/things", status_code=201)
    async def make(body: Thing, double: Double) -> dict[str, Any]:
        return body.canonical() | {"double": double}

    @found.post("/v1/things/{thing_id}/note")
    async def note(thing_id: str, body: Thing | None = None) -> dict[str, Any]:
        return {"id": thing_id, "body": body and body.canonical()}

    @found.post("/v1/raw")
    async def raw(request: Request, body: Annotated[Any, JsonBody()] = None) -> Response:
        return HTMLResponse(f"<p>{body}{request.url.path}", headers={"X-Own": "1"})

    return found


@pytest.fixture(scope="module")
async def both() -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    clients = []
    for kind in (APIRoute, StrictRoute):
        app = FastAPI(strict_content_type=False, redirect_slashes=False)
        problems.install(app)
        app.include_router(routes(kind))
        transport = httpx.ASGITransport(gated(app, "test"))
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://test"))
    yield clients[0], clients[1]
    for client in clients:
        await client.aclose()


THING: dict[str, Any] = {"name": "lamp"}
JSON = {"content-type": "application/json"}
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/things", {}),
    ("GET", "/v1/things?limit=3&colour=red&Kind=a&flag=true", {"headers": {"If-Match": "1", "X-Note": "n"}}),
    ("GET", "/v1/things?limit=3&limit=4", {}),
    ("GET", "/v1/things?limit=", {}),
    ("GET", "/v1/things?limit=77&colour=blue&Kind=c&flag=maybe&from=now", {"headers": {"If-Match": "too long"}}),
    ("GET", "/v1/things?after=nonsense", {}),
    ("GET", "/v1/things?limit=77", {"headers": {"X-Refuse": "1"}}),
    ("GET", "/v1/things?from=2026-11-02T10:00:00%2B08:00", {}),
    ("GET", "/v1/things/mine", {}),
    ("GET", "/v1/things/lamp", {}),
    ("GET", "/v1/things/gone", {}),
    ("GET", "/v1/things/%E7%81%AF?limit=2", {}),
    ("GET", "/v1/things/far-too-long?limit=99", {}),
    ("GET", "/v1/things/", {}),
    ("GET", "/v1/things//", {}),
    ("GET", "/v1/numbers/1", {}),
    ("GET", "/v1/numbers/0", {}),
    ("GET", "/v1/numbers/one", {}),
    ("GET", "/v1/numbers/7", {}),
    ("GET", "/v1/numbers/8", {}),
    ("GET", "/v1/nothing", {}),
    ("PUT", "/v1/things", {"json": THING}),
    ("OPTIONS", "/v1/things", {}),
    ("HEAD", "/v1/things/mine", {}),
    ("POST", "/v1/things", {"json": THING}),
    ("POST", "/v1/things", {"json": THING | {"at": "2026-11-02T10:00:00+08:00", "size": 2, "more": 1}}),
    ("POST", "/v1/things?limit=0", {"json": {"name": 1, "size": "2", "at": 3}}),
    ("POST", "/v1/things", {"json": [THING]}),
    ("POST", "/v1/things", {"content": b"null", "headers": JSON}),
    ("POST", "/v1/things", {"content": b"", "headers": JSON}),
    ("POST", "/v1/things", {}),
    ("POST", "/v1/things", {"content": b'{"name": "lamp"}'}),
    ("POST", "/v1/things", {"content": b'{"name": "lamp"}', "headers": {"content-type": "application/x+json; a=b"}}),
    ("POST", "/v1/things", {"content": b'{"name": "lamp"}', "headers": {"content-type": "text/plain"}}),
    ("POST", "/v1/things", {"content": b'{"name"', "headers": JSON}),
    ("POST", "/v1/things", {"data": {"name": "lamp"}}),
    ("POST", "/v1/things/1/note", {}),
    ("POST", "/v1/things/1/note", {"json": THING}),
    ("POST", "/v1/things/1/note", {"content": b"null", "headers": JSON}),
    ("POST", "/v1/things/1/note", {"json": {"size": 1}}),
    ("POST", "/v1/raw", {"json": {"a": [1, 2]}}),
    ("POST", "/v1/raw", {}),
]


@pytest.mark.parametrize(("method", "path", "more"), REQUESTS)
async def test_as_fastapi_answers(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], method: str, path: str, more: dict[str, Any]
) -> None:
    expected, found = [await client.request(method, path, **more) for client in both]
    assert (found.status_code, found.content) == (expected.status_code, expected.content)
    assert {**found.headers, "traceparent": ""} == {**expected.headers, "traceparent": ""}


async def test_what_a_strict_route_does_not_provide_for_is_said_when_it_is_declared() -> None:
    found = APIRouter(route_class=StrictRoute)
    with pytest.raises(TypeError, match="no scalar"):

        @found.get("/v1/many")
        async def many(tags: Annotated[list[str], Query()]) -> dict[str, Any]:
            return {"tags": tags}

    with pytest.raises(TypeError, match="async def"):

        @found.get("/v1/blocking")
        def blocking() -> dict[str, Any]:
            return {}
