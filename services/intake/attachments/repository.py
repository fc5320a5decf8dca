"""The SQL of attachments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from services.intake import tables
from shared.db import bulk
from shared.events.catalog.attachments import Attachment

Row = dict[str, Any]
_COLUMNS = (
    "id::text, appeal_id::text, purpose, media_type, size, sha256, key_id, name, uploaded_by, units, stored_at,"
    " removed_at"
)
_READ = f"SELECT {_COLUMNS} FROM intake.attachments"


async def read(pg: Any, attachment_id: str) -> Row | None:
    """One attachment, removed or not."""
    row = await pg.fetchrow(f"{_READ} WHERE id = $1::uuid", attachment_id)
    return dict(row) if row else None


async def of_appeal(pg: Any, appeal_id: str) -> list[Row]:
    """Those of a case, oldest first, with those that were removed."""
    return [dict(row) for row in await pg.fetch(f"{_READ} WHERE appeal_id = $1::uuid ORDER BY id", appeal_id)]


async def unclaimed_of(pg: Any, uploaded_by: str) -> list[Row]:
    """Those that somebody sent before the appeal they are for."""
    rows = await pg.fetch(f"{_READ} WHERE uploaded_by = $1 AND appeal_id IS NULL AND removed_at IS NULL", uploaded_by)
    return [dict(row) for row in rows]


async def add(pg: Any, row: Row) -> None:
    await bulk.insert(pg, tables.attachments, [row])


async def lock_unclaimed(pg: Any, ids: Iterable[str]) -> dict[str, Row]:
    """Those of `ids` that belong to no appeal yet, under their locks, taken in one order."""
    rows = await pg.fetch(
        f"{_READ} WHERE id = ANY($1::uuid[]) AND appeal_id IS NULL AND removed_at IS NULL ORDER BY id FOR UPDATE",
        sorted(set(ids)),
    )
    return {row["id"]: dict(row) for row in rows}


async def claim(pg: Any, appeals: dict[str, str]) -> None:
    """Attachment → the appeal that it belongs to from now on."""
    await pg.execute(
        "UPDATE intake.attachments a SET appeal_id = r.appeal_id, remove_at = NULL"
        " FROM unnest($1::uuid[], $2::uuid[]) AS r(id, appeal_id) WHERE a.id = r.id",
        list(appeals),
        list(appeals.values()),
    )


async def remove_later(pg: Any, appeal_id: str, at: datetime) -> None:
    """The case ended without being handled: what the citizen sent is deleted at `at`."""
    await pg.execute(
        "UPDATE intake.attachments SET remove_at = $2 WHERE appeal_id = $1::uuid AND removed_at IS NULL", appeal_id, at
    )


async def remove_due(pg: Any, now: datetime, limit: int) -> list[Row]:
    """Mark what is to be deleted by `now`; other replicas take others."""
    rows = await pg.fetch(
        "UPDATE intake.attachments SET removed_at = $1 WHERE id IN (SELECT id FROM intake.attachments"
        f" WHERE remove_at <= $1 AND removed_at IS NULL ORDER BY remove_at LIMIT {limit:d} FOR UPDATE SKIP LOCKED)"
        f" RETURNING {_COLUMNS}",
        now,
    )
    return [dict(row) for row in rows]


async def kept(pg: Any, ids: Sequence[str]) -> set[str]:
    """Those of `ids` whose file must stay."""
    rows = await pg.fetch(
        "SELECT id::text FROM intake.attachments WHERE id = ANY($1::uuid[]) AND removed_at IS NULL", list(ids)
    )
    return {row["id"] for row in rows}


def snapshot(row: Row, platform: str) -> Attachment:
    """As the others are told; the row belongs to an appeal."""
    return Attachment(
        id=row["id"],
        platform=platform,
        appeal_id=row["appeal_id"],
        purpose=row["purpose"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"].hex(),
        stored_at=row["stored_at"],
        removed=row["removed_at"] is not None,
    )
