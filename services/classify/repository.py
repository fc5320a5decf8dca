"""The SQL of classify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import orjson

from services.classify import recent
from services.classify.domain.likeness import Said
from services.classify.tables import (
    catalogue_versions,
    label_counts,
    labels,
    models,
    reviews,
    tag_proposals,
)
from shared.db import bulk
from shared.events.catalog.labels import Label
from shared.security.scope import prefix

PER_REPORTER = 20
"""earlier appeals of one reporter that a new one is compared with"""


_label = msgspec.json.Decoder(Label)


def label_from(stored: str) -> Label:
    """A published snapshot as it was stored."""
    return _label.decode(stored)


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One imported version."""

    version: int
    csv: str
    effective_from: datetime | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One registered model; `path` is relative to the data folder."""

    version: str
    path: str
    digest: str
    catalogue_version: int | None


class Seen(NamedTuple):
    """How far the tables are: `stamp` changes with every change of catalogue, tags or active model, `learnt` with every
    decision of a person."""

    stamp: int
    learnt: int


async def seen(pg: Any) -> Seen:
    """How far the tables are now."""
    return Seen(*await pg.fetchrow("SELECT stamp, learnt FROM classify.knowledge"))


async def restamp(pg: Any) -> None:
    """Tell all processes to read catalogue, tags and model again."""
    await pg.execute("UPDATE classify.knowledge SET stamp = stamp + 1")


async def catalogue_in_force(pg: Any, now: datetime) -> tuple[CatalogueRow | None, datetime | None]:
    """The version in force at `now`, and the instant of the next change. One that was put in force at once stays so
    when the clock is set back."""
    row = await pg.fetchrow(
        f"SELECT version, csv, effective_from FROM {catalogue_versions.fullname}"
        " WHERE effective_from <= greatest($1, activated_at) ORDER BY effective_from DESC, version DESC LIMIT 1",
        now,
    )
    until = await pg.fetchval(
        f"SELECT min(effective_from) FROM {catalogue_versions.fullname}"
        " WHERE effective_from > greatest($1, activated_at)",
        now,
    )
    return (CatalogueRow(row["version"], row["csv"], row["effective_from"]) if row else None), until


async def catalogue_version(pg: Any, version: int, *, lock: bool = False) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pg.fetchrow(
        f"SELECT * FROM {catalogue_versions.fullname} WHERE version = $1" + (" FOR UPDATE" if lock else ""), version
    )
    return row


async def add_catalogue(pg: Any, csv: str, matters: int, at: datetime, by: str) -> int:
    return int(
        await pg.fetchval(
            f"INSERT INTO {catalogue_versions.fullname} (csv, matters, created_at, created_by)"
            " VALUES ($1, $2, $3, $4) RETURNING version",
            csv,
            matters,
            at,
            by,
        )
    )


async def activate_catalogue(pg: Any, version: int, effective_from: datetime, at: datetime, by: str) -> None:
    await pg.execute(
        f"UPDATE {catalogue_versions.fullname} SET effective_from = $2, activated_at = $3, activated_by = $4"
        " WHERE version = $1",
        version,
        effective_from,
        at,
        by,
    )


async def catalogue_list(pg: Any, after: int | None, limit: int) -> list[dict[str, Any]]:
    rows = await pg.fetch(
        "SELECT version, matters, created_at, created_by, activated_at, activated_by, effective_from"
        f" FROM {catalogue_versions.fullname} WHERE $1::bigint IS NULL OR version < $1 ORDER BY version DESC LIMIT $2",
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def impact_of(pg: Any, removed: Sequence[str], changed: Sequence[str], since: datetime) -> dict[str, int]:
    """How many labels a new catalogue touches: open reviews and labels since `since` on removed or changed matters."""
    row = await pg.fetchrow(
        "SELECT count(*) FILTER (WHERE needs_review AND matter = ANY($1)) AS reviews_on_removed,"
        " count(*) FILTER (WHERE received_at >= $3 AND matter = ANY($1)) AS recent_labels_on_removed,"
        " count(*) FILTER (WHERE received_at >= $3 AND matter = ANY($2)) AS recent_labels_on_changed"
        f" FROM {labels.fullname} WHERE matter = ANY($1 || $2) AND (received_at >= $3 OR needs_review)",
        list(removed),
        list(changed),
        since,
    )
    return dict(row)


async def active_model(pg: Any) -> ModelRow | None:
    """Its codes are those of `catalogue_version`: as registered, else of the version that was in force then."""
    row = await pg.fetchrow(
        "SELECT m.version, m.path, m.digest, coalesce(m.catalogue_version, (SELECT c.version"
        f" FROM {catalogue_versions.fullname} c WHERE c.effective_from <= m.registered_at"
        " ORDER BY c.effective_from DESC, c.version DESC LIMIT 1)) AS catalogue_version"
        f" FROM {models.fullname} m WHERE m.active"
    )
    return ModelRow(row["version"], row["path"], row["digest"], row["catalogue_version"]) if row else None


async def active_model_chosen_by(pg: Any) -> str | None:
    """Who made the last choice about models: the actor, or None when there never was one."""
    found: str | None = await pg.fetchval(
        f"SELECT activated_by FROM {models.fullname} WHERE activated_at IS NOT NULL"
        " ORDER BY active DESC, activated_at DESC LIMIT 1"
    )
    return found


async def model(pg: Any, version: str, *, lock: bool = False) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pg.fetchrow(
        f"SELECT * FROM {models.fullname} WHERE version = $1" + (" FOR UPDATE" if lock else ""), version
    )
    return row


async def model_list(pg: Any, after: str | None, limit: int) -> list[dict[str, Any]]:
    rows = await pg.fetch(
        f"SELECT * FROM {models.fullname} WHERE $1::text IS NULL OR version > $1 ORDER BY version LIMIT $2",
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def add_model(pg: Any, row: Mapping[str, Any]) -> None:
    await bulk.insert(pg, models, [row])


async def redigest_model(pg: Any, version: str, digest: str) -> None:
    await pg.execute(f"UPDATE {models.fullname} SET digest = $2 WHERE version = $1", version, digest)


async def switch_model(pg: Any, version: str | None, at: datetime, by: str, *, back: bool = False) -> None:
    """Make `version` the one active model, or none; going `back` leaves what it once replaced as it is. The table is
    locked: two switches at once would clash."""
    await pg.execute(f"LOCK TABLE {models.fullname} IN SHARE ROW EXCLUSIVE MODE")
    replaced = await pg.fetchval(
        f"UPDATE {models.fullname} SET active = false WHERE active AND version IS DISTINCT FROM $1 RETURNING version",
        version,
    )
    if version is not None:
        await pg.execute(
            f"UPDATE {models.fullname} SET active = true, activated_at = $2, activated_by = $3,"
            f" turn = (SELECT coalesce(max(turn), 0) + 1 FROM {models.fullname}),"
            " replaced = CASE WHEN $4 THEN replaced ELSE coalesce($5, replaced) END WHERE version = $1",
            version,
            at,
            by,
            back,
            replaced,
        )


async def replaced_model(pg: Any) -> tuple[str | None, str | None]:
    """The active model, and the one that was before it; without an active one the one that was active last."""
    row = await pg.fetchrow(f"SELECT version, replaced FROM {models.fullname} WHERE active")
    if row is not None:
        return row["version"], row["replaced"]
    last = await pg.fetchval(f"SELECT version FROM {models.fullname} WHERE turn IS NOT NULL ORDER BY turn DESC LIMIT 1")
    return None, last


async def put_shadow(pg: Any, version: str, shadow: Mapping[str, Any]) -> None:
    """Keep the last comparison of a model with the present one."""
    await pg.execute(
        f"UPDATE {models.fullname} SET shadow = $2 WHERE version = $1", version, orjson.dumps(shadow).decode()
    )


async def known_appeals(pg: Any, ids: Sequence[str]) -> dict[str, int]:
    """Highest applied appeal sequence of those appeals that have a label."""
    rows = await pg.fetch(
        f"SELECT appeal_id, appeal_sequence FROM {labels.fullname} WHERE appeal_id = ANY($1)", list(ids)
    )
    return {row["appeal_id"]: row["appeal_sequence"] for row in rows}


async def seen_and_earlier(pg: Any, reporters: Mapping[str, datetime], days: int) -> tuple[Seen, dict[str, list[Said]]]:
    """How far the tables are, and the appeals of each reporter within `days` before the given instant, newest first."""
    if not reporters:
        return await seen(pg), {}
    rows = await pg.fetch(
        "SELECT k.stamp, k.learnt, l.pseudonym, l.appeal_id, l.received_at, l.region_code, l.sketch"
        " FROM classify.knowledge k LEFT JOIN (unnest($1::text[], $2::timestamptz[]) AS r(pseudonym, before)"
        " CROSS JOIN LATERAL (SELECT pseudonym, appeal_id, received_at, region_code, sketch"
        f"  FROM {labels.fullname} WHERE pseudonym = r.pseudonym AND received_at > r.before - $3::interval"
        "   AND status = 'received' ORDER BY received_at DESC LIMIT $4) l) ON true",
        list(reporters),
        list(reporters.values()),
        timedelta(days=days),
        PER_REPORTER,
    )
    found: dict[str, list[Said]] = {}
    for _, _, pseudonym, appeal_id, received_at, region_code, sketch in rows:
        if pseudonym is not None:
            found.setdefault(pseudonym, []).append(Said(appeal_id, received_at, pseudonym, prefix(region_code), sketch))
    return Seen(rows[0]["stamp"], rows[0]["learnt"]), found


async def add_labels(pg: Any, rows: Sequence[Mapping[str, Any]], day: date, said: Sequence[Said]) -> set[str]:
    """Insert new labels and count them under `day`, per model; returns the appeals that had none (only those are
    published). One order of counts for all, so that no two batches can deadlock. `said` can be found by its keys."""
    heard_of = recent.remembered(said)
    stored = bulk.insert_of(labels, rows, conflict=["appeal_id"])
    counts = {
        "labelled": "count(*)",
        "in_review": "count(*) FILTER (WHERE needs_review)",
        "degraded": "count(*) FILTER (WHERE degraded)",
        "urgent": "count(*) FILTER (WHERE \"class\" = 'urgent')",
    }
    sums = ", ".join(f"{name} = t.{name} + excluded.{name}" for name in counts)
    found = await bulk.fetch(
        pg,
        bulk.Statement(
            f'WITH stored AS ({stored.sql} RETURNING t.appeal_id, t.model, t.needs_review, t.degraded, t."class"),'
            f" counted AS (INSERT INTO {label_counts.fullname} AS t (model, day, {', '.join(counts)})"
            f" SELECT model, ?::date, {', '.join(counts.values())} FROM stored GROUP BY model ORDER BY model"
            f" ON CONFLICT (model, day) DO UPDATE SET {sums})"
            + (f", said AS ({heard_of.sql})" if heard_of.sql else "")
            + " SELECT appeal_id FROM stored",
            (*stored.values, day, *heard_of.values),
        ),
    )
    return {row["appeal_id"] for row in found}


async def end_appeals(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note newer states of appeals: one that is withdrawn or declined needs no review any more."""
    await pg.execute(
        f"UPDATE {labels.fullname} AS t SET appeal_sequence = r.appeal_sequence, status = r.status,"
        " needs_review = t.needs_review AND r.status = 'received'"
        " FROM json_to_recordset($1::json) AS r(appeal_id text, appeal_sequence bigint, status text)"
        " WHERE t.appeal_id = r.appeal_id AND r.appeal_sequence > t.appeal_sequence",
        orjson.dumps(list(rows)).decode(),
    )
    await recent.forget(pg, [row["appeal_id"] for row in rows if row["status"] != "received"])


