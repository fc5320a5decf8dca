"""A service's own database: one schema, one role, short transactions."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from shared.clock import Clock
from shared.errors import Transient
from shared.outbox.uow import Uow

log = logging.getLogger(__name__)

_TRANSIENT_STATES = ("08", "40", "53", "55", "57", "58")
"""SQLSTATE classes that pass: connection, rollback (deadlock), resources, lock not available, shutdown, I/O"""


def role_of(service: str) -> str:
    """The database role that owns a service's schema and can see no other."""
    return f"sushu_{service}"


def plain_url(url: str) -> str:
    """A `postgresql://…` address as asyncpg takes it, whatever driver the given one names."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def is_transient(error: BaseException) -> bool:
    """Whether an error of the database passes by itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Transient | ConnectionError | TimeoutError | asyncpg.InterfaceError):
            return True
        if isinstance(cause, DBAPIError) and cause.connection_invalidated:
            return True
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state[:2] in _TRANSIENT_STATES:
            return True
        cause = cause.__cause__ or getattr(cause, "orig", None)
    return False


class Database:
    """Connections of one service, bound to its schema and role.

    `transaction()` is the only way to write: everything in it, events and timers too, is committed together or not
    at all. `read()` is for queries.
    """

    def __init__(
        self, url: str, schema: str, clock: Clock, *, platform: str, role: str | None = None, pool_size: int = 5
    ) -> None:
        self.url = plain_url(url)
        self.schema = schema
        self.clock = clock
        self.platform = platform
        self.role = role
        settings = {"search_path": schema, "application_name": f"sushu-{schema}", "jit": "off"}
        if role:
            settings["role"] = role
        self._settings = settings
        self.engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            isolation_level="AUTOCOMMIT",  # transactions are begun below, on the driver: one round trip less
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_recycle=1800,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={"server_settings": settings, "timeout": 10, "command_timeout": 60},
        )
        self.committed = asyncio.Event()
        """set after each commit that wrote to the outbox: wakes the relay of this process"""

    async def dedicated(self) -> Any:
        """A driver connection of its own, outside the pool (session locks, LISTEN); the caller closes it."""
        return await asyncpg.connect(self.url, server_settings=self._settings, timeout=10)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries.

        Raises `Transient` when the database is away.
        """
        try:
            async with self.engine.connect() as connection:
                yield connection
        except Exception as error:
            if is_transient(error) and not isinstance(error, Transient):
                raise Transient(f"database: {error}") from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Uow]:
        """One unit of work: commits at the end of the block, rolls back on any exception.

        Raises `Transient` for a trouble that passes (the caller tries again).
        """
        try:
            async with self.engine.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                transaction = raw.transaction()
                await transaction.start()
                uow = Uow(connection, raw, self.schema, self.clock, self.platform)
                try:
                    yield uow
                    wrote = await uow.flush()
                except BaseException:
                    if not raw.is_closed():
                        await asyncio.shield(transaction.rollback())
                    raise
                await transaction.commit()
        except Exception as error:
            if is_transient(error) and not isinstance(error, Transient):
                raise Transient(f"database: {error}") from error
            raise
        if wrote:
            self.committed.set()
        for callback in uow.callbacks:
            callback()

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()
