"""What a simulated process sees of PostgreSQL: asyncpg's connections and pools, with a gate before every statement.

The server, its locks and its transactions are real. Real connections outlive the simulated ones: the end of a
simulated connection is a ROLLBACK and the release of its session locks, which is all that PostgreSQL knows of it.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.simulation.scheduler import Process, Scheduler

Rewrite = Callable[[str], str]
Listener = Callable[[Any, int, str, str], None]

ENDS = ("COMMIT", "ROLLBACK")
TROUBLE = ("refused", "cut before", "cut after")
"""what may happen to a statement: an error that passes, a connection lost before or after it took effect"""


class Sessions(Process, Protocol):
    """A process that holds connections."""

    connections: list["Connection"]


@dataclass(slots=True, eq=False)
class Backend:
    """A real connection and its process at the server."""

    pg: Any
    pid: int
    kind: tuple[Any, ...]

    async def clean(self) -> None:
        """As if the connection had been lost."""
        await self.pg.execute("ROLLBACK; SELECT pg_advisory_unlock_all()")


@dataclass
class Server:
    """The real PostgreSQL of the tests. Stands in the place of the module `asyncpg` in `shared.db.database`."""

    url: str
    scheduler: Scheduler = field(init=False)
    process: Callable[[], Sessions] = field(init=False)
    """whose code runs just now"""
    rewrite: Rewrite | None = None
    """for mutations of SQL"""
    free: dict[tuple[Any, ...], list[Backend]] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)
    at_work: set["Connection"] = field(default_factory=set)
    """who has a transaction open"""
    listeners: list[tuple[str, "Connection", Listener]] = field(default_factory=list)
    """who hears NOTIFY, by channel"""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncpg, name)  # its exceptions

    async def connect(self, _url: str, *, server_settings: dict[str, str], **_: Any) -> "Connection":
        """A connection of its own."""
        return await self.open(self.process(), server_settings, None)

    async def create_pool(
        self, _url: str, *, server_settings: dict[str, str], init: Any = None, max_size: int = 10, **_: Any
    ) -> "Pool":
        """A pool; its connections are opened when they are needed."""
        return Pool(self, self.process(), server_settings, init, max_size)

    async def open(self, process: Sessions, settings: dict[str, str], init: Any) -> "Connection":
        """A simulated connection on a real one."""
        if await self.scheduler.gate(process, "connect", ("refused",)) == "refused":
            raise ConnectionRefusedError("the server does not answer")
        kind = (*sorted(settings.items()), init is not None)
        ready = self.free.setdefault(kind, [])
        backend = ready.pop() if ready else await self.scheduler.beside(lambda: self._really(settings, init, kind))
        connection = Connection(self, process, backend)
        process.connections.append(connection)
        return connection

    async def _really(self, settings: dict[str, str], init: Any, kind: tuple[Any, ...]) -> Backend:
        known = {name: value for name, value in settings.items() if name != "idle_session_timeout"}
        pg = await asyncpg.connect(
            self.url, server_settings=known, timeout=60, max_cached_statement_lifetime=0
        )  # no timers of its own on the loop
        if init is not None:
            await init(pg)
        backend = Backend(pg, pg.get_server_pid(), kind)
        _share_core(backend.pid)
        self.pids.add(backend.pid)
        return backend

    def notify(self, channel: str, payload: str) -> None:
        """Who listens hears it, sooner or later."""
        scheduler = self.scheduler
        for name, connection, listener in self.listeners:
            if name == channel:
                delay = scheduler.random.choice((0.0, 0.0, 0.3))
                scheduler.loop.call_later(delay, _heard, connection, listener, channel, payload)

    def label(self, sql: str) -> str:
        """A statement in a few words, for the trace."""
        known = self.labels.get(sql)
        if known is None:
            words = re.sub(r"\s+", " ", sql)
            found = re.findall(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM|JOIN) ([a-z_]+\.[a-z_]+)", words)
            seen = dict.fromkeys(f"{verb.split()[0].lower()} {table}" for verb, table in found)
            known = self.labels[sql] = ", ".join(seen) or words[:60]
        return known


def _share_core(pid: int) -> None:
    """Let a backend of this machine run where we run: we take turns, and waking another core takes longer than most
    statements."""
    with contextlib.suppress(OSError, AttributeError):
        if Path(f"/proc/{pid}/comm").read_text() == "postgres\n":
            os.sched_setaffinity(pid, os.sched_getaffinity(0))


def _heard(connection: "Connection", listener: Listener, channel: str, payload: str) -> None:
    if not connection.is_closed():
        listener(connection, 0, channel, payload)


class Connection:
    """asyncpg's connection, as far as the runtime uses it."""

    def __init__(self, server: Server, process: Sessions, backend: Backend) -> None:
        self.server = server
        self.process = process
        self.backend: Backend | None = backend
        self.depth = 0
        self.aborted = False
        self.begun = False
        """whether PostgreSQL may have a transaction open"""
        self.lock_held = False
        self.busy = False

    def is_closed(self) -> bool:
        return self.backend is None

    def is_in_transaction(self) -> bool:
        return self.depth > 0

    async def lose(self) -> None:
        """The connection is gone: its transaction is rolled back, its locks are free."""
        backend, self.backend = self.backend, None
        self.server.at_work.discard(self)
        if self in self.process.connections:
            self.process.connections.remove(self)
        self.server.listeners = [known for known in self.server.listeners if known[1] is not self]
        if backend is not None:
            if self.begun or self.lock_held:
                await self.server.scheduler.beside(backend.clean)
            self.server.free[backend.kind].append(backend)

    async def close(self, *, timeout: float | None = None) -> None:
        if not self.process.dead:
            await self.server.scheduler.gate(self.process, "close")
            await self.lose()

    def terminate(self) -> None:
        raise NotImplementedError("the runtime closes its connections")

    async def add_listener(self, channel: str, listener: Listener) -> None:
        await self.server.scheduler.gate(self.process, f"listen {channel}")
        if self.is_closed():
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        self.server.listeners.append((channel, self, listener))

    async def _do(self, method: str, sql: str, *arguments: Any, **options: Any) -> Any:
        server, scheduler = self.server, self.server.scheduler
        options.pop("timeout", None)
        what = server.label(sql)
        fate = await scheduler.gate(self.process, what, TROUBLE)
        if fate == "cut before":
            await self.lose()
        backend = self.backend
        if backend is None:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        if self.aborted:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        if fate == "refused":
            self.aborted = self.depth > 0
            raise asyncpg.DeadlockDetectedError("deadlock detected (simulated)")
        if server.rewrite is not None:
            sql = server.rewrite(sql)
        if "advisory_lock" in sql:
            self.lock_held = True
        if sql.startswith("BEGIN"):
            self.begun = True
        others = server.at_work - {self}  # who has a transaction open may hold locks
        if self.begun:
            server.at_work.add(self)
        self.busy = True
        try:
            answer = await scheduler.statement(
                self.process,
                backend.pid,
                what,
                lambda: getattr(backend.pg, method)(sql, *arguments, **options),
                may_wait=bool(others) and sql not in ENDS and not sql.startswith("BEGIN"),
                releases=not self.begun or sql.startswith(("COMMIT", "ROLLBACK")) or "advisory_unlock" in sql,
            )
        finally:
            self.busy = False
        if sql in ENDS:
            self.begun = False
            server.at_work.discard(self)
        if "pg_notify(" in sql:
            server.notify(*arguments)
        if fate == "die after":
            await scheduler.doom(self.process)
        if fate == "cut after":
            await self.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return answer

    async def execute(self, sql: str, *arguments: Any, **options: Any) -> Any:
        return await self._do("execute", sql, *arguments, **options)

    async def executemany(self, sql: str, arguments: Any, **options: Any) -> Any:
        return await self._do("executemany", sql, arguments, **options)

    async def fetch(self, sql: str, *arguments: Any, **options: Any) -> Any:
        return await self._do("fetch", sql, *arguments, **options)

    async def fetchrow(self, sql: str, *arguments: Any, **options: Any) -> Any:
        return await self._do("fetchrow", sql, *arguments, **options)

    async def fetchval(self, sql: str, *arguments: Any, **options: Any) -> Any:
        return await self._do("fetchval", sql, *arguments, **options)

    async def fetchmany(self, sql: str, arguments: Any, **options: Any) -> Any:
        return await self._do("fetchmany", sql, arguments, **options)

    async def copy_records_to_table(self, table: str, **options: Any) -> Any:
        return await self._do("copy_records_to_table", table, **options)

    def transaction(self, **options: Any) -> "Transaction":
        return Transaction(self, options)


