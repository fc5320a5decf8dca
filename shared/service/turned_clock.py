"""SUSHU_SIM_CLOCK: one business clock for a whole local stack that can be turned (api.md, "Local stack").

The clock is one row in schema `sim`; every process follows it. `advance` goes from due timer to due timer, waits until
every process has seen the new time and the pipeline is drained, and only then goes on: effects of an earlier instant
are applied before a later one comes.
"""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from shared.bus.records import Transport
from shared.clock import Clock, SystemClock
from shared.db.database import is_transient, plain_url
from shared.errors import Problem, invalid
from shared.service.pipeline import backlog, looks, schemas_of
from shared.settings import Settings

log = logging.getLogger(__name__)

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS sim;
CREATE TABLE IF NOT EXISTS sim.clock (
  one bool PRIMARY KEY DEFAULT true CHECK (one), version bigint NOT NULL, real_at timestamptz NOT NULL,
  business_at timestamptz NOT NULL, speed double precision NOT NULL);
ALTER TABLE sim.clock ADD COLUMN IF NOT EXISTS resume double precision;
CREATE TABLE IF NOT EXISTS sim.readers (
  reader text PRIMARY KEY, version bigint NOT NULL, seen_at timestamptz NOT NULL);
"""
CLOCK = (
    "json_build_object('version', version, 'real_at', real_at, 'business_at', business_at, 'speed', speed,"
    " 'resume', resume)::text"
)
"""how the clock is told"""
CHANNEL = "sushu_clock"
SEEN = "sushu_clock_seen"
"""a process says so when it has the new time"""
ADVANCING = 7404
"""session lock of the desk that holds the clock still; while nobody has it, a clock that stands is to go on"""
FOLLOW_S = 0.2
READER_GONE_S = 3.0
STEP_TIMEOUT_S = 120.0
GO_ON_TRIES = 30
SOONEST_S = 0.008
"""what a due timer sets going is never through before"""
LOOK_AGAIN_S = 0.005
LONGEST_ADVANCE_S = 5 * 366 * 86400
FASTEST = 100_000.0


class TurnedClock:
    """Business time = a base + (real time since) × speed, the same in every process of the stack."""

    def __init__(self, database_url: str, start: datetime | None = None) -> None:
        """`start`: where a new stack's clock begins; None: now."""
        self.url = plain_url(database_url)
        self.start = start
        self.version = 0
        self._real = datetime.now(UTC)
        self._business = self._real
        self._speed = 1.0
        self._resume: float | None = None
        """the speed after the advance that holds the clock still; None while nothing does"""
        self._heard = asyncio.Event()
        self._turned = asyncio.Event()

    def _hear(self, _connection: Any, _pid: int, _channel: str, turned: str) -> None:
        self._take(turned)
        self._heard.set()

    async def pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._turned.wait()

    def now(self) -> datetime:
        return self._business + (datetime.now(UTC) - self._real) * self._speed

    @property
    def speed(self) -> float:
        """Business seconds per real second."""
        return self._speed

    async def load(self) -> None:
        """Read (or make) the stack's clock."""
        connection: Any = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute("SELECT pg_advisory_lock(7403)")
            await connection.execute(SCHEMA)
            await connection.execute(
                "INSERT INTO sim.clock (version, real_at, business_at, speed)"
                " VALUES (1, clock_timestamp(), coalesce($1, clock_timestamp()), 1) ON CONFLICT DO NOTHING",
                self.start,
            )
            await connection.execute("SELECT pg_advisory_unlock(7403)")
            await self._read(connection)
        finally:
            await connection.close()

    async def _read(self, connection: Any) -> None:
        if (clock := await connection.fetchval(f"SELECT {CLOCK} FROM sim.clock")) is not None:
            self._take(clock)

    def _take(self, told: str) -> None:
        clock = orjson.loads(told)
        if clock["version"] > self.version:
            self.version = clock["version"]
            self._resume = clock["resume"]
            self._speed = clock["speed"]
            self._real, self._business = (datetime.fromisoformat(clock[name]) for name in ("real_at", "business_at"))
            self._turned.set()
            self._turned = asyncio.Event()

    async def _go_on_for_the_dead(self, connection: Any) -> None:
        """A desk that was killed in the middle of an advance must not leave the clock standing for ever."""
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVANCING):
            return  # it lives
        try:
            clock = await connection.fetchval(
                "UPDATE sim.clock SET version = version + 1, real_at = clock_timestamp(), speed = resume, resume = NULL"
                f" WHERE resume IS NOT NULL RETURNING {CLOCK}"
            )
            if clock is not None:
                log.warning("who advanced the clock is gone; it goes on")
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, clock)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", ADVANCING)

    async def _follow(self, name: str, begun: asyncio.Event) -> None:
        """Keep this process on the stack's clock; runs until cancelled. Sets `begun` when the desk waits for it."""
        reader = f"{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        while True:
            connection: Any = None
            try:
                # who has seen which version is worth no wait for the disk
                connection = await asyncpg.connect(self.url, timeout=10, server_settings={"synchronous_commit": "off"})
                self._heard = asyncio.Event()
                await connection.add_listener(CHANNEL, self._hear)
                await self._read(connection)
                while True:
                    self._heard.clear()
                    await connection.execute(
                        "WITH seen AS (INSERT INTO sim.readers VALUES ($1, $2, now()) ON CONFLICT (reader)"
                        " DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at RETURNING version)"
                        " SELECT pg_notify($3, version::text) FROM seen",
                        reader,
                        self.version,
                        SEEN,
                    )
                    begun.set()
                    try:
                        async with asyncio.timeout(FOLLOW_S):
                            await self._heard.wait()
                    except TimeoutError:
                        await self._read(connection)
                        if self._resume is not None:
                            await self._go_on_for_the_dead(connection)
            except asyncio.CancelledError:
                if connection is not None and not connection.is_closed():
                    with contextlib.suppress(Exception):
                        await connection.execute("DELETE FROM sim.readers WHERE reader = $1", reader)
                        await connection.close(timeout=1)
                raise
            except Exception as error:
                log.warning("the stack's clock cannot be read, trying again", extra={"error": str(error)})
                await asyncio.sleep(0.5)


