"""What comes in over HTTP and the route that takes it: size, encoding, JSON, arguments, the answer."""

import asyncio
import email.message
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, get_origin

import orjson
from fastapi import Request
from fastapi.params import Form
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic_core import to_json, to_jsonable_python
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from shared.errors import Problem, invalid
from shared.http.arguments import MISSING, Arguments, Asked, Parameter, first_header
from shared.http.problems import invalid_json, validation_problem

BODY_LIMIT = 1_000_000
BATCH_LIMIT = 32_000_000
"""bytes (api.md, "Limits")"""
READ_OUT_S = 5.0
"""how long a refused request may go on sending"""


class StrictRequest(Request):
    """JSON by orjson: no lone surrogates, no NaN, bounded depth; NUL characters are refused."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            parts: list[bytes] = []
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(parts)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


def parse_json(raw: bytes) -> Any:
    """Parsed JSON. Raises `json.JSONDecodeError` (also for bad UTF-8, lone surrogates, too deep) or `Problem` 422
    for a NUL character, which no text column can hold."""
    value = orjson.loads(raw)
    if b"\\u0000" in raw:
        _refuse_nul(value, "")
    return value


def _refuse_nul(value: Any, pointer: str) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid(pointer or "/", "holds a NUL character (U+0000); leave it out")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for name, item in value.items():
            if "\x00" in name:
                raise invalid(pointer or "/", "a field name holds a NUL character (U+0000)")
            _refuse_nul(item, f"{pointer}/{name}")


class JsonAnswer(Response):
    """A JSON document that is encoded already."""

    def __init__(self, body: bytes, status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
            *headers,
        ]


def render(answer: Any) -> bytes:
    """An answer as JSON: orjson for what it knows, pydantic for the rest, in pydantic's forms."""
    try:
        return orjson.dumps(answer, default=to_jsonable_python, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:
        return to_json(answer, inf_nan_mode="null")


class StrictRoute(APIRoute):
    """A route whose request is a `StrictRequest` and whose arguments are collected without FastAPI (`Arguments`).

    Raises `TypeError` when it is declared with what `Arguments` does not provide for: take a plain `APIRoute` then.
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        self.arguments = Arguments(self.dependant)
        self.body = self._body_parameter()
        self.status = self.status_code or 200
        returned = self.response_model
        if returned is not None and (get_origin(returned) or returned) is not dict:
            raise TypeError(f"{self.path} returns {returned}: a `StrictRoute` returns a dict or a `Response`")

        async def handler(request: Request) -> Response:
            return await self.answer(StrictRequest(request.scope, request.receive))

        return handler

    def _body_parameter(self) -> Parameter | None:
        fields = self.dependant.body_params
        if not fields:
            return None
        if len(fields) > 1 or self._embed_body_fields or isinstance(fields[0].field_info, Form):
            raise TypeError(f"{self.path}: a `StrictRoute` takes one JSON body")
        return Parameter(fields[0])

    async def answer(self, request: "StrictRequest") -> Response:
        """Collect, call, render. Raises whatever is wrong; `problems` has the documents."""
        body = await self._parsed(request) if self.body is not None else MISSING
        asked = Asked(request)
        values = await self.arguments.of(asked)
        if self.body is not None:
            self.body.put(body, values, asked.errors)
        if asked.errors:
            raise validation_problem(asked.errors, first_header(request, b"content-type"))
        answer = await self.arguments.call(**values)
        if isinstance(answer, Response):
            return answer
        own = asked.response
        if own is None:
            return JsonAnswer(render(answer), self.status)
        return JsonAnswer(render(answer), own.status_code or self.status, own.raw_headers)

    async def _parsed(self, request: "StrictRequest") -> Any:
        """The body as JSON; as bytes when it claims to be something else; `MISSING` when there is none."""
        raw = await request.body()
        if not raw:
            return MISSING
        kind = first_header(request, b"content-type")
        if kind is not None and kind != "application/json" and not _is_json(kind):
            return raw
        try:
            return parse_json(raw)
        except ValueError:
            raise invalid_json(kind) from None


@lru_cache(maxsize=100)
def _is_json(content_type: str) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


class Incoming:
    """The body of one request on its way in: measured, and read to its end before the answer begins.

    A gateway that gets an answer while it still sends may take what is left of the body for the next request, and most
    clients see a broken connection instead of the answer.
    """

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._received = 0
        self._promised = b"expect" in headers  # it waits for our 100 before it sends
        self._complete = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers

    async def receive(self) -> Message:
        """What the application gets. Raises `Problem` 413 beyond the limit."""
        message = await self._next()
        if self._received > self._limit:
            raise too_large(self._limit)
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return message

    async def read_out(self) -> bool:
        """Read what nobody wanted. False: it is too much, or too slow, and the connection must be closed."""
        if self._complete or (self._promised and not self._received):
            return self._complete
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_OUT_S):
                while not self._complete and self._received <= BATCH_LIMIT + self._limit:
                    await self._next()
        return self._complete


def too_large(limit: int) -> Problem:
    """413 with the limit."""
    return Problem(413, "too_large", f"The body may have {limit} bytes; send less, or appeals in parts.")
