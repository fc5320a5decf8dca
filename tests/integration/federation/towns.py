"""Several platforms in one process, each on a database of its own, speaking real HTTP with each other."""

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from fastapi import FastAPI, Request, Response
from nacl.signing import SigningKey

from shared.federation.keys import FILE, PlatformKeys, add_key, read_seeds
from shared.federation.signatures import sign
from shared.ids import uuid7
from shared.testing.harness import Harness

LOOP = ("intake", "classify", "dispatch", "sla", "feedback")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Atlas:
    """The directory file of several platforms, and their keys."""

    folder: Path
    levels: Mapping[str, tuple[int, str | None]]
    """code → level, parent"""
    agreements: list[dict[str, Any]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    """code → number → public key in base64"""

    def __post_init__(self) -> None:
        for code in self.levels:
            self.urls.setdefault(code, f"http://127.0.0.1:{free_port()}")
            if not (self.key_dir(code) / FILE).exists():
                add_key(self.key_dir(code) / FILE)
            self.publish(code)
        self.write()

    @property
    def path(self) -> Path:
        return self.folder / "platforms.yaml"

    def key_dir(self, code: str) -> Path:
        return self.folder / code

    def own_keys(self, code: str) -> PlatformKeys:
        return PlatformKeys(code, read_seeds(self.key_dir(code) / FILE))

    def publish(self, code: str) -> None:
        """List all keys of a platform."""
        public = self.own_keys(code).public()
        self.keys[code] = {str(number): base64.b64encode(raw).decode() for number, raw in public.items()}

    def write(self, path: Path | None = None, without: Sequence[str] = ()) -> Path:
        """The directory, or another one that leaves platforms out."""
        platforms = [
            {"code": code, "level": level, "parent": parent, "base_url": self.urls[code], "keys": self.keys[code]}
            for code, (level, parent) in self.levels.items()
            if code not in without
        ]
        target = path or self.path
        fresh = target.with_suffix(".new")
        fresh.write_text(yaml.safe_dump({"platforms": platforms, "agreements": self.agreements}), encoding="utf-8")
        fresh.replace(target)
        return target

    def signed(
        self, by: str, to: str, method: str, path: str, body: bytes, *, number: int | None = None, **more: Any
    ) -> dict[str, str]:
        """Header fields of a request from one platform to another."""
        seeds = self.own_keys(by).seeds
        number = number or max(seeds)
        authority = self.urls[to].partition("://")[2]
        given: dict[str, Any] = {
            "keyid": f"{by}#{number}",
            "key": SigningKey(seeds[number]),
            "created": int(time.time()),
        } | more
        return sign(method, authority, path, body, **given)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serving(hub: Harness, url: str) -> AbstractAsyncContextManager[None]:
    """The hub behind its address."""
    return serving_app(hub._route, url)


@asynccontextmanager
async def serving_app(app: Any, url: str) -> AsyncIterator[None]:
    """An application behind its address."""
    port = int(url.rpartition(":")[2])
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        loop="none",
        lifespan="off",
        interface="asgi3",
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


class Stranger:
    """Another platform's door, as this test wants it: it keeps what it is sent and answers what it is told."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.keyids: list[str] = []
        self.answers: list[Response] = []
        """the next ones; then 201"""
        self.stumbles_over: set[str] = set()
        """hand-overs of which every message is answered with 500"""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = FastAPI()

        @app.post("/{path:path}")
        async def take(path: str, request: Request) -> Response:
            body = await request.json()
            self.got.append(body)
            self.keyids.append(request.headers["signature-input"].partition('keyid="')[2].partition('"')[0])
            if body["handoff_id"] in self.stumbles_over:
                return Response(status_code=500)
            if self.answers:
                return self.answers.pop(0)
            return Response(json.dumps({"handoff_id": body["handoff_id"]}), 201)

        await app(scope, receive, send)

    def offers(self) -> list[dict[str, Any]]:
        return [body for body in self.got if "case" in body]


@asynccontextmanager
async def towns(
    server_url: str,
    atlas: Atlas,
    services: Mapping[str, Sequence[str]],
    own_copies: Mapping[str, Path] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[dict[str, Harness]]:
    """Running platforms by code, each with these services; `own_copies`: whose directory is not the atlas', `settings`:
    what else is different at whom."""
    async with AsyncExitStack() as stack:
        hubs: dict[str, Harness] = {}
        for code, names in services.items():
            hub = await stack.enter_async_context(
                Harness.fresh(
                    server_url,
                    *names,
                    pool_size=1,
                    platform=code,
                    platforms=str((own_copies or {}).get(code, atlas.path)),
                    key_dir=atlas.key_dir(code),
                    base_url=atlas.urls[code],
                    **(settings or {}).get(code, {}),
                )
            )
            await stack.enter_async_context(serving(hub, atlas.urls[code]))
            hubs[code] = hub
        yield hubs


async def until(found: Callable[[], Awaitable[Any]], what: str, seconds: float = 20) -> Any:
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if result := await found():
            return result
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what} did not come")


async def get(hub: Harness, path: str, **params: Any) -> Any:
    answer = await hub.http.get(path, params=params or None, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(hub: Harness, path: str, **body: Any) -> Any:
    answer = await hub.http.post(path, json=body, headers=hub.admin)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def appeal(
    hub: Harness, region: str, text: str = "海边路段垃圾无人清理，气味难闻。", **more: Any
) -> dict[str, Any]:
    """A citizen's appeal through the web."""
    body = {"channel": "web", "text": text, "location": {"region_code": region}} | more
    return dict(await post(hub, "/v1/appeals", **body))


async def dispatched(hub: Harness, appeal_id: str) -> dict[str, Any]:
    """The order of an appeal once it is dispatched; a person reviews the label when it waits for one."""

    async def found() -> Any:
        case = await get(hub, f"/v1/appeals/{appeal_id}")
        if not case["work_orders"]:
            return None
        order = await get(hub, f"/v1/work-orders/{case['work_orders'][0]['id']}")
        if order["status"] == "pending":
            await post(hub, f"/v1/reviews/{appeal_id}", matter=case["labels"]["matter"]["code"])
            return None
        return order

    return dict(await until(found, "the order"))


async def state_at(hub: Harness, appeal_id: str) -> str:
    """Of the hand-over of a case, as readers see it."""
    case = await get(hub, f"/v1/appeals/{appeal_id}")
    return str((case["handoff"] or {}).get("state", ""))


async def reached(hub: Harness, appeal_id: str, *states: str, seconds: float = 20) -> None:
    async def there() -> bool:
        return await state_at(hub, appeal_id) in states

    await until(there, f"state {' or '.join(states)}", seconds)


async def case_by(hub: Harness, handoff_id: str) -> Any:
    """The appeal that an accepted hand-over became here; None before."""
    rows = await hub.query("SELECT appeal_id FROM intake.handoffs WHERE id = $1", handoff_id)
    return await get(hub, f"/v1/appeals/{rows[0]['appeal_id']}") if rows and rows[0]["appeal_id"] else None


def offer(sender: str, path: Sequence[str], contact: str | None = None, **case: Any) -> dict[str, Any]:
    """An offer as another platform would write it."""
    return {
        "handoff_id": uuid7(),
        "sender": sender,
        "path": list(path),
        "case": {"text": "三亚市天涯区路灯不亮", "region_code": "460204"} | case,
        "contact": contact,
        "clocks": [],
    }


async def call(
    hub: Harness, atlas: Atlas, by: str, to: str, method: str, path: str, body: bytes = b"", **more: Any
) -> httpx.Response:
    """A signed request over the socket."""
    headers = atlas.signed(by, to, method, path, body, **more)
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, atlas.urls[to] + path, content=body, headers=headers)