class ClockDesk:
    """Turns the stack's clock: what `POST /v1/clock` does. One request at a time."""

    def __init__(self, clock: TurnedClock, transport: Transport) -> None:
        self.clock = clock
        self.transport = transport
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self._seen = asyncio.Event()
        self._schemas: list[str] = []

    async def set_speed(self, speed: float) -> datetime:
        """From now on business time runs `speed` times as fast; nothing is promised about drained effects."""
        if not 0 <= speed <= FASTEST:
            raise invalid("/speed", f"must lie between 0 and {FASTEST:.0f}")
        async with self._lock, self._session() as connection:
            now = self.clock.now()
            await self._set(connection, now, speed)
            return now

    async def advance(self, seconds: float) -> tuple[datetime, int]:
        """Move to `now + seconds`, timer by timer, draining between steps; returns (now, timers fired).

        Raises `Problem` 503 when the pipeline does not drain.
        """
        if not 0 <= seconds <= LONGEST_ADVANCE_S:
            raise invalid("/advance_s", f"must lie between 0 and {LONGEST_ADVANCE_S}, five years; send it in parts")
        async with self._lock, self._session() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", ADVANCING)
            await self.clock._read(connection)
            self._schemas = self._schemas or await schemas_of(connection)
            speed = self.clock.speed if self.clock._resume is None else self.clock._resume
            resume = speed or None  # a clock that stands still anyway needs nobody to go on
            start = self.clock.now()
            target = start + timedelta(seconds=seconds)
            fired = 0
            if speed:
                await self._set(connection, start, 0.0, resume)
            try:
                await self._drain(connection, start)
                while True:
                    due, count = await self._next_timer(connection)
                    if due is None or due > target:
                        break
                    step = max(due, self.clock.now())
                    await self._set(connection, step, 0.0, resume)
                    fired += count
                    await asyncio.sleep(SOONEST_S)
                    await self._drain(connection, step)
                if target > self.clock.now():
                    await self._set(connection, target, 0.0, resume)  # up to which nothing is due
            finally:
                now = self.clock.now()
                if speed:
                    await self._go_on(now, speed)
            await connection.execute("SELECT pg_advisory_unlock($1)", ADVANCING)
            return now, fired

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        """The desk's own connection, made once; after any trouble it is closed, and what it held with it."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.clock.url, timeout=10)
            await self._connection.add_listener(SEEN, lambda *_: self._seen.set())
        connection = self._connection
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise

    async def _go_on(self, now: datetime, speed: float) -> None:
        """The clock must not stand still for ever because the database was away in the middle of an advance."""
        for _ in range(GO_ON_TRIES):
            try:
                async with self._session() as connection:
                    await self._set(connection, now, speed)
                return
            except Exception as error:
                if not is_transient(error) and not isinstance(error, OSError):
                    raise
                await asyncio.sleep(1)

    async def _set(self, connection: Any, business: datetime, speed: float, resume: float | None = None) -> None:
        """`resume`: the speed to go on with when this desk dies."""
        self._seen.clear()
        turned = await connection.fetchval(
            "WITH turned AS (UPDATE sim.clock SET version = version + 1, real_at = clock_timestamp(), business_at = $1,"
            f" speed = $2, resume = $3 RETURNING {CLOCK} AS clock) SELECT clock FROM turned, pg_notify($4, clock)",
            business,
            speed,
            resume,
            CHANNEL,
        )
        self.clock._take(turned)
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_S):
                    await self._seen.wait()
            self._seen.clear()
            if not await connection.fetchval(
                "SELECT count(*) FROM sim.readers WHERE version < $1 AND seen_at > now() - make_interval(secs => $2)",
                self.clock.version,
                READER_GONE_S,
            ):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Problem(503, "clock_not_followed", "A process of the stack does not follow the clock; try again.")

    async def _next_timer(self, connection: Any) -> tuple[datetime | None, int]:
        if not self._schemas:
            return None, 0
        first = " UNION ALL ".join(
            f'SELECT min(due_at) AS due_at FROM "{schema}".timers WHERE retry_at IS NULL' for schema in self._schemas
        )
        counts = " + ".join(
            f'(SELECT count(*) FROM "{schema}".timers t WHERE t.due_at = first.due_at AND retry_at IS NULL)'
            for schema in self._schemas
        )
        row = await connection.fetchrow(
            f"WITH first AS (SELECT min(due_at) AS due_at FROM ({first}) t) SELECT due_at, {counts} AS count FROM first"
        )
        return row["due_at"], row["count"]

    async def _drain(self, connection: Any, now: datetime) -> None:
        """Wait until outboxes are empty, everything in the log is read and no timer up to `now` is left."""
        deadline = asyncio.get_running_loop().time() + STEP_TIMEOUT_S
        quiet = 0
        while quiet < looks(self.transport):
            state = await backlog(connection, self.transport, now, self._schemas)
            quiet = 0 if state else quiet + 1
            if state and asyncio.get_running_loop().time() > deadline:
                raise Problem(503, "not_drained", f"The pipeline does not drain: {state}", headers={"Retry-After": "5"})
            if state:
                await asyncio.sleep(LOOK_AGAIN_S)


async def make_clock(settings: Settings) -> Clock:
    """Real time, or the stack's turned clock with SUSHU_SIM_CLOCK=1."""
    if not settings.sim_clock:
        return SystemClock()
    clock = TurnedClock(settings.database_url, settings.sim_start)
    await clock.load()
    return clock


@asynccontextmanager
async def following(clock: Clock, name: str) -> AsyncIterator[None]:
    """While the block runs, every turn of the stack's clock waits until this process has it; real time needs nobody."""
    if not isinstance(clock, TurnedClock):
        yield
        return
    begun = asyncio.Event()
    task = asyncio.create_task(clock._follow(name, begun))
    try:
        await begun.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