async def lock_labels(pg: Any, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Labels under their row locks, taken in one order."""
    rows = await pg.fetch(
        f"SELECT * FROM {labels.fullname} WHERE appeal_id = ANY($1) ORDER BY appeal_id FOR UPDATE",
        sorted(set(ids)),
    )
    return {row["appeal_id"]: row for row in rows}


async def label(pg: Any, appeal_id: str) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pg.fetchrow(
        f"SELECT * FROM {labels.fullname} WHERE appeal_id = $1", appeal_id
    )
    return row


async def put_reviewed(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    await bulk.update(pg, labels, rows, key=["appeal_id"])


async def propose_words(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Remember words that a dictionary may lack; a known proposal is seen once more."""
    await pg.execute(
        f"INSERT INTO {tag_proposals.fullname} AS t (id, tag, word, seen, status, created_at)"
        " SELECT id, tag, word, 1, 'open', created_at FROM json_to_recordset($1::json)"
        " AS r(id text, tag text, word text, created_at timestamptz)"
        " ORDER BY tag, word ON CONFLICT (tag, word) DO UPDATE SET seen = t.seen + 1",
        orjson.dumps(list(rows)).decode(),
    )


async def labels_out_of_step(pg: Any) -> int:
    """Labels whose number of published facts is not one plus their reviews (0 when all is well)."""
    return int(
        await pg.fetchval(
            f"SELECT count(*) FROM {labels.fullname} l LEFT JOIN"
            f" (SELECT appeal_id, count(*) AS n FROM {reviews.fullname} GROUP BY appeal_id) r USING (appeal_id)"
            " WHERE l.sequence <> 1 + coalesce(r.n, 0)"
        )
    )