class Transaction:
    """asyncpg's transaction object."""

    def __init__(self, connection: Connection, options: dict[str, Any]) -> None:
        self.connection = connection
        self.readonly = bool(options.get("readonly"))
        self.isolation = str(options.get("isolation") or "")
        self.savepoint = ""

    async def start(self) -> None:
        connection = self.connection
        if connection.depth:
            self.savepoint = f"s{connection.depth}"
            await connection._do("execute", f"SAVEPOINT {self.savepoint}")
        else:
            isolation = f" ISOLATION LEVEL {self.isolation.replace('_', ' ')}" if self.isolation else ""
            await connection._do("execute", "BEGIN" + isolation + (" READ ONLY" if self.readonly else ""))
        connection.depth += 1

    async def commit(self) -> None:
        await self.connection._do("execute", f"RELEASE SAVEPOINT {self.savepoint}" if self.savepoint else "COMMIT")
        self.connection.depth -= 1

    async def rollback(self) -> None:
        if self.connection.aborted and not self.savepoint:
            self.connection.aborted = False  # the error was simulated, the ROLLBACK is not
        await self.connection._do("execute", f"ROLLBACK TO {self.savepoint}" if self.savepoint else "ROLLBACK")
        self.connection.depth -= 1

    async def __aenter__(self) -> "Transaction":
        await self.start()
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            await self.commit()
        elif not self.connection.is_closed():
            await self.rollback()


