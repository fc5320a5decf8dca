"""The second process of `make run`: it reads the streams, relays and fires the timers of every service.

The hub answers HTTP and starts it; so both cores of a small machine have work. It serves its own health and figures on
a loopback port, which the hub asks.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
import httpx

from deploy.local.process import Program
from deploy.local.routes import in_process_routes, local_services
from deploy.local.services import environment
from deploy.local.serving import lifespan_of, serving
from deploy.local.settings import LocalSettings
from deploy.local.stack import Stack
from shared.http.app import Together
from shared.service.process import build_service, run_async
from shared.service.runner import Runner
from shared.service.turned_clock import following, make_clock
from shared.telemetry import logs
from shared.transport.embedded import EmbeddedTransport

log = logging.getLogger(__name__)

ASK_S = 2.0
HELD_BACK = 7405
"""advisory lock"""


def work(port: int) -> int:
    """Run until SIGTERM; exit status. The schemas are prepared and the database is in the environment."""
    settings = LocalSettings.from_environment().model_copy(update={"host": "127.0.0.1", "port": port})
    logs.configure(settings.log_level, "work")
    run_async(_work(settings))
    return 0


async def _work(settings: LocalSettings) -> None:
    asked_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    await _prepared(settings.database_url)
    clock = await make_clock(settings)
    transport = EmbeddedTransport(settings.database_url)
    await transport.start()
    try:
        names = local_services()
        services = [await build_service(name, settings, clock, transport) for name in names]
        runners = [Runner(service, transport, paced=not settings.sim_clock) for service in services]
        segments, paths = in_process_routes(names)
        app = Together(runners, settings, segments, paths, lifespan_of(runners))
        async with following(clock, "work"), serving(app, settings) as server:
            ending = asyncio.create_task(asked_to_end.wait())
            await asyncio.wait({ending, server}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
    finally:
        await transport.stop()


async def _prepared(database_url: str) -> None:
    """Wait until the hub has prepared the schemas: it holds the lock meanwhile."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"SELECT pg_advisory_lock_shared({HELD_BACK})")
    await connection.close()


class Work:
    """What the hub knows of that process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=ASK_S, trust_env=False)

    @asynccontextmanager
    async def held_back(self, database_url: str) -> AsyncIterator[None]:
        """The process starts and loads its code, but touches nothing before the end of the block."""
        connection = await asyncpg.connect(database_url)
        await connection.execute(f"SELECT pg_advisory_lock({HELD_BACK})")
        try:
            yield
        finally:
            await connection.close()

    async def health(self, service: str) -> Mapping[str, Sequence[str]]:
        """Reasons and alarms of one service there."""
        try:
            answer = await self._client.get(f"/ops/{service}/health/ready")
            told: dict[str, list[str]] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return {
                "reasons": [f"{service}: the process that reads the streams does not answer: {error!r}"],
                "alarms": [],
            }
        return {"reasons": told["reasons"], "alarms": told["alarms"]}

    async def metrics(self, service: str) -> str:
        """Figures of that process; none while it does not answer."""
        try:
            return (await self._client.get(f"/ops/{service}/metrics")).text
        except httpx.HTTPError:
            return ""

    def program(self, stack: Stack) -> Program:
        """The process as a program to supervise."""
        return Program(
            name="work",
            argv=(sys.executable, "-m", "deploy.local", "work", str(self.port)),
            env=environment(stack),
            log=stack.folder.log("work"),
            is_ready=self._is_live,
            stop_patience_s=20.0,
        )

    async def _is_live(self) -> bool:
        try:
            return (await self._client.get("/health/live")).status_code == 200
        except httpx.HTTPError:
            return False
