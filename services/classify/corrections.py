"""Persons' decisions as training texts: the last word about each appeal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from services.classify.knowledge import Library
from services.classify.labelling import Case
from services.classify.tables import labels, reviews
from shared.clock import ZONE
from shared.db.database import Database


async def write_corrections(database: Database, out: Path, library: Library) -> int:
    """Write one JSON object a reviewed appeal, `{text, label, date, tags}`; returns how many. The texts are redacted
    ones, the labels codes of the catalogue in force; what has no code there is left out."""
    part = out.with_name(out.name + ".part")
    count = 0
    async with database.transaction() as uow:
        present = (await library.present(uow.pg, uow.clock.now())).catalogue
        codes: dict[str, Mapping[str, str]] = {present.version: {code: code for code in present.matters}}
        with part.open("w", encoding="utf-8") as stream:
            rows = uow.pg.cursor(
                "SELECT title, text, matter, received_at,"
                " coalesce(catalogue_version, label::json->>'catalogue_version') AS version, r.tags_after"
                f" FROM {labels.fullname} l JOIN LATERAL (SELECT tags_after FROM {reviews.fullname} r"
                " WHERE r.appeal_id = l.appeal_id ORDER BY sequence DESC LIMIT 1) r ON true ORDER BY appeal_id"
            )
            async for row in rows:
                if row["version"] not in codes:
                    mapped = await library.codes_between(uow.pg, row["version"], present.version)
                    codes[row["version"]] = mapped or {}
                label = codes[row["version"]].get(row["matter"])
                if label is None:
                    continue
                day = row["received_at"].astimezone(ZONE).date().isoformat()
                words = Case(row["title"], row["text"]).words
                line = {"text": words, "label": label, "date": day, "tags": sorted(row["tags_after"])}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += 1
    part.replace(out)
    return count
