"""Schema, role and tables of a service: the runtime's chain of revisions first, then the service's own.

Each service's revisions have their own version table inside its schema, so services migrate without each other.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from shared.db.database import plain_url, role_of

log = logging.getLogger(__name__)

_ALEMBIC = asyncio.Lock()
"""it keeps what it works on in globals: one chain at a time in a process"""

RUNTIME = Path(__file__).parent / "runtime_migrations"


async def ensure_role(url: str, service: str, *, production: bool) -> str | None:
    """Make the service's role when we may; returns it, or None for one role for all (local only, with a warning).

    Raises `PermissionError` in production when roles cannot be made.
    """
    connection: Any = await asyncpg.connect(plain_url(url), timeout=10)
    try:
        role = role_of(service)
        known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        if not known:
            try:
                await connection.execute(f'CREATE ROLE "{role}" NOLOGIN')
            except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                pass  # another migration was quicker, seen before or after its commit
            except asyncpg.InsufficientPrivilegeError:
                if production:
                    raise PermissionError(
                        f"the database user may not make roles: create role {role} and grant it to the user"
                    ) from None
                log.warning("one database role for all services: the user may not make roles")
                return None
        try:
            await connection.execute(f'GRANT "{role}" TO CURRENT_USER')
        except asyncpg.PostgresError as error:  # also when another migration grants it at this moment
            if not await connection.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", role):
                if production:
                    raise PermissionError(f"the database user is no member of role {role}: grant it") from error
                return None
        return role
    finally:
        await connection.close()


async def known_role(url: str, service: str) -> str | None:
    """The service's role when the database user may act as it, else None."""
    connection: Any = await asyncpg.connect(plain_url(url), timeout=10)
    try:
        role = role_of(service)
        known = await connection.fetchval(
            "SELECT pg_has_role(current_user, oid, 'SET') FROM pg_roles WHERE rolname = $1", role
        )
        return role if known else None
    finally:
        await connection.close()


async def migrate(url: str, service: str, folder: Path, *, production: bool = False) -> None:
    """Bring the service's schema to the newest revision. Safe to run twice and from two places at once."""
    role = await ensure_role(url, service, production=production)
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"), poolclass=pool.NullPool, connect_args={"timeout": 10}
    )
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(7401)"))
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{service}"'))
            if role:
                owner = (
                    await connection.execute(
                        text("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = :name"),
                        {"name": service},
                    )
                ).scalar_one()
                if owner.strip('"') != role:
                    await connection.execute(text(f'ALTER SCHEMA "{service}" OWNER TO "{role}"'))
                await connection.execute(text(f'SET ROLE "{role}"'))
            await connection.execute(text(f'SET search_path TO "{service}"'))
            await connection.commit()
            for location, version_table in ((RUNTIME, "runtime_version"), (folder, "alembic_version")):
                if location.is_dir():
                    async with _ALEMBIC:
                        await connection.run_sync(_upgrade, location, service, version_table)
                    await connection.commit()
            await connection.execute(text("RESET ROLE"))
            await connection.execute(text("SELECT pg_advisory_unlock(7401)"))
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, location: Path, schema: str, version_table: str) -> None:
    config = Config()
    # `env.py` is the same for every chain: a folder of revisions needs only its `versions`
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic_env"))
    config.set_main_option("version_locations", str(location / "versions"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema, version_table=version_table)
    command.upgrade(config, "head")


def migrate_now(url: str, service: str, folder: Path, *, production: bool = False) -> None:
    """`migrate` from a place without an event loop."""
    asyncio.run(migrate(url, service, folder, production=production))
