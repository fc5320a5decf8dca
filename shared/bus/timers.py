"""Timers: rows with `due_at`, claimed by any replica in due order, fired through the outbox.

A timer due at T fires only when the service's input was read up to the end that was seen at or after T, so that a
stop that is already in the log is always known first (domain.md, "SLA", event time).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.bus.inbox import Inbox
from shared.bus.records import Partition, Transport
from shared.bus.subscriptions import TimerHandler
from shared.db.database import Database
from shared.errors import Transient
from shared.outbox.uow import Timer
from shared.telemetry import metrics

log = logging.getLogger(__name__)

BATCH = 500
TICK_S = 0.25


class Timers:
    """Fires the timers of one service; every replica runs one."""

    def __init__(
        self, database: Database, transport: Transport, topics: Sequence[str], handlers: Mapping[str, TimerHandler]
    ) -> None:
        self.database = database
        self.transport = transport
        self.topics = list(topics)
        self.handlers = handlers
        self.inbox = Inbox(database.schema)
        self.trouble: str | None = None
        self._seen: tuple[datetime, dict[Partition, tuple[int, int]]] | None = None

    async def run(self) -> None:
        """Fire until cancelled."""
        while True:
            try:
                fired = await self.fire_due()
                self.trouble = None
                if fired < BATCH:
                    await self.database.clock.pause(TICK_S)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.trouble = f"timers wait: {error}"
                log.log(
                    logging.WARNING if isinstance(error, Transient) else logging.ERROR,
                    "timer trouble, trying again",
                    extra={"service": self.database.schema, "error": str(error)},
                    exc_info=not isinstance(error, Transient),
                )
                await asyncio.sleep(1)

    async def fire_due(self) -> int:
        """Fire one batch of what is due and safe; returns how many."""
        now = self.database.clock.now()
        async with self.database.read() as raw:
            earliest = await raw.fetchval(f"SELECT min(due_at) FROM {self.database.schema}.timers")
            if earliest is None or earliest > now:
                return 0
        until = await self._read_up_to(now)
        if until is None or earliest > until:
            return 0
        return await self._fire(until)

    async def _read_up_to(self, now: datetime) -> datetime | None:
        """The latest business instant for which the input is fully read."""
        if not self.topics:
            return now
        if self._seen is None:
            self._seen = (now, await self.transport.ends(self.topics))
        instant, ends = self._seen
        async with self.database.read() as raw:
            read = await self.inbox.positions(raw, self.topics)
        if all(read.get(partition, first) >= upcoming for partition, (first, upcoming) in ends.items()):
            self._seen = None
            return instant
        return None

    async def _fire(self, until: datetime) -> int:
        try:
            return await self._claim(until, BATCH)
        except Transient:
            raise
        except Exception as error:
            log.error("a timer failed; firing one by one", exc_info=error)
        fired = 0
        for _ in range(BATCH):
            try:
                count = await self._claim(until, 1)
            except Transient:
                raise
            except Exception as error:
                await self._postpone(until, error)
                continue
            if not count:
                break
            fired += count
        return fired

    async def _claim(self, until: datetime, limit: int) -> int:
        schema = self.database.schema
        async with self.database.transaction() as uow:
            rows = await uow.pg.fetch(
                f"DELETE FROM {schema}.timers WHERE (kind, key) IN ("
                f" SELECT kind, key FROM {schema}.timers WHERE due_at <= $1 AND kind = ANY($2)"
                " AND (retry_at IS NULL OR retry_at <= now()) ORDER BY due_at FOR UPDATE SKIP LOCKED LIMIT $3)"
                " RETURNING kind, key, due_at, payload",
                until,
                list(self.handlers),
                limit,
            )
            if not rows:
                return 0
            timers = sorted(
                (Timer(row["kind"], row["key"], row["due_at"], row["payload"]) for row in rows),
                key=lambda timer: timer.due_at,
            )
            for kind in dict.fromkeys(timer.kind for timer in timers):
                await self.handlers[kind]([timer for timer in timers if timer.kind == kind], uow)
        lateness = max(0.0, (until - timers[0].due_at).total_seconds())
        metrics.TIMER_LATENESS.labels(schema).observe(lateness)
        for timer in timers:
            metrics.TIMERS_FIRED.labels(schema, timer.kind).inc()
        return len(timers)

    async def _postpone(self, until: datetime, error: BaseException) -> None:
        """The first due timer keeps failing: try it again later, let the others pass."""
        async with self.database.transaction() as uow:
            row = await uow.pg.fetchrow(
                f"UPDATE {self.database.schema}.timers SET attempts = attempts + 1, error = $3, retry_at = $4"
                f" WHERE (kind, key) = (SELECT kind, key FROM {self.database.schema}.timers WHERE due_at <= $1"
                " AND kind = ANY($2) AND (retry_at IS NULL OR retry_at <= now()) ORDER BY due_at LIMIT 1)"
                " RETURNING kind, key, attempts",
                until,
                list(self.handlers),
                f"{type(error).__name__}: {error}",
                datetime.now(UTC) + timedelta(seconds=30),
            )
        if row is not None:
            log.error(
                "timer failed, again in 30 s",
                extra={"service": self.database.schema, "kind": row["kind"], "attempts": row["attempts"]},
                exc_info=error,
            )
