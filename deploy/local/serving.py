"""uvicorn beside other things in one event loop: its owner handles the signals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from deploy.local.settings import LocalSettings
from shared.http.app import Lifespan, Together, running
from shared.service.process import server_config
from shared.service.runner import Runner

END_WITHIN_S = 25.0
"""Last requests are answered and batches finished in this time; what is left is read again at the next start."""


class EmbeddedServer(uvicorn.Server):
    """Serves until `should_exit` is set; leaves SIGINT and SIGTERM to its owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def lifespan_of(runners: Sequence[Runner]) -> Lifespan:
    """The services run while the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running(runners):
            yield

    return lifespan


@asynccontextmanager
async def serving(app: Together, settings: LocalSettings) -> AsyncIterator["asyncio.Task[None]"]:
    """HTTP while the block runs; afterwards the last requests are answered and the services stopped."""
    server = EmbeddedServer(server_config(app, settings.host, settings.port))
    task = asyncio.create_task(server.serve())
    try:
        yield task
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=END_WITHIN_S)
