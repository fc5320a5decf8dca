"""Services in a test: a fresh database, the embedded bus, a clock that the test turns, and HTTP without a socket.

    async with Harness.fresh(server_url, "dispatch") as hub:
        await hub.emit(AppealReceived(...), key=appeal_id, sequence=1)
        await hub.settle()
        answer = await hub.http.get("/v1/work-orders", headers=hub.admin)
        events = await hub.events("dispatch.work-orders.v1")

Only the clock is a fake: PostgreSQL, the log, the workers, relays and timers are the real ones.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.bus.records import Record, Transport
from shared.bus.worker import decode_event
from shared.clock import ManualClock
from shared.db.database import plain_url
from shared.events.event import Event, Message, encode
from shared.events.stored import headers_from
from shared.http.app import gated, running, service_app
from shared.ids import uuid7
from shared.security.tokens import Tokens
from shared.service.pipeline import backlog, looks, schemas_of
from shared.service.process import build_service, ensure_topics, migrate_service
from shared.service.runner import Runner
from shared.service.service import Service
from shared.settings import Settings
from shared.testing.postgres import fresh_database
from shared.transport.embedded import EmbeddedTransport

ADMIN_TOKEN = "test-admin-token-0123456789"  # noqa: S105  # a test's own


class Harness:
    """Some services of the hub, running."""

    def __init__(self, settings: Settings, clock: ManualClock, transport: Transport) -> None:
        self.settings = settings
        self.clock = clock
        self.transport = transport
        self.tokens = Tokens(settings)
        self.runners: dict[str, Runner] = {}
        self.apps: dict[str, ASGIApp] = {}
        self.admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self._route), base_url="http://hub.test")

    @classmethod
    @asynccontextmanager
    async def fresh(
        cls,
        server_url: str,
        *names: str,
        transport: Transport | None = None,
        setup: bool = True,
        clock: ManualClock | None = None,
        **settings: Any,
    ) -> AsyncIterator["Harness"]:
        """Services `names` on a fresh database, migrated and set up with the demo city; stopped at the end."""
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(fresh_database(server_url))
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sushu-test-"))
            chosen = Settings(
                database_url=url,
                data_dir=Path(folder),
                admin_token=ADMIN_TOKEN,
                public_rate=0,
                **({"pool_size": 2} | settings),  # a test server has a hundred connections for all services together
            )
            bus = transport or EmbeddedTransport(url)
            await bus.start()
            stack.push_async_callback(bus.stop)
            await ensure_topics(bus)
            hub = cls(chosen, clock or ManualClock(), bus)
            stack.push_async_callback(hub.http.aclose)
            runners = []
            for name in names:
                await migrate_service(name, chosen)
                service = await build_service(name, chosen, hub.clock, bus)
                if setup:
                    await service.setup()
                runners.append(hub._add(service))
            await stack.enter_async_context(running(runners))
            async with asyncio.timeout(20):
                while any([await runner.not_ready() for runner in runners]):
                    await asyncio.sleep(0.02)
            yield hub

    def _add(self, service: Service) -> Runner:
        runner = Runner(service, self.transport, paced=False)
        self.runners[service.name] = runner
        self.apps[service.name] = gated(service_app(runner, self.settings, self.tokens), service.name)
        return runner

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The first service with a route for the path answers, as the gateway's table would choose."""
        parts = scope["path"].split("/")
        if len(parts) > 2 and parts[1] == "ops":
            await self.apps[parts[2]](scope, receive, send)
            return
        for name, runner in self.runners.items():
            prefixes = {"/".join(getattr(route, "path", "").split("/")[:3]) for route in runner.service.router.routes}
            if "/".join(parts[:3]) in prefixes:
                await self.apps[name](scope, receive, send)
                return
        await next(iter(self.apps.values()))(scope, receive, send)

    def token(
        self, *roles: str, units: Sequence[str] = (), regions: Sequence[str] = (), sub: str = "tester"
    ) -> dict[str, str]:
        """Headers of a principal with these roles and row scope."""
        token, _ = self.tokens.issue(sub, list(roles), units=list(units), regions=list(regions))
        return {"Authorization": f"Bearer {token}"}

    async def emit(
        self,
        event: Event,
        *,
        key: str,
        sequence: int,
        time: datetime | None = None,
        source: str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Put an event on the bus as its owner's relay would; returns its id. Repeat it with the same `event_id`."""
        message = Message(
            id=event_id or uuid7(),
            type=event.type,
            source=source or f"/{self.settings.platform}/{event.topic.split('.')[0]}",
            key=key,
            sequence=sequence,
            time=(time or self.clock.now()).astimezone(UTC),
            data=event,
        )
        headers, value = encode(message)
        await self.transport.publish([Record(event.topic, key, headers, value)])
        return message.id

    async def publish(self, record: Record) -> None:
        """Put bytes on the bus as they are."""
        await self.transport.publish([record])

    async def settle(self, timeout: float = 20) -> None:
        """Wait until everything on the bus is read, outboxes are empty and due timers have fired."""
        connection: Any = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            quiet = 0
            deadline = asyncio.get_running_loop().time() + timeout
            schemas = await schemas_of(connection)
            while quiet < looks(self.transport):
                left = await backlog(connection, self.transport, self.clock.now(), schemas)
                quiet = 0 if left else quiet + 1
                if left and asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError(f"not settled after {timeout} s: {left}")
                if quiet < looks(self.transport):
                    await asyncio.sleep(0.005)
        finally:
            await connection.close()

    async def advance(self, seconds: float) -> None:
        """Turn the clock from due timer to due timer up to `seconds` ahead, settling at each."""
        target = self.clock.now().timestamp() + seconds
        connection: Any = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            await self.settle()
            while True:
                union = " UNION ALL ".join(f"SELECT min(due_at) AS due FROM {name}.timers" for name in self.runners)
                due = await connection.fetchval(f"SELECT min(due) FROM ({union}) t")
                if due is None or due.timestamp() > target:
                    break
                self.clock.set(max(due, self.clock.now()))
                await self.settle()
            self.clock.set(datetime.fromtimestamp(target, UTC))
            await self.settle()
        finally:
            await connection.close()

    async def events(self, topic: str, key: str | None = None) -> list[Message[Any]]:
        """What stands on a topic of the embedded log, in the order of appending."""
        connection: Any = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            rows = await connection.fetch(
                "SELECT key, headers, value FROM bus.log WHERE topic = $1 AND ($2::text IS NULL OR key = $2)"
                " ORDER BY appended_at, partition, log_offset",
                topic,
                key,
            )
        finally:
            await connection.close()
        return [decode_event(headers_from(row["headers"]), row["value"]) for row in rows]

    async def query(self, sql: str, *values: Any) -> list[Any]:
        """Rows of a query with the rights of the database's owner (to look into any schema)."""
        connection: Any = await asyncpg.connect(plain_url(self.settings.database_url))
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()
