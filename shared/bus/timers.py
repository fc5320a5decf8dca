"""Timers: rows with `due_at`, claimed by any replica in due order, fired through the outbox.

A timer due at T fires only when the service's input was read up to the end that was seen at or after T, so that a
stop that is already in the log is always known first (domain.md, "SLA", event time).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.bus.dead_letters import reason_of
from shared.bus.inbox import Inbox
from shared.bus.records import Partition, Transport
from shared.bus.sequences import Sequences
from shared.bus.subscriptions import TimerHandler
from shared.clock import loop_time
from shared.db.database import Database
from shared.errors import Transient
from shared.outbox.uow import Timer
from shared.telemetry import metrics

log = logging.getLogger(__name__)

BATCH = 500
TICK_S = 0.25
UNREAD_S = 0.05
"""between two looks while something is due and the input is still being read up to it"""
ASK_AGAIN_S = 5.0
RETRY_S = 30


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
        self.sequences = Sequences(database.schema)
        self.trouble: str | None = None
        self._seen: tuple[datetime, dict[Partition, tuple[int, int]]] | None = None
        """a business instant and the ends of the log at or after it"""
        self._asked = 0.0

    async def run(self) -> None:
        """Fire until cancelled."""
        while True:
            try:
                fired = await self.fire_due()
                self.trouble = None
                if not fired:  # one that fired may have armed the next, due already
                    await self.database.clock.pause(TICK_S if self._seen is None else UNREAD_S)
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
                await asyncio.sleep(TICK_S if isinstance(error, Transient) else 1)

    async def fire_due(self) -> int:
        """Fire one batch of what is due and safe; returns how many."""
        now = self.database.clock.now()
        async with self.database.look_up() as raw:
            earliest = await raw.fetchval(
                f"SELECT min(due_at) FROM {self.database.schema}.timers"
                " WHERE kind = ANY($1) AND (retry_at IS NULL OR retry_at <= now())",
                list(self.handlers),
            )
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
            self._asked = loop_time()
        instant, ends = self._seen
        async with self.database.look_up() as raw:
            read = await self.inbox.positions(raw, self.topics)
            released = not await self.sequences.overdue(raw)  # after the positions: what moves them may keep facts
        unread = {place: end for place, end in ends.items() if max(read.get(place, 0), end[0]) < end[1]}
        if not unread:
            if not released:
                return None  # read, but handed over one by one just now: a stop may be among them
            self._seen = None
            return instant
        if loop_time() > self._asked + ASK_AGAIN_S:  # a log that was made anew or cut never comes so far
            self._asked = loop_time()
            present = await self.transport.ends(self.topics)
            self._seen = (
                instant,
                {
                    place: (max(first, present[place][0]), min(upcoming, present[place][1]))
                    for place, (first, upcoming) in unread.items()
                    if place in present
                },
            )
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
            count = await self._claim(until, 1)
            if not count:
                break
            fired += count
        return fired

    async def _claim(self, until: datetime, limit: int) -> int:
        """Fire up to `limit` due timers in one transaction; one that fails alone is put off."""
        schema = self.database.schema
        timers: list[Timer] = []
        try:
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
                timers = sorted(
                    (Timer(row["kind"], row["key"], row["due_at"], row["payload"]) for row in rows),
                    key=lambda timer: timer.due_at,
                )
                for kind in dict.fromkeys(timer.kind for timer in timers):
                    await self.handlers[kind]([timer for timer in timers if timer.kind == kind], uow)
        except Transient:
            raise
        except Exception as error:
            if limit > 1 or not timers:
                raise
            await self._postpone(timers[0], error)
            return 1
        if timers:
            lateness = max(0.0, (until - timers[0].due_at).total_seconds())
            metrics.TIMER_LATENESS.labels(schema).observe(lateness)
        for timer in timers:
            metrics.TIMERS_FIRED.labels(schema, timer.kind).inc()
        return len(timers)

    async def _postpone(self, timer: Timer, error: BaseException) -> None:
        """This timer fails: try it again later, let the others pass."""
        async with self.database.transaction() as uow:
            attempts = await uow.pg.fetchval(
                f"UPDATE {self.database.schema}.timers SET attempts = attempts + 1, error = $4,"
                " retry_at = now() + make_interval(secs => $5) WHERE kind = $1 AND key = $2 AND due_at = $3"
                " RETURNING attempts",
                timer.kind,
                timer.key,
                timer.due_at,
                reason_of(error),
                RETRY_S,
            )
        log.error(
            "timer failed, again later",
            extra={"service": self.database.schema, "kind": timer.kind, "attempts": attempts, "seconds": RETRY_S},
            exc_info=error,
        )
