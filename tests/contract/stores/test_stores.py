"""One suite for both places where attachments may lie: a folder, and a bucket of a real server that speaks S3."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from services.intake.attachments.stores import Missing, Store, open_store
from shared.ids import uuid7
from shared.settings import Settings

NO_S3 = "S3 TESTS SKIPPED: no versitygw on the PATH (make test-s3 builds it with Go)"
USER, SECRET = "tests", "only-for-tests-0123456789"


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that checks signatures, in front of a folder of its own, with one bucket."""
    program = shutil.which("versitygw")
    if program is None:
        pytest.skip(NO_S3)
    root, port = tmp_path_factory.mktemp("s3"), _free_port()
    (root / "data" / "files").mkdir(parents=True)
    (root / "sidecar").mkdir()
    environment = os.environ | {"ROOT_ACCESS_KEY": USER, "ROOT_SECRET_KEY": SECRET}
    command = [program, "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(root / "sidecar"), str(root / "data")]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while True:
            try:
                httpx.get(url, timeout=2, trust_env=False)
                break
            except httpx.HTTPError:
                assert server.poll() is None, (root / "log").read_text()
                assert time.monotonic() < until, (root / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        found = open_store(Settings(files=str(tmp_path)))
    else:
        url = request.getfixturevalue("endpoint")
        found = open_store(_bucket(url, f"s3://files/{tmp_path.name}", SECRET))
    assert found is not None
    return found


def _bucket(url: str, files: str, secret: str) -> Settings:
    return Settings(files=files, s3_endpoint=url, s3_access_key=USER, s3_secret_key=secret)


async def parts(data: bytes, size: int = 60_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def whole(store: Store, name: str) -> bytes:
    return b"".join([part async for part in store.read(name)])


async def names(store: Store, before: datetime) -> set[str]:
    return {name async for name in store.older_than(before)}


@pytest.mark.parametrize("size", [1, 100_000, 17_000_000])
async def test_what_was_written_is_read(store: Store, size: int) -> None:
    name, data = uuid7(), os.urandom(size)
    await store.write(name, parts(data))
    assert await whole(store, name) == data


async def test_what_was_not_finished_is_not_there(store: Store) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(60_000)
        raise ConnectionError("the sender is gone")

    name = uuid7()
    with pytest.raises(Exception, match="gone"):
        await store.write(name, broken())
    with pytest.raises(Missing):
        await whole(store, name)
    assert await names(store, datetime.now(UTC) + timedelta(minutes=1)) == set()


async def test_files_are_listed_by_age_and_deleted(store: Store) -> None:
    here = [uuid7() for _ in range(3)]
    for name in here:
        await store.write(name, parts(b"x"))
    now = datetime.now(UTC)
    assert await names(store, now + timedelta(minutes=1)) == set(here)
    assert await names(store, now - timedelta(hours=1)) == set()
    await store.delete(here[0])
    await store.delete(here[0])
    assert await names(store, now + timedelta(minutes=1)) == set(here[1:])
    with pytest.raises(Missing):
        await whole(store, here[0])


async def test_a_bucket_opens_with_the_right_key_alone(endpoint: str) -> None:
    wrong = open_store(_bucket(endpoint, "s3://files", "another"))
    assert wrong is not None
    with pytest.raises(Exception, match=r"(?i)signature|forbidden|denied|permission"):
        await wrong.write(uuid7(), parts(b"x"))
