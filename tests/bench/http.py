"""bench-http: what a request costs before and after the code of its route.

    make bench-http [n=4000]

The real routes of intake and dispatch behind the real server, with stores that answer at once: what is left is the
server, the gate, routing, tokens, validation, the queue and the answer. CPU-microseconds of the serving process per
request, on keep-alive connections. The last line is one JSON object.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import orjson
import psutil
import uvicorn
from fastapi import APIRouter

from services.dispatch.api import work_orders
from services.intake import api as intake_api
from shared.clock import ManualClock
from shared.http.app import gated, service_app
from shared.http.commands import Answer, CommandQueue
from shared.http.requests import StrictRoute
from shared.security.tokens import Tokens
from shared.service.process import run_async, server_config
from shared.service.runner import Runner
from shared.settings import Settings
from tests.bench import load
from tests.bench.stack import TOKEN, free_port, machine

APPEAL = "019371c0-0000-7000-8000-000000000001"
CASE: Answer = {
    "id": APPEAL,
    "reference_no": "460100-20261102-000001",
    "status": "handling",
    "title": "路灯不亮",
    "text": "小区门口的路灯三天不亮了，晚上看不清路。" * 4,
    "tags": ["night", "road"],
    "place": {"region_code": "460105001", "address": None, "confidence": 0.9},
    "clocks": [
        {"name": name, "due_at": "2026-11-02T10:00:00+08:00", "lamp": "green"} for name in ("accept", "complete")
    ],
    "work_orders": [{"id": APPEAL, "status": "dispatched", "lead": "460106-cityadmin", "version": 3}],
    "version": 3,
}


class _NoTransaction:
    """A database whose transactions do nothing."""

    def transaction(self) -> "_NoTransaction":
        return self

    async def __aenter__(self) -> Any:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


async def _done(commands: Sequence[Any], _uow: Any) -> list[Answer]:
    return [CASE for _ in commands]


async def _case(_appeal: str, _who: Any) -> bytes:
    return orjson.dumps(CASE)


def _service(name: str) -> Any:
    nowhere: Any = _NoTransaction()
    clock = ManualClock()
    if name == "intake":
        queue: CommandQueue[Any] = CommandQueue(nowhere, cast(Any, _done))
        desk: Any = SimpleNamespace(platform="460100", prepare=lambda body, *_: body)
        queries: Any = SimpleNamespace(case=_case)
        nobody = cast(Any, None)
        router = intake_api.router(intake_api.Receiver(desk, clock, queue), queue, queries, nobody, nobody)
    else:
        router = APIRouter(tags=["dispatch"], route_class=StrictRoute)
        acts: CommandQueue[Any] = CommandQueue(nowhere, cast(Any, _done))
        work_orders.add_routes(router, cast(Any, None), acts, nowhere, clock)
    return SimpleNamespace(name=name, router=router, database=nowhere, subscriptions=())


def serve(name: str, port: int) -> None:
    """One service with such a store, until it is ended."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=folder, admin_token=TOKEN, public_rate=0)
        runner = cast(
            Runner,
            SimpleNamespace(service=_service(name), worker=SimpleNamespace(dead_letters=SimpleNamespace(table=""))),
        )
        app = gated(service_app(runner, settings, Tokens(settings)), name)
        run_async(uvicorn.Server(server_config(app, "127.0.0.1", port)).serve())


BODY = orjson.dumps(
    {
        "channel": "web",
        "text": CASE["text"],
        "external_id": "bench-1",
        "reporter": {"name": "王小明", "phone": "13900000000"},
    }
)
REQUESTS = {
    "POST /v1/appeals": ("intake", "POST", "/v1/appeals", BODY, 201),
    "GET /v1/appeals/{id}": ("intake", "GET", f"/v1/appeals/{APPEAL}", b"", 200),
    "POST /v1/work-orders/{id}/accept": ("dispatch", "POST", f"/v1/work-orders/{APPEAL}/accept", b"{}", 200),
}


async def _send(client: load.Client, request: tuple[str, str, str, bytes, int], count: int, users: int) -> None:
    _, method, path, body, expected = request

    async def user() -> None:
        for _ in range(count // users):
            status, answer = await client.request(method, path, body)
            if status != expected:
                raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")

    await asyncio.gather(*(user() for _ in range(users)))


async def _measure(name: str, process: psutil.Process, port: int, count: int, users: int) -> dict[str, int]:
    client = load.Client(port, TOKEN, connections=users)
    deadline = time.monotonic() + 60
    while (await client.request("GET", f"/ops/{name}/health/live"))[0] != 200:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not answer")
        await asyncio.sleep(0.1)
    found: dict[str, int] = {}
    for title, request in REQUESTS.items():
        if request[0] != name:
            continue
        await _send(client, request, users * 20, users)
        before = process.cpu_times()
        await _send(client, request, count, users)
        after = process.cpu_times()
        found[title] = round((after.user + after.system - before.user - before.system) / count * 1e6)
    await client.close()
    return found


def measure(count: int, users: int) -> dict[str, int]:
    """CPU-µs per request by route."""
    found: dict[str, int] = {}
    for name in ("intake", "dispatch"):
        port = free_port()
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.http", f"serve={name}", f"port={port}"])
        try:
            found |= asyncio.run(_measure(name, psutil.Process(process.pid), port, count, users))
        finally:
            process.terminate()
            process.wait(30)
    return found


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if "serve" in arguments:
        serve(arguments["serve"], int(arguments["port"]))
    else:
        figures = measure(int(arguments.get("n", "4000")), int(arguments.get("users", "16")))
        print(json.dumps({"bench": "http", **machine(), "cpu_us_per_request": figures}, ensure_ascii=False))
