"""The pages of the base URL that belong to no service: `/`, `/docs`, `/health/live` and `/health/ready`.

Under `make up` the supervisor serves them on a loopback port behind the gateway.
"""

import asyncio
from collections.abc import Callable, Mapping

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

ASK_WITHIN_S = 2.0


def front_app(services: Mapping[str, int], troubles: Callable[[], Mapping[str, str]]) -> Starlette:
    """The front pages for services on the given loopback ports; `troubles` tells which programs are down and why."""
    client = httpx.AsyncClient(timeout=ASK_WITHIN_S, trust_env=False)

    async def ask(name: str, port: int) -> list[str]:
        try:
            answer = await client.get(f"http://127.0.0.1:{port}/ops/{name}/health/ready")
        except httpx.HTTPError as error:
            return [f"{name}: does not answer ({type(error).__name__})"]
        if answer.status_code == 200:
            return []
        try:
            return [str(reason) for reason in answer.json()["reasons"]]
        except (ValueError, KeyError, TypeError):
            return [f"{name}: answers {answer.status_code}"]

    async def ready(_: Request) -> Response:
        down = troubles()
        reasons = [f"{name}: not running, {why}" for name, why in down.items()]
        asked = (ask(name, port) for name, port in services.items() if name not in down)
        reasons += [reason for told in await asyncio.gather(*asked) for reason in told]
        return JSONResponse(
            {"status": "not ready" if reasons else "ready", "reasons": reasons}, status_code=503 if reasons else 200
        )

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def docs(_: Request) -> Response:
        from shared.http.app import docs_page  # loads the web framework of the services: only when somebody asks

        return HTMLResponse(docs_page(list(services)))

    async def root(_: Request) -> Response:
        return RedirectResponse("/docs")

    return Starlette(
        routes=[
            Route("/", root),
            Route("/docs", docs),
            Route("/health/live", live),
            Route("/health/ready", ready),
        ]
    )
