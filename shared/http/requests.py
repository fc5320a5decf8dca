"""What comes in over HTTP before a route sees it: size, encoding, JSON, trace context, figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import Problem, invalid
from shared.http.problems import problem_response
from shared.telemetry import metrics
from shared.telemetry.tracing import accept_traceparent

BODY_LIMIT = 1_000_000
BATCH_LIMIT = 32_000_000
"""bytes (api.md, "Limits")"""
READ_OUT_S = 5.0
"""how long a refused request may go on sending"""
_READ_HERE = frozenset((b"traceparent", b"content-length", b"transfer-encoding", b"expect"))


class StrictRequest(Request):
    """JSON by orjson: no lone surrogates, no NaN, bounded depth; NUL characters are refused."""

    problem: Problem | None = None
    """what `body` and `json` found: FastAPI makes a plain 400 of any exception in there"""

    async def body(self) -> bytes:
        with self._noted():
            return await super().body()

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            with self._noted():
                self._json = parse_json(await self.body())
        return self._json

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Problem as problem:
            self.problem = problem
            raise


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


class StrictRoute(APIRoute):
    """A route whose request is a `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            try:
                return await original(strict)
            except HTTPException:
                if strict.problem is not None:
                    raise strict.problem from None
                raise

        return handler


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


class Gate:
    """The outermost layer of a service: body limit, NUL in the address, traceparent, request figures."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in _READ_HERE}
        traceparent = accept_traceparent(headers.get(b"traceparent", b"").decode("latin-1"))
        limit = BATCH_LIMIT if scope["path"].endswith("/batch") or scope["path"].endswith("/versions") else BODY_LIMIT
        incoming = Incoming(receive, headers, limit)
        started = time.perf_counter()
        status = 500
        answered = False

        async def answer(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = True
                message["headers"] = [*message.get("headers", []), (b"traceparent", traceparent.encode())]
                if not await incoming.read_out():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            length = headers.get(b"content-length", b"0")
            if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
                raise Problem(422, "invalid", "The address holds a NUL character (%00); leave it out.")
            if not length.isdigit() or int(length) > limit:
                raise too_large(limit)
            await self.app(scope, incoming.receive, answer)
        except Problem as problem:
            if answered:
                raise
            await problem_response(problem)(scope, incoming.receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            labels = (self.service, scope["method"], route)
            metrics.REQUESTS.labels(*labels, str(status)).inc()
            metrics.REQUEST_SECONDS.labels(*labels).observe(time.perf_counter() - started)


def too_large(limit: int) -> Problem:
    """413 with the limit."""
    return Problem(413, "too_large", f"The body may have {limit} bytes; send less, or in parts (NDJSON batch).")
