"""Persons' decisions as training texts: the last word about each appeal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from services.classify.labelling import Case
from services.classify.tables import labels, reviews
from shared.clock import ZONE
from shared.db.database import Database


async def write_corrections(database: Database, out: Path) -> int:
    """Write one JSON object a reviewed appeal, `{text, label, date}`; returns how many. The texts are redacted ones."""
    part = out.with_name(out.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8") as stream:
        async for row in _reviewed(database):
            day = row["received_at"].astimezone(ZONE).date().isoformat()
            line = {"text": Case(row["title"], row["text"]).words, "label": row["matter"], "date": day}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    part.replace(out)
    return count


async def _reviewed(database: Database) -> AsyncIterator[Any]:
    async with database.transaction() as uow:
        async for row in uow.pg.cursor(
            f"SELECT title, text, matter, received_at FROM {labels.fullname} l WHERE EXISTS"
            f" (SELECT 1 FROM {reviews.fullname} r WHERE r.appeal_id = l.appeal_id) ORDER BY appeal_id"
        ):
            yield row
