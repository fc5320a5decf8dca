"""Files in and out as streams: sniffed, counted, digested, sealed, stored; and what is cleaned up."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.intake.attachments import repository
from services.intake.attachments.kinds import ACCEPTED, HEAD, kind_of
from services.intake.attachments.repository import Row
from services.intake.attachments.sealing import Damaged, Sealer
from services.intake.attachments.stores import Missing, Store
from services.intake.projections import timeline_row
from services.intake.repository import timeline_of
from shared.db import audit, bulk
from shared.db.database import Database
from shared.errors import Problem, Transient, invalid
from shared.events.catalog.attachments import AttachmentRemoved
from shared.ids import is_id, uuid7

log = logging.getLogger(__name__)

LOOK_S = 60.0
SWEEP_S = 3_600.0
ORPHAN = timedelta(hours=1)
"""a file without a row is deleted after so long: an upload that was refused or cut off, or whose row is removed"""
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is stored for good and belongs to nothing yet."""

    id: str
    media_type: str
    size: int
    sha256: bytes
    key_id: str


class Keeper:
    """`store` None: none is set up, files are refused."""

    def __init__(self, store: Store | None, sealer: Sealer, database: Database) -> None:
        self._store = store
        self._sealer = sealer
        self.database = database

    @property
    def store(self) -> Store:
        """Raises Problem 503 where none is set up."""
        if self._store is None:
            raise Problem(
                503,
                "unavailable",
                "This platform takes no files: SUSHU_FILES names no store for them.",
                headers={"Retry-After": "3600"},
            )
        return self._store

    async def take(self, parts: AsyncIterator[bytes]) -> Stored:
        """A body of unknown kind and length, durable when this returns. Raises Problem 415 or 422: nothing stays."""
        store = self.store
        head = b""
        async for part in parts:
            head += part
            if len(head) >= HEAD:
                break
        if not head:
            raise invalid("/", "the body is empty; send the file itself")
        kind = kind_of(head[:HEAD])
        if kind is None:
            raise Problem(
                415,
                "unsupported_media_type",
                f"By its content the file is none of {', '.join(ACCEPTED)}; save it as one of them.",
                accepted=list(ACCEPTED),
            )
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for part in _again(head, parts):
                digest.update(part)
                size += len(part)
                yield part

        name = uuid7()
        await store.write(name, self._sealer.seal(name, counted()))
        return Stored(name, kind, size, digest.digest(), self._sealer.current)

    async def drop(self, name: str) -> None:
        """A file that nothing came of; what cannot be deleted now is swept up later."""
        with suppress(Exception):
            await self.store.delete(name)

    async def read(self, row: Row) -> AsyncIterator[bytes]:
        """The file's parts; the first one is read before this returns. Raises Problem 410 or 503."""
        if row["removed_at"] is not None:
            raise Problem(410, "gone", "The content was deleted; that it was there stays known.")
        parts = self._sealer.open(row["id"], row["key_id"], self.store.read(row["id"]))
        try:
            first = await anext(parts)
        except (Missing, Damaged, StopAsyncIteration) as error:
            log.error("an attachment cannot be read", extra={"attachment": row["id"], "error": str(error)})
            detail = "The file is not in the store as it was put there; the platform's operator has to look."
            raise Problem(503, "unavailable", detail, headers={"Retry-After": "60"}) from error

        return _again(first, parts)

    async def run(self) -> None:
        """Remove what is due and sweep up files without a row, for ever."""
        swept = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if self._store is not None:
                try:
                    while await self.remove_due() == AT_ONCE:
                        pass
                    if not swept or loop.time() - swept > SWEEP_S:
                        await self.sweep(datetime.now(UTC) - ORPHAN)
                        swept = loop.time()
                except Transient as error:
                    log.warning("attachments are cleaned up later", extra={"error": str(error)})
                except Exception as error:  # the store may fail in any way, and is asked again
                    log.error("attachments could not be cleaned up", extra={"error": repr(error)})
            await asyncio.sleep(LOOK_S)

    async def remove_due(self) -> int:
        """Contents of withdrawn and declined cases after their time, and files that waited in vain for an appeal."""
        async with self.database.transaction() as uow:
            rows = await repository.remove_due(uow.pg, uow.clock.now(), AT_ONCE)
            told = []
            for row in rows:
                if row["appeal_id"] is None:
                    continue  # nobody was told of it
                after = repository.snapshot(row, self.database.platform)
                event = AttachmentRemoved(actor="system:intake", reason="诉求未进入办理，保存期已满", after=after)
                event_id = uow.emit(event, key=row["id"], sequence=2)
                told.append(timeline_row(event, event_id, uow.clock.now(), row["appeal_id"]))
                await audit.record(uow, actor="system:intake", action="attachment.removed", subject=row["id"])
            if told:
                await bulk.write(uow.pg, timeline_of(told))
        for row in rows:
            await self.drop(row["id"])
        return len(rows)

    async def sweep(self, before: datetime) -> int:
        """Delete files written before an instant of real time to which no attachment belongs."""
        gone = 0
        names: list[str] = []

        async def look() -> int:
            async with self.database.look_up() as pg:
                kept = await repository.kept(pg, [name for name in names if is_id(name)])
            for name in names:
                if name not in kept:
                    await self.store.delete(name)
            return len(names) - len(kept)

        async for name in self.store.older_than(before):
            names.append(name)
            if len(names) == AT_ONCE:
                gone += await look()
                names.clear()
        return gone + (await look() if names else 0)


async def _again(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream whose beginning was read already."""
    yield first
    async for part in parts:
        yield part
