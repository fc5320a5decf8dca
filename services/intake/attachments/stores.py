"""Where sealed files lie: a small interface, and a folder. `s3.py` has the other one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from shared.settings import Settings

READ = 262_144
"""bytes read at a time"""


class Missing(Exception):
    """There is no file of that name."""


class Store(Protocol):
    """Files by name (a UUID). A store shared by several replicas is one and the same."""

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Durable when it returns; nothing is there when it raises."""
        ...

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Raises Missing."""
        ...

    async def delete(self, name: str) -> None:
        """Also of a name that is not there."""
        ...

    def older_than(self, instant: datetime) -> AsyncIterator[str]:
        """Names of files written before `instant` (real time), unfinished ones too."""
        ...


class Folder:
    """Files in 256 folders by the end of their names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, name: str) -> Path:
        return self.root / name[34:36] / name

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        path = self._path(name)
        draft = path.with_name(f"{name}.draft")
        file = await asyncio.to_thread(_new_file, draft)
        try:
            try:
                async for part in parts:
                    await asyncio.to_thread(_write_all, file, part)
                await asyncio.to_thread(os.fsync, file)
            finally:
                os.close(file)
            await asyncio.to_thread(_put_in_place, draft, path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    async def read(self, name: str) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(name).open, "rb")
        except FileNotFoundError:
            raise Missing(name) from None
        try:
            while part := await asyncio.to_thread(file.read, READ):
                yield part
        finally:
            file.close()

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._path(name).unlink, missing_ok=True)

    async def older_than(self, instant: datetime) -> AsyncIterator[str]:
        for name in await asyncio.to_thread(_names, self.root, instant):
            yield name


def _new_file(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _write_all(file: int, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        rest = rest[os.write(file, rest) :]


def _put_in_place(draft: Path, path: Path) -> None:
    """The name is there for good: also the folder's entry is on the disk, and that of a new folder."""
    draft.rename(path)
    for folder in (path.parent, path.parent.parent):
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def _names(root: Path, instant: datetime) -> list[str]:
    found = []
    for path in root.glob("??/*"):
        with suppress(FileNotFoundError):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < instant:
                found.append(path.name)
    return found


def open_store(settings: Settings) -> Store | None:
    """The store of `SUSHU_FILES`. None in production without one: a pod's own folder is gone with the pod.

    Raises ValueError, saying what to do.
    """
    if settings.files.startswith("s3://"):
        try:
            from services.intake.attachments.s3 import Bucket
        except ModuleNotFoundError as error:
            raise ValueError("SUSHU_FILES names a bucket: install the extra for it, pip install 'sushu[s3]'") from error
        return Bucket.of(settings)
    if settings.files:
        return Folder(Path(settings.files))
    return None if settings.env == "production" else Folder(settings.data_dir / "attachments")
