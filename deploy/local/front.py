"""The pages of the base URL that belong to no service: `/`, `/docs`, `/health/live` and `/health/ready`.

Under `make up` the supervisor serves them on a loopback port behind the gateway.
"""

import asyncio
from collections.abc import Callable, Mapping
from html import escape

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

ASK_WITHIN_S = 2.0


def docs_page(services: list[str], words: Mapping[str, str]) -> str:
    """HTML that links every service's own documentation; `words` says in one line what each service does."""
    rows = "\n".join(
        f'<li><a href="/ops/{name}/docs">{escape(name)}</a> {escape(words.get(name, ""))} '
        f'· <a href="/ops/{name}/openapi.json">openapi.json</a> · <a href="/ops/{name}/health/ready">ready</a></li>'
        for name in services
    )
    return f"""<!doctype html>
<html lang="zh"><meta charset="utf-8"><title>诉枢 Sushu</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}}</style>
<h1>诉枢 Sushu</h1>
<p>各服务的接口文档 · the interfaces of every service:</p>
<ul>
{rows}
</ul>
<p><a href="/health/ready">/health/ready</a></p></html>
"""


def front_app(
    services: Mapping[str, int], words: Mapping[str, str], troubles: Callable[[], Mapping[str, str]]
) -> Starlette:
    """The front pages for services on the given loopback ports; `troubles` tells which programs are down and why."""
    client = httpx.AsyncClient(timeout=ASK_WITHIN_S, trust_env=False)
    page = docs_page(list(services), words)

    async def ask(name: str, port: int) -> tuple[str, str | None]:
        try:
            answer = await client.get(f"http://127.0.0.1:{port}/ops/{name}/health/ready")
        except httpx.HTTPError as error:
            return name, f"does not answer ({type(error).__name__})"
        if answer.status_code == 200:
            return name, None
        try:
            told = answer.json()
        except ValueError:
            return name, f"answers {answer.status_code}"
        return name, str(told.get("reasons") or told.get("detail") or told)[:500]

    async def ready(_: Request) -> Response:
        reasons = {name: f"not running: {why}" for name, why in troubles().items()}
        for name, reason in await asyncio.gather(*(ask(name, port) for name, port in services.items())):
            if reason is not None:
                reasons.setdefault(name, reason)
        if not reasons:
            return JSONResponse({"status": "ready", "services": list(services)})
        listed = [{"service": name, "reason": reason} for name, reason in reasons.items()]
        return JSONResponse({"status": "not_ready", "reasons": listed}, status_code=503, headers={"Retry-After": "1"})

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def docs(_: Request) -> Response:
        return HTMLResponse(page)

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
