"""`make run`: the whole hub on the embedded log, with PostgreSQL from its wheel.

This process answers HTTP for every service; a second one (`work.py`) reads their streams. Both, and PostgreSQL, end
with this one.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx

from deploy.local import ports
from deploy.local.demo.stream import WORDS, DemoStream
from deploy.local.errors import StackError
from deploy.local.keys import ensure_admin_token
from deploy.local.live import LiveLine
from deploy.local.prepare import prepare
from deploy.local.process import Identity
from deploy.local.routes import in_process_routes, local_services
from deploy.local.serving import lifespan_of, serving
from deploy.local.settings import LocalSettings
from deploy.local.stack import Stack
from deploy.local.supervisor import Supervisor
from deploy.local.work import Work
from shared.http.app import Together
from shared.service.process import run_async
from shared.service.runner import Runner
from shared.service.turned_clock import following, make_clock
from shared.telemetry import logs
from shared.transport.embedded import EmbeddedTransport

READY_WITHIN_S = 60.0
WORK_READY_S = 120.0
POSTGRES_READY_S = 60.0
TRANSPORT_END_S = 5.0

log = logging.getLogger(__name__)


def run() -> int:
    """Run until Ctrl-C or SIGTERM; exit status."""
    settings = LocalSettings.from_environment().model_copy(update={"kafka_bootstrap_servers": ""})
    settings.require_city()
    stack = Stack.take(settings, "embedded", local_services())
    ports.require_free(settings.port, "SUSHU_PORT", "the base URL", settings.host)
    run_async(_Hub(stack).run())
    return 0


def say(words: str = "", end: str = "\n") -> None:
    """A line for the person in front of the terminal."""
    print(words, end=end, flush=True)


class _Hub:
    """The life of `make run`: start in order, serve, end in order."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.settings = stack.settings
        self.supervisor = Supervisor(on_change=self._publish, say=log.warning, die_with_parent=True)
        self.began = time.monotonic()

    async def run(self) -> None:
        """Until asked to end. Raises StackError when it cannot start."""
        _log_to(self.stack.folder.log("hub"), self.settings.log_level)
        asked_to_end = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            if asked_to_end.is_set():
                os._exit(130)  # asked twice: like kill -9, which loses nothing
            asked_to_end.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        living = asyncio.create_task(self._live())
        watching = asyncio.create_task(self.supervisor.watch())
        ending = asyncio.create_task(asked_to_end.wait())
        try:
            await asyncio.wait({living, ending, watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in (living, watching):
                if task.done():
                    await task  # raises what went wrong
        finally:
            if asked_to_end.is_set():
                say("\nEnding …")
            for part in (living, watching, ending):
                part.cancel()
                await asyncio.gather(part, return_exceptions=True)
            await self.supervisor.stop_all()
            self.stack.folder.forget()

    async def _live(self) -> None:
        say("Starting PostgreSQL …")
        settings = await self._with_database()
        token, token_file = ensure_admin_token(settings.data_dir, settings.admin_token)
        clock = await make_clock(settings)
        transport = EmbeddedTransport(settings.database_url)
        await transport.start()
        work = Work(ports.free_port())
        try:
            async with work.held_back(settings.database_url):  # it starts while we prepare, and waits for the end of it
                starting = asyncio.create_task(self.supervisor.start(work.program(self.stack), within_s=WORK_READY_S))
                say("Preparing", end="")
                services = await prepare(
                    self.stack.services, settings, clock, transport, lambda name: say(f" {name}", end="")
                )
                say(" …")
            await starting
            runners = [Runner(service, transport, elsewhere=work) for service in services]
            segments, paths = in_process_routes(self.stack.services)
            app = Together(runners, settings, segments, paths, lifespan_of(runners))
            async with following(clock, "run"), serving(app, settings) as server:
                headers = {"Authorization": f"Bearer {token}"}
                async with httpx.AsyncClient(
                    base_url=settings.local_url, headers=headers, timeout=30, trust_env=False
                ) as client:
                    await self._until_ready(client)
                    self._greet(token_file)
                    beside = [LiveLine(client).run()]
                    if settings.demo_stream == "on":
                        beside.append(DemoStream(client, settings.platform, now=clock.now).run())
                    await _until_one_ends(server, beside)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TRANSPORT_END_S):
                    await transport.stop()

    async def _with_database(self) -> LocalSettings:
        """Start (or find) the database; the settings with its address."""
        server = self.stack.own_postgres()
        if server is not None:
            await self.supervisor.start(server.program(), within_s=POSTGRES_READY_S)
        await self.stack.take_database(server, "embedded")
        self._publish()
        return self.settings.model_copy(update={"database_url": self.stack.services_url})

    async def _until_ready(self, client: httpx.AsyncClient) -> None:
        reasons = "no answer"
        while time.monotonic() - self.began < READY_WITHIN_S + POSTGRES_READY_S:
            try:
                answer = await client.get("/health/ready")
                if answer.status_code == 200:
                    return
                reasons = answer.text
            except httpx.HTTPError as error:
                reasons = repr(error)
            await asyncio.sleep(0.05)
        raise StackError(f"The hub did not become ready: {reasons}\nSee {self.stack.folder.root / 'log'}.")

    def _greet(self, token_file: Path | None) -> None:
        url = self.settings.local_url
        say(
            f"\n诉枢 is ready at {url} after {time.monotonic() - self.began:.1f} s  (documentation: {url}/docs)\n"
            f"  admin token   {token_file or 'the value of SUSHU_ADMIN_TOKEN'}\n"
            f"  log           {self.stack.folder.root / 'log'}"
        )
        if self.settings.demo_stream == "on":
            say(f"  demo          {WORDS}")
        say("  end           Ctrl-C\n")

    def _publish(self) -> None:
        me = Identity.of("supervisor", os.getpid())
        processes = [*([me] if me else []), *self.supervisor.identities()]
        pids = [process.pid for process in processes if process.name in ("supervisor", "work")]
        self.stack.publish(processes, dict.fromkeys(self.stack.services, pids))


async def _until_one_ends(serving: "asyncio.Task[None]", beside: list[Coroutine[Any, Any, None]]) -> None:
    """Wait; when the server ends or something beside it fails, or on cancellation, the others beside it are ended.

    The server itself is left to its owner, who lets it answer its last requests.
    """
    tasks = [asyncio.create_task(part) for part in beside]
    try:
        done, _ = await asyncio.wait({serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_to(path: Path, level: str) -> None:
    """The services' log goes to a file; the terminal is for the person."""
    logs.configure(level, "hub")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(path.open("a", encoding="utf-8"))
