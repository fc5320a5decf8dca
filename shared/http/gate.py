"""The outermost layer of a service: which route, how large a body, whose trace, and the figures."""

import time
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from shared.errors import Problem
from shared.http.problems import answer_of
from shared.http.requests import BODY_LIMIT, Incoming, StrictRequest, StrictRoute, too_large
from shared.telemetry import metrics
from shared.telemetry.tracing import accept_traceparent


class RouteTable:
    """Which `StrictRoute` a request means: by its method, its number of path segments, and those that are fixed.

    The first of several routes that match is taken, as Starlette does it.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._found: dict[tuple[str, int], dict[tuple[int, ...], dict[tuple[str, ...], _Entry]]] = {}
        for route in routes:
            if not isinstance(route, StrictRoute):
                continue
            parts = route.path.split("/")
            named = {part[1:-1]: place for place, part in enumerate(parts) if part.startswith("{")}
            if set(named) != set(route.param_convertors):
                raise TypeError(f"{route.path}: a parameter of a `StrictRoute` is a whole segment, `{{name}}`")
            fixed = tuple(place for place in range(len(parts)) if place not in named.values())
            for method in route.methods or ():
                shapes = self._found.setdefault((method, len(parts)), {})
                shapes.setdefault(fixed, {}).setdefault(tuple(parts[place] for place in fixed), (route, named))

    def find(self, method: str, path: str) -> "tuple[StrictRoute, dict[str, str]] | None":
        """The route and its path parameters."""
        parts = path.split("/")
        for fixed, entries in self._found.get((method, len(parts)), {}).items():
            entry = entries.get(tuple([parts[place] for place in fixed]))
            if entry is not None:
                values = {name: parts[place] for name, place in entry[1].items()}
                if all(values.values()):
                    return entry[0], values
        return None


_Entry = tuple[StrictRoute, dict[str, int]]


class Gate:
    """A service's `StrictRoute`s without the layers of the framework; what else there is, and what there is not, is
    left to the FastAPI application."""

    def __init__(self, app: FastAPI, service: str) -> None:
        self.app = app
        self.service = service
        self.table = RouteTable(context.original_route for context in iter_route_contexts(app.routes))
        self._figures: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        traceparent = accept_traceparent(headers.get(b"traceparent", b"").decode("latin-1")).encode()
        found = self.table.find(scope["method"], scope["path"])
        limit = BODY_LIMIT
        if found is not None:
            scope["app"] = self.app
            scope["route"], scope["path_params"] = found
            limit = found[0].max_body_size or BODY_LIMIT
        incoming = Incoming(receive, headers, limit)
        status = 500
        answered = False

        async def answer(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = True
                message["headers"] = [*message.get("headers", []), (b"traceparent", traceparent)]
                if not await incoming.read_out():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            _check(scope, headers, limit)
            if found is None:
                await self.app(scope, incoming.receive, answer)
            else:
                response = await found[0].answer(StrictRequest(scope, incoming.receive))
                await response(scope, incoming.receive, answer)
        except Exception as error:
            if answered:
                raise
            await answer_of(error, scope)(scope, incoming.receive, answer)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        labels = (scope["method"], getattr(scope.get("route"), "path", "none"), status)
        figures = self._figures.get(labels)
        if figures is None:
            method, route, _ = labels
            figures = self._figures[labels] = (
                metrics.REQUESTS.labels(self.service, method, route, str(status)),
                metrics.REQUEST_SECONDS.labels(self.service, method, route),
            )
        figures[0].inc()
        figures[1].observe(seconds)


def _check(scope: Scope, headers: dict[bytes, bytes], limit: int) -> None:
    """Raises `Problem` for what no route needs to see."""
    if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
        raise Problem(422, "invalid", "The address holds a NUL character (%00); leave it out.")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > limit:
        raise too_large(limit)
