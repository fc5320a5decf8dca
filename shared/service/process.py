"""One service as its own process: consumer, relay, timers, HTTP on SUSHU_SERVICE_HOST:SUSHU_SERVICE_PORT."""

import asyncio
import contextlib
import gc
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.db.migrate import known_role, migrate
from shared.errors import Transient
from shared.events import topics
from shared.http.app import gated, running, service_app
from shared.security.tokens import Tokens
from shared.service.runner import Runner
from shared.service.service import Service
from shared.service.turned_clock import following, make_clock
from shared.settings import Settings
from shared.telemetry import logs
from shared.transport.embedded import EmbeddedTransport
from shared.transport.kafka import KafkaTransport, security_of

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 180
"""An idle connection is closed by whoever opened it, a gateway or a client: were it closed from this side, a request
that is just on its way would be lost. Longer than gateways keep theirs (Caddy 2 min, nginx and balancers 1 min)."""

GC_THRESHOLD = 20_000

Build = Callable[[Settings, Clock, Transport, Database], Service]
"""`bootstrap.build(settings, clock, bus, database) → Service`"""


def make_transport(settings: Settings) -> Transport:
    """The bus of this process by the settings."""
    if settings.transport == "kafka":
        return KafkaTransport(settings.kafka_bootstrap_servers, **security_of(settings))
    return EmbeddedTransport(settings.database_url)


async def ensure_topics(transport: Transport) -> None:
    """Make the catalogue's topics on the bus."""
    await transport.ensure_topics({topic.name: topic.partitions for topic in topics.load().values()})


def builder(name: str) -> Build:
    """`services.<name>.bootstrap.build`."""
    build: Build = importlib.import_module(f"services.{name}.bootstrap").build
    return build


async def build_service(name: str, settings: Settings, clock: Clock, transport: Transport) -> Service:
    """Put one service together on its own database role.

    Raises `PermissionError` in production when the service's role is missing.
    """
    role = await known_role(settings.database_url, name)
    if role is None and settings.env == "production":
        raise PermissionError(f"production needs a database role of its own for {name}: run `migrate` first")
    database = Database(
        settings.database_url, name, clock, platform=settings.platform, role=role, pool_size=settings.pool_size
    )
    return builder(name)(settings, clock, transport, database)


async def migrate_service(name: str, settings: Settings) -> None:
    """Bring the schema of one service to its newest revision."""
    package = importlib.import_module(f"services.{name}")
    folder = Path(next(iter(package.__path__))) / "migrations"
    await migrate(settings.database_url, name, folder, production=settings.env == "production")


async def _serve(name: str, settings: Settings) -> None:
    clock = await make_clock(settings)
    transport = make_transport(settings)
    await transport.start()
    while True:
        try:
            await ensure_topics(transport)
            break
        except Transient as error:
            log.warning("the bus is not there yet, waiting", extra={"error": str(error)})
            await asyncio.sleep(1)
    service = await build_service(name, settings, clock, transport)
    runner = Runner(service, transport, paced=not settings.sim_clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running([runner]):
            yield

    app = service_app(runner, settings, Tokens(settings), lifespan)
    server = uvicorn.Server(server_config(gated(app, name), settings.service_host, settings.service_port))
    try:
        async with following(clock, name):
            await server.serve()
    finally:
        await transport.stop()


def server_config(app: Any, host: str, port: int) -> uvicorn.Config:
    """How every process of ours serves HTTP."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=KEEP_ALIVE_S,
        loop="none",
        http="httptools",
        ws="none",
        backlog=2048,
    )


def run_async(main: Any) -> None:
    """Run a coroutine on uvloop where there is one. What is loaded by now stays: the collector need not walk over it,
    nor come for every few hundred rows of a batch."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def serve(name: str) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    settings = Settings()
    logs.configure(settings.log_level, name)
    with contextlib.suppress(KeyboardInterrupt):
        run_async(_serve(name, settings))


def bring_up_to_date(name: str) -> None:
    """Bring the schema of the service to the newest revision."""
    settings = Settings()
    logs.configure(settings.log_level, name)
    asyncio.run(migrate_service(name, settings))


def set_up(name: str) -> None:
    """Import what a fresh database needs; safe to repeat."""
    settings = Settings()
    logs.configure(settings.log_level, name)

    async def main() -> None:
        clock = await make_clock(settings)
        service = await build_service(name, settings, clock, make_transport(settings))
        await service.setup()
        await service.database.close()

    asyncio.run(main())
