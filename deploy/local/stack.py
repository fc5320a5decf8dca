"""What both stacks share: taking the data folder, telling where the stack is, and the database with its event log."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import asyncpg

from deploy.local import ports
from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from deploy.local.postgres import PostgreSQL
from deploy.local.process import Identity, end_all, services_of
from deploy.local.settings import LocalSettings
from shared.db.database import plain_url

Transport = Literal["embedded", "kafka"]

DATABASES: Mapping[Transport, str] = {"embedded": "sushu", "kafka": "sushu_kafka"}
"""Each stack has its own database in the one cluster: a database remembers how far it has read its event log, so it
belongs to one log only. So `make run` and `make up` may take turns in one data folder, each with its own cases."""


@dataclass
class Stack:
    """A data folder taken by this process, and what is known of the stack that runs from it."""

    settings: LocalSettings
    folder: DataFolder
    transport: Transport
    services: list[str]
    database_url: str = ""
    """for whoever looks from outside; the services may have a shorter way"""
    services_url: str = ""
    kafka: str | None = None

    @classmethod
    def take(cls, settings: LocalSettings, transport: Transport, services: list[str]) -> "Stack":
        """Claim the data folder and end what a killed stack left there; raises StackError when a stack has it."""
        folder = DataFolder.open(settings.data_dir)
        if not folder.claim():
            raise StackError(already_running(folder))
        end_leftovers(folder)
        return cls(settings, folder, transport, services)

    def publish(self, processes: list[Identity], service_pids: Mapping[str, list[int]]) -> None:
        """Write processes.json and stack.json (api.md, Local stack)."""
        self.folder.record(processes)
        by_name = {process.name: process.pid for process in processes}
        self.folder.publish(
            {
                "base_url": self.settings.local_url,
                "transport": self.transport,
                "kafka": self.kafka,
                "database_url": self.database_url,
                "pids": {
                    **{name: service_pids.get(name, []) for name in self.services},
                    "kafka": by_name.get("kafka"),
                    "postgres": by_name.get("postgres"),
                    "gateway": by_name.get("gateway"),
                },
                "supervisor": os.getpid(),
            }
        )

    def own_postgres(self) -> PostgreSQL | None:
        """The stack's own server, or None when DATABASE_URL names another."""
        if self.settings.database_url:
            return None
        return PostgreSQL(self.settings.data_dir, ports.free_port(), self.folder.log("postgres"))

    async def take_database(self, server: PostgreSQL | None, log_id: str) -> None:
        """Prepare the stack's database on its own running `server`, or the person's, and keep its addresses; raises
        StackError as `prepare_database` does."""
        if server is None:
            await prepare_database(self.settings.database_url, None, log_id)
            self.database_url = self.services_url = self.settings.database_url
            return
        name = DATABASES[self.transport]
        await prepare_database(server.url("postgres"), name, log_id)
        self.database_url, self.services_url = server.url(name), server.quick_url(name)


def already_running(folder: DataFolder) -> str:
    """Words for a person who starts a second stack in one folder."""
    stack = folder.published() or {}
    where = f" at {stack['base_url']}" if "base_url" in stack else ""
    return (
        f"A stack already runs{where} from {folder.root}.\n"
        "`make down` stops it; a second one needs its own SUSHU_PORT and SUSHU_DATA_DIR."
    )


def end_leftovers(folder: DataFolder, say: Callable[[str], None] = lambda line: None) -> bool:
    """End processes of a stack whose supervisor was killed; True when there were any.

    Only for a folder that this process has claimed.
    """
    known = {process.pid: process for process in (*folder.recorded(), *services_of(str(folder.root)))}
    ended = end_all(process for process in known.values() if process.pid != os.getpid())
    if ended:
        say("Ended what a killed stack had left: " + ", ".join(f"{process.name} ({process.pid})" for process in ended))
    folder.forget()
    return bool(ended)


async def prepare_database(server_url: str, database: str | None, log_id: str) -> None:
    """Make the database (unless it is the person's own, `database` None) and tie it to its event log.

    A database remembers how far it has read its log; read on from another log it would pass over events in silence, so
    that is refused with StackError.
    """
    try:
        connection = await asyncpg.connect(plain_url(server_url), timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, ValueError) as error:
        raise StackError(
            f"The database does not answer: {error}\nCheck DATABASE_URL (postgresql://user:password@host:port/name)."
        ) from None
    try:
        version = connection.get_server_version()
        if version.major < 15:
            raise StackError(f"Sushu needs PostgreSQL 15 or later; DATABASE_URL leads to version {version.major}.")
        if database is not None and not await connection.fetchval(
            "SELECT 1 FROM pg_database WHERE datname = $1", database
        ):
            await connection.execute(f'CREATE DATABASE "{database}"')
    finally:
        await connection.close()
    connection = await asyncpg.connect(_on_database(plain_url(server_url), database), timeout=10)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS public.event_log (log_id text NOT NULL)")
        known = await connection.fetchval("SELECT log_id FROM public.event_log")
        if known is None:
            await connection.execute("INSERT INTO public.event_log VALUES ($1)", log_id)
        elif known != log_id:
            raise StackError(
                f"This database has read the event log {known!r}; the log now is {log_id!r}, "
                "whose first events it would pass over.\n"
                "Bring the old log back (its data folder, its Kafka), or start with a new database: another "
                "SUSHU_DATA_DIR or DATABASE_URL, or `make down clean=1`."
            )
    finally:
        await connection.close()


def _on_database(server_url: str, database: str | None) -> str:
    if database is None:
        return server_url
    return server_url.rsplit("/", 1)[0] + f"/{database}"
