"""The HTTP face of a service, and of several services in one process."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http import ops, problems
from shared.http.auth import new_limiter
from shared.http.gate import Gate
from shared.security.tokens import Tokens
from shared.service.runner import Runner
from shared.settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def service_app(runner: Runner, settings: Settings, tokens: Tokens, lifespan: Lifespan | None = None) -> FastAPI:
    """One service's routes, its operations, its OpenAPI under `/ops/<service>/`."""
    service = runner.service
    app = FastAPI(
        title=f"Sushu 诉枢: {service.name}",
        version="1",
        openapi_url=f"/ops/{service.name}/openapi.json",
        docs_url=f"/ops/{service.name}/docs",
        redoc_url=None,
        responses=problems.RESPONSES,
        lifespan=lifespan,
        strict_content_type=False,
        redirect_slashes=False,
    )
    app.state.tokens = tokens
    app.state.settings = settings
    app.state.public_rate = settings.public_rate
    app.state.limiter = new_limiter()
    problems.install(app)
    app.include_router(service.router)
    app.include_router(ops.router(runner))
    _document_problems(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """Our 422 is a problem document, not FastAPI's own shape."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            for path in document.get("paths", {}).values():
                for operation in path.values():
                    if isinstance(operation, dict):
                        operation.get("responses", {}).pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document.get("components", {}).get("schemas", {}).pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def gated(app: FastAPI, service: str) -> ASGIApp:
    """`app` behind the outermost layer (limits, traceparent, figures)."""
    return Gate(app, service)


class Together:
    """Several services behind one port in one process: an in-process gateway by the route table.

    `segments`: first path segment after `/v1/` → service; `paths`: other prefixes → service.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        settings: Settings,
        segments: Mapping[str, str],
        paths: Mapping[str, str],
        lifespan: Lifespan,
    ) -> None:
        tokens = Tokens(settings)
        self.runners = list(runners)
        self.services = {runner.service.name: service_app(runner, settings, tokens) for runner in runners}
        self.apps = {name: gated(app, name) for name, app in self.services.items()}
        self.segments = segments
        self.paths = paths
        root = FastAPI(
            title="Sushu 诉枢", version="1", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
        )
        problems.install(root)
        self._add_root_routes(root)
        self.root = gated(root, "root")

    def _add_root_routes(self, root: FastAPI) -> None:
        @root.get("/health/live")
        async def live() -> dict[str, str]:
            return {"status": "live"}

        @root.get("/health/ready")
        async def ready() -> JSONResponse:
            reasons = [reason for runner in self.runners for reason in await runner.not_ready()]
            return JSONResponse(
                {"status": "not ready" if reasons else "ready", "reasons": reasons}, status_code=503 if reasons else 200
            )

        @root.get("/openapi.json")
        async def openapi() -> JSONResponse:
            return JSONResponse(merge_openapi([app.openapi() for app in self.services.values()]))

        @root.get("/docs")
        async def docs() -> HTMLResponse:
            return HTMLResponse(docs_page(list(self.services)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._route(scope)(scope, receive, send)

    def _route(self, scope: Scope) -> ASGIApp:
        if scope["type"] != "http":
            return self.root
        parts = scope["path"].split("/", 3)
        name = None
        if len(parts) > 2 and parts[1] == "v1":
            name = self.segments.get(parts[2])
        elif len(parts) > 2 and parts[1] == "ops":
            name = parts[2]
        else:
            for prefix, service in self.paths.items():
                if scope["path"].startswith(prefix):
                    name = service
        return self.apps.get(name or "", self.root)


def docs_page(services: Sequence[str]) -> str:
    """The page under `/docs` that links each service's own."""
    links = "".join(
        f'<li><a href="/ops/{name}/docs">{name}</a> · <a href="/ops/{name}/openapi.json">openapi.json</a></li>'
        for name in services
    )
    return (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>诉枢 Sushu API</title>'
        '<body style="font-family:system-ui;max-width:40rem;margin:3rem auto">'
        f"<h1>诉枢 Sushu</h1><p>各服务的接口文档：</p><ul>{links}</ul></body></html>"
    )


def merge_openapi(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One OpenAPI document of several. Raises `ValueError` when two services define a schema name differently."""
    merged: dict[str, Any] = {
        "openapi": documents[0]["openapi"] if documents else "3.1.0",
        "info": {"title": "Sushu 诉枢", "version": "1"},
        "paths": {},
        "components": {},
    }
    for document in documents:
        merged["paths"].update(document.get("paths", {}))
        for kind, parts in document.get("components", {}).items():
            known = merged["components"].setdefault(kind, {})
            for name, part in parts.items():
                if known.setdefault(name, part) != part:
                    raise ValueError(f"two services define the schema {name} differently: rename one")
    return merged


@asynccontextmanager
async def running(runners: Sequence[Runner], started: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Start the runners, stop them at the end, whatever happens."""
    up: list[Runner] = []
    try:
        for runner in runners:
            await runner.start()
            up.append(runner)
        if started is not None:
            started()
        yield
    finally:
        for runner in reversed(up):
            await runner.stop()