class Pool:
    """asyncpg's pool, as far as the runtime uses it."""

    def __init__(self, server: Server, process: Sessions, settings: dict[str, str], init: Any, size: int) -> None:
        self.server = server
        self.process = process
        self.settings = settings
        self.init = init
        self.size = size
        self.idle: list[Connection] = []
        self.out = 0
        self.queue: list[asyncio.Future[None]] = []

    def acquire(self, *, timeout: float | None = None) -> "_Acquired":
        return _Acquired(self)

    async def take(self) -> Connection:
        if self.process.dead:
            raise asyncio.CancelledError
        while self.out >= self.size:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.queue.append(turn)
            await turn
        self.out += 1
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self.server.open(self.process, self.settings, self.init)
        except BaseException:
            self._given_back()
            raise

    async def release(self, connection: Connection, *, timeout: float | None = None) -> None:
        if self.process.dead:
            return
        if connection.is_in_transaction() and not connection.is_closed():
            await connection.lose()
        if not connection.is_closed():
            self.idle.append(connection)
        self._given_back()

    def _given_back(self) -> None:
        self.out -= 1
        while self.queue:
            turn = self.queue.pop(0)
            if not turn.done():
                turn.set_result(None)
                break

    async def close(self) -> None:
        for connection in self.idle:
            await connection.lose()
        self.idle.clear()

    def terminate(self) -> None:
        raise NotImplementedError("the runtime closes its pools")

    async def _with(self, method: str, arguments: Sequence[Any]) -> Any:
        connection = await self.take()
        try:
            return await getattr(connection, method)(*arguments)
        finally:
            await self.release(connection)

    async def fetch(self, *arguments: Any) -> Any:
        return await self._with("fetch", arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        return await self._with("fetchval", arguments)

    async def execute(self, *arguments: Any) -> Any:
        return await self._with("execute", arguments)


class _Acquired:
    """`await pool.acquire()` and `async with pool.acquire()`."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.connection: Connection | None = None

    def __await__(self) -> Any:
        return self.pool.take().__await__()

    async def __aenter__(self) -> Connection:
        self.connection = await self.pool.take()
        return self.connection

    async def __aexit__(self, *_: Any) -> None:
        assert self.connection is not None
        await self.pool.release(self.connection)
