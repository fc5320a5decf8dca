"""Before services start: schemas, topics, the city's files. The same for both stacks."""

import asyncio
from collections.abc import Callable

from deploy.local.routes import local_services
from shared.bus.records import Transport
from shared.clock import Clock
from shared.service.process import build_service, ensure_topics, make_transport, migrate_service
from shared.service.service import Service
from shared.service.turned_clock import make_clock
from shared.settings import Settings
from shared.telemetry import logs


async def prepare(
    names: list[str], settings: Settings, clock: Clock, transport: Transport, say: Callable[[str], None]
) -> list[Service]:
    """Bring every schema to its newest revision, make the topics, import the city; safe to repeat.

    The transport must be started. Returns the services, built but not started.
    """
    await ensure_topics(transport)
    for name in names:
        await migrate_service(name, settings)
    services = []
    for name in names:
        say(name)
        service = await build_service(name, settings, clock, transport)
        await service.setup()
        services.append(service)
    return services


def prepare_here() -> int:
    """The process that `make up` starts for it; exit status."""
    settings = Settings()
    logs.configure(settings.log_level, "prepare")

    async def main() -> None:
        clock = await make_clock(settings)
        transport = make_transport(settings)
        await transport.start()
        try:
            for service in await prepare(local_services(), settings, clock, transport, lambda name: None):
                await service.database.close()
        finally:
            await transport.stop()

    asyncio.run(main())
    return 0
