"""The disk under PostgreSQL is full: writes are refused honestly, readers wait, and all goes on by itself."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from shared.testing import postgres
from shared.testing.harness import Harness

SIZE_MB = 96


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A filesystem of `SIZE_MB` that a test may fill."""
    folder = Path(tempfile.mkdtemp(prefix="sushu-small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if mounted.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def server_on_small_disk(small_disk: Path) -> AsyncIterator[str]:
    """A PostgreSQL whose databases stand on the small disk; its WAL does not, so it can still say what is wrong."""
    for name in ("SUSHU_TEST_DATABASE_URL", "DATABASE_URL"):
        if os.environ.get(name):
            pytest.skip(f"{name} names a server whose disk is not ours to fill")
    folder = Path(tempfile.mkdtemp(prefix="sushu-full-"))
    try:
        with postgres.server(folder / "data") as url:
            place = small_disk / "tables"
            place.mkdir()
            owner = (folder / "data").stat()
            os.chown(place, owner.st_uid, owner.st_gid)
            os.chmod(small_disk, 0o755)
            connection: Any = await asyncpg.connect(url)
            await connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            await connection.execute("ALTER DATABASE template1 SET TABLESPACE small")  # fresh databases copy it
            await connection.close()
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill(disk: Path) -> Path:
    """Leave no free block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for block in (1 << 20, 4096):
            try:
                while True:
                    file.write(os.urandom(block))
            except OSError:
                continue
    return filler


async def receive(hub: Harness, name: str) -> httpx.Response:
    body = {"channel": "web", "text": f"楼下路灯不亮 {os.urandom(900).hex()}", "location": {"region_code": "460106"}}
    return await hub.http.post("/v1/appeals", json=body, headers=hub.admin | {"Idempotency-Key": name})


@pytest.mark.slow
async def test_a_full_disk_refuses_honestly_and_all_goes_on_when_there_is_room(
    server_on_small_disk: str, small_disk: Path
) -> None:
    async with Harness.fresh(server_on_small_disk, "intake", "journal") as hub:
        accepted: dict[str, str] = {}
        first = await receive(hub, "first")
        accepted["first"] = first.json()["id"]
        filler = fill(small_disk)
        refused: list[str] = []
        for number in range(400):
            answer = await receive(hub, name := f"key-{number}-{uuid4().hex}")
            if answer.status_code == 201:
                accepted[name] = answer.json()["id"]
            else:
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"]
                refused.append(name)
            if len(refused) >= 3:
                break
        assert len(refused) >= 3, "the disk never was full"
        ready = await hub.http.get("/ops/journal/health/ready")
        filler.unlink()
        for name in refused:
            answer = await receive(hub, name)
            assert answer.status_code == 201, answer.text
            accepted[name] = answer.json()["id"]
        await hub.settle(60)
        told = [message.key for message in await hub.events("intake.appeals.v1") if message.sequence == 1]
        kept = await hub.query(
            "SELECT subject AS key, count(*) AS times FROM journal.events WHERE sequence = 1 GROUP BY 1"
        )
        assert sorted(told) == sorted(accepted.values())
        assert {row["key"]: row["times"] for row in kept} == dict.fromkeys(accepted.values(), 1)
        assert (await hub.http.get("/ops/journal/health/ready")).status_code == 200
        if ready.status_code == 503:  # the journal may have found room where intake found none
            assert any("space" in reason or "extend" in reason for reason in ready.json()["reasons"]), ready.text
