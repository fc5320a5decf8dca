"""Runs a service's consumer, relay, timers and background work, and knows whether it is ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from shared.bus.records import Transport
from shared.bus.timers import Timers
from shared.bus.worker import Worker
from shared.errors import Transient
from shared.outbox.relay import Relay
from shared.service.service import Service
from shared.telemetry import metrics

log = logging.getLogger(__name__)

IDEMPOTENCY_DAYS = 30
STOP_AGAIN_S = 1.0
RELAY_PACE_S = 0.01


class Elsewhere(Protocol):
    """The process that does the streams of services whose HTTP is served here."""

    async def health(self, service: str) -> Mapping[str, Sequence[str]]:
        """`reasons` why it cannot do the work of `service` now, and its `alarms`."""
        ...

    async def metrics(self, service: str) -> str:
        """Its figures in Prometheus' text format."""
        ...


class Runner:
    """The running parts of one service in this process."""

    def __init__(
        self, service: Service, transport: Transport, *, paced: bool = True, elsewhere: Elsewhere | None = None
    ) -> None:
        """`paced` False: every event at once, whatever it costs (a turned clock waits for each step). `elsewhere`:
        another process reads the streams, relays and fires the timers of this service; here it answers HTTP."""
        self.elsewhere = elsewhere
        self.service = service
        self.transport = transport
        self.worker = Worker(
            service.name,
            service.subscriptions,
            service.database,
            transport,
            pace_s=service.pace_s if paced else 0.0,
        )
        self.relay = Relay(service.database, transport, pace_s=RELAY_PACE_S if paced else 0.0)
        self.timers = Timers(
            service.database, transport, [subscription.topic for subscription in service.subscriptions], service.timers
        )
        self.alarms: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start everything. The transport must be started and the schema migrated."""
        await self.service.start()
        parts: list[tuple[str, Callable[[], Awaitable[Any]]]] = []
        if self.elsewhere is None:
            parts += [("relay", self.relay.run), ("care", self._care)]
            if self.service.subscriptions:
                parts.append(("worker", self.worker.run))
            if self.service.timers:
                parts.append(("timers", self.timers.run))
        else:
            self.service.database.relay_is_here = False
        parts += [(f"background-{number}", work) for number, work in enumerate(self.service.background)]
        self._tasks = [
            asyncio.create_task(self._keep(name, work), name=f"{self.service.name}-{name}") for name, work in parts
        ]

    async def _keep(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        """A part that dies is logged and started again."""
        while True:
            try:
                await work()
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("a part of the service failed, starting it again", extra={"part": name}, exc_info=error)
                await asyncio.sleep(1)

    async def stop(self) -> None:
        """Stop everything; what is not committed will be read again."""
        running = set(self._tasks)
        while running:  # again and again: a library may swallow one cancellation
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=STOP_AGAIN_S)
        await self.service.stop()
        await self.service.database.close()

    async def _care(self) -> None:
        """Figures, alarms and house-keeping, every few seconds."""
        round_no = 0
        schema = self.service.database.schema
        while True:
            try:
                async with self.service.database.transaction() as uow:
                    age = await uow.pg.fetchval(
                        f"SELECT extract(epoch FROM now() - min(created_at)) FROM {schema}.outbox WHERE parked IS NULL"
                    )
                    early = await uow.pg.fetchval(
                        f"SELECT count(*) FROM {schema}.inbox_early WHERE read_at < now() - interval '300 s'"
                    )
                    if round_no % 360 == 0:
                        await uow.pg.execute(
                            f"DELETE FROM {schema}.idempotency_keys"
                            f" WHERE created_at < now() - interval '{IDEMPOTENCY_DAYS} days'"
                        )
                metrics.OUTBOX_AGE.labels(schema).set(float(age or 0))
                self.alarms = (
                    [f"{early} events wait longer than 5 min for an earlier one of their key"] if early else []
                )
                if self.service.subscriptions:
                    metrics.LAG.labels(schema).set(await self.lag())
            except Transient as error:
                log.debug("no figures", extra={"error": str(error)})
            round_no += 1
            await asyncio.sleep(10)

    async def lag(self) -> int:
        """Records between the end of the log and the inbox, over all topics of the service."""
        topics = list(self.worker.subscriptions)
        ends = await self.transport.ends(topics)
        async with self.service.database.look_up() as raw:
            read = await self.worker.inbox.positions(raw, topics)
        return sum(
            max(0, upcoming - max(read.get(partition, 0), first)) for partition, (first, upcoming) in ends.items()
        )

    async def not_ready(self, *, for_http: bool = False) -> list[str]:
        """Reasons why this service cannot do its work now; empty when ready.

        `for_http`: only what keeps it from answering requests. A bus that is away does not: what it accepts waits in
        the outbox, so traffic must not be taken from it.
        """
        reasons = list(self.service.not_ready())
        try:
            async with asyncio.timeout(3), self.service.database.look_up() as pg:
                await pg.execute("SELECT 1")
        except (Transient, TimeoutError) as error:
            reasons.append(f"database: {error}"[:300])
        if for_http:
            return [f"{self.service.name}: {reason}" for reason in reasons]
        if self.elsewhere is not None:
            told = await self.elsewhere.health(self.service.name)
            self.alarms = list(told["alarms"])
            return [f"{self.service.name}: {reason}" for reason in reasons] + list(told["reasons"])
        waits = self.worker.stopped_because if self.service.subscriptions else None
        for part in (waits, *sorted(self.worker.waits.values()), self.relay.trouble, self.timers.trouble):
            if part:
                reasons.append(part[:300])
        if any(task.done() and not task.cancelled() and task.exception() for task in self._tasks):
            reasons.append("a part has died")
        return [f"{self.service.name}: {reason}" for reason in reasons]
