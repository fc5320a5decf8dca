"""A service's own database: one schema, one role, short transactions."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy.engine import make_url

from shared.clock import Clock
from shared.db.bell import Bell
from shared.errors import OutcomeUnknown, Transient
from shared.outbox.uow import Uow

log = logging.getLogger(__name__)

_TRANSIENT_STATES = ("08", "40", "53", "55", "57", "58")
"""SQLSTATE classes that pass: connection, rollback (deadlock), resources, lock not available, shutdown, I/O; beside
them 25006, a write on what has just become a standby, and 25P03, a transaction that hung too long"""
STALLED_S = 60
PLANNED_ONCE, PLANNED_ANEW = "force_generic_plan", "force_custom_plan"
"""values of PostgreSQL's plan_cache_mode. Left to itself it plans a statement over monthly partitions anew at every
call, which costs three times what running it does."""
_LOST = re.compile(r"connection (is|was|has been) |closed|terminated", re.IGNORECASE)


def plans_of(mode: str) -> dict[str, str]:
    """Settings of a connection for `PLANNED_ONCE` or `PLANNED_ANEW`.

    What is planned once finds its rows by keys, whatever the table looked like when it was planned: an empty one is
    read through most cheaply, and would be for as long as the plan lives.
    """
    if mode == PLANNED_ANEW:
        return {"plan_cache_mode": mode}
    return {"plan_cache_mode": mode, "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


def role_of(service: str) -> str:
    """The database role that owns a service's schema and can see no other."""
    return f"sushu_{service}"


def plain_url(url: str) -> str:
    """A `postgresql://…` address as asyncpg takes it, whatever driver the given one names."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _is_broken(error: BaseException) -> bool:
    """Whether the driver stumbled over a connection that had ended between two statements: the server said goodbye
    (asyncpg's own error), or the network cut it (uvloop's)."""
    return isinstance(error, asyncpg.InternalClientError) or (
        isinstance(error, RuntimeError) and "handler is closed" in str(error)
    )


def is_transient(error: BaseException) -> bool:
    """Whether an error of the database passes by itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Transient | ConnectionError | TimeoutError):
            return True
        if isinstance(cause, asyncpg.InterfaceError) and _LOST.search(str(cause)):
            return True  # other interface errors are our own mistakes: wrong arguments, values out of range
        if _is_broken(cause):
            return True
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and (state[:2] in _TRANSIENT_STATES or state in ("25006", "25P03")):
            return True
        cause = cause.__cause__
    return False


class Database:
    """Connections of one service, bound to its schema and role.

    `transaction()` is the only way to write: everything in it, events and timers too, is committed together or not
    at all. `look_up()` and `read()` are for queries.
    """

    def __init__(
        self, url: str, schema: str, clock: Clock, *, platform: str, role: str | None = None, pool_size: int = 5
    ) -> None:
        self.url = plain_url(url)
        self.schema = schema
        self.clock = clock
        self.platform = platform
        self.role = role
        self._settings = {
            "search_path": schema,
            "application_name": f"sushu-{schema}",
            "jit": "off",
            # a process that hangs in the middle, or whose machine is gone, must not hold its locks for hours
            "idle_in_transaction_session_timeout": str(STALLED_S * 1000),
        }
        if role:
            self._settings["role"] = role
        self._pool_size = pool_size
        self._pools: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self.committed = asyncio.Event()
        """set after each commit that wrote to the outbox: wakes the relay of this process"""
        self.relay_is_here = True
        """False while another process relays for this service: it is told by NOTIFY"""
        self.bell = Bell(f"sushu_outbox_{schema}", self._execute)

    async def dedicated(self) -> Any:
        """A driver connection of its own, outside the pool, for session locks; the caller closes it. PostgreSQL ends
        one that is silent for `STALLED_S`: its process hangs or its machine is gone, others want the lock."""
        return await asyncpg.connect(
            self.url,
            server_settings=self._settings | {"idle_session_timeout": str(STALLED_S * 1000)},
            timeout=10,
            command_timeout=60,
        )

    async def _connections(self, plans: str) -> Any:
        if plans not in self._pools:
            async with self._opening:
                if plans not in self._pools:
                    self._pools[plans] = await asyncpg.create_pool(
                        self.url,
                        min_size=1,
                        max_size=2 * self._pool_size,
                        max_inactive_connection_lifetime=300,
                        timeout=10,
                        command_timeout=60,
                        server_settings=self._settings | plans_of(plans),
                        init=_speak_json,
                        reset=nothing_to_reset,
                    )
        return self._pools[plans]

    async def _execute(self, sql: str, *values: Any) -> None:
        async with self.look_up() as pg:
            await pg.execute(sql, *values)

    def read(self) -> AbstractAsyncContextManager[Any]:
        """An asyncpg connection for queries whose best plan depends on their values (lists, searches), outside any
        transaction: each is planned anew, which costs up to a millisecond.

        Raises `Transient` when the database is away.
        """
        return self._connection(PLANNED_ANEW)

    def look_up(self) -> AbstractAsyncContextManager[Any]:
        """An asyncpg connection for queries that find rows by their keys, outside any transaction: planned once, as in
        transactions.

        Raises `Transient` when the database is away.
        """
        return self._connection(PLANNED_ONCE)

    @asynccontextmanager
    async def _connection(self, plans: str) -> AsyncIterator[Any]:
        try:
            try:
                pool = await self._connections(plans)
                acquired = await pool.acquire(timeout=10)
            except OSError as error:  # also a name that is not found, a socket that is not there
                raise Transient(f"database: {error or 'no connection is free'}") from error
            try:
                yield acquired
            except Exception as error:
                if _is_broken(error):
                    acquired.terminate()  # the pool takes it for alive and would give it out again
                raise
            finally:
                await pool.release(acquired)
        except Exception as error:
            if is_transient(error) and not isinstance(error, Transient):
                raise Transient(f"database: {error}") from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Uow]:
        """One unit of work: commits at the end of the block, rolls back on any exception.

        Raises `Transient` for a trouble that passes (the caller tries again); `OutcomeUnknown` of these when the
        connection was lost while it committed.
        """
        async with self.look_up() as connection:
            transaction = connection.transaction()
            await transaction.start()
            uow = Uow(connection, self.schema, self.clock, self.platform)
            try:
                yield uow
                wrote = await uow.flush()
            except BaseException:
                if not connection.is_closed():
                    await asyncio.shield(transaction.rollback())
                raise
            try:
                await transaction.commit()
            except Exception as error:
                if is_transient(error):
                    raise OutcomeUnknown(f"database: {error}") from error
                raise
        if wrote:
            self.committed.set()
            if not self.relay_is_here:
                self.bell.ring(set())
        for callback in uow.callbacks:
            try:
                callback()
            except Exception as error:  # what is committed must not look as if it had failed
                log.error("a callback after a commit failed", extra={"service": self.schema}, exc_info=error)

    async def close(self) -> None:
        """Give all connections back."""
        await self.bell.stop()
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            try:
                await asyncio.wait_for(pool.close(), 10)
            except TimeoutError:
                pool.terminate()


async def _speak_json(connection: Any) -> None:
    """json and jsonb: parameters are text that the caller has encoded, results are Python values."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, encoder=lambda text: text, decoder=orjson.loads, schema="pg_catalog", format="text"
        )


async def nothing_to_reset(_connection: Any) -> None:
    """Connections carry no session state: the round trip of a reset is saved."""
