"""The SQL of tags and of what is proposed about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson

from services.classify.domain.labels import TagDefinition, TagFamily, TagState, TagTier
from services.classify.tables import appeal_units, labels, reviews, tag_months, tag_proposals, tags
from services.classify.tag_care.finding import Found, Told
from shared.db import bulk
from shared.ids import uuid7

READ = 20_000
"""labels of a time that are read, the newest"""
_COLUMNS = ("code", "name", "family", "tier", "words", "state", "valid_from", "valid_to", "merged_into")
_TYPES = "code text, name text, family text, tier text, words text[], state text, valid_from timestamptz, valid_to"
_TYPES += " timestamptz, merged_into text"


def definition_of(row: Mapping[str, Any]) -> TagDefinition:
    return TagDefinition(
        row["code"],
        row["name"],
        TagFamily(row["family"]),
        TagTier(row["tier"]),
        tuple(row["words"]),
        TagState(row["state"]),
        row["valid_from"],
        row["valid_to"],
        row["merged_into"],
    )


def row_of(tag: TagDefinition) -> dict[str, Any]:
    """As JSON types."""
    return {
        "code": tag.code,
        "name": tag.name,
        "family": tag.family.value,
        "tier": tag.tier.value,
        "words": list(tag.words),
        "state": tag.state.value,
        "valid_from": tag.valid_from.isoformat() if tag.valid_from else None,
        "valid_to": tag.valid_to.isoformat() if tag.valid_to else None,
        "merged_into": tag.merged_into,
    }


async def definitions(pg: Any) -> list[TagDefinition]:
    """All tags by code, retired ones too."""
    rows = await pg.fetch(f"SELECT {', '.join(_COLUMNS)} FROM {tags.fullname} ORDER BY code")
    return [definition_of(row) for row in rows]


async def put(pg: Any, some: Sequence[TagDefinition], at: datetime, by: str) -> dict[str, int]:
    """Add or replace tags (each code once); returns the version of each."""
    changed = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
    rows = await pg.fetch(
        f"INSERT INTO {tags.fullname} AS t ({', '.join(_COLUMNS)}, version, updated_at, updated_by)"
        f" SELECT {', '.join(_COLUMNS)}, 1, $2, $3 FROM json_to_recordset($1::json) AS r({_TYPES}) ORDER BY code"
        f" ON CONFLICT (code) DO UPDATE SET {changed}, version = t.version + 1, updated_at = excluded.updated_at,"
        " updated_by = excluded.updated_by RETURNING code, version",
        orjson.dumps([row_of(one) for one in some]).decode(),
        at,
        by,
    )
    return {row["code"]: row["version"] for row in rows}


async def young(pg: Any, since: datetime) -> set[str]:
    """Tags that were added or changed since `since`."""
    rows = await pg.fetch(f"SELECT code FROM {tags.fullname} WHERE updated_at >= $1", since)
    return {row["code"] for row in rows}


async def told(pg: Any, since: datetime, until: datetime) -> list[Told]:
    """Labels of a time, the newest `READ` of them. The texts are redacted ones."""
    rows = await pg.fetch(
        "SELECT appeal_id, received_at, coalesce(title || '。', '') || text AS text, pseudonym, matter, label"
        f" FROM {labels.fullname} WHERE received_at >= $1 AND received_at < $2 ORDER BY appeal_id DESC LIMIT $3",
        since,
        until,
        READ,
    )
    found = []
    for row in rows:
        label = orjson.loads(row["label"])
        codes = tuple(tag["code"] for tag in label["tags"])
        text, reporter = row["text"], row["pseudonym"] or ""
        found.append(Told(row["appeal_id"], row["received_at"], text, reporter, row["matter"], codes))
    return found


async def handled(pg: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Remember which unit got an appeal's order last."""
    changed = ("unit", "order_id", "sequence")
    # another order of the appeal is a later one; of the same order the higher sequence wins
    newer = "t.order_id <> excluded.order_id OR excluded.sequence > t.sequence"
    await bulk.insert(pg, appeal_units, rows, conflict=("appeal_id",), update=changed, where=newer)


async def propose(pg: Any, found: Sequence[Found], at: datetime) -> int:
    """Keep proposals; what is known gets its present counts, what was decided stays so. Returns how many are new."""
    rows = await pg.fetch(
        f"INSERT INTO {tag_proposals.fullname} AS t"
        " (id, kind, tag, word, seen, status, created_at, score, detail, examples)"
        " SELECT id, kind, tag, word, seen, 'open', $2, score, detail, examples FROM json_to_recordset($1::json)"
        " AS r(id text, kind text, tag text, word text, seen int, score real, detail jsonb, examples jsonb)"
        " ON CONFLICT (tag, word) DO UPDATE SET seen = excluded.seen, score = excluded.score,"
        " detail = excluded.detail, examples = excluded.examples WHERE t.status = 'open' RETURNING xmax = 0 AS fresh",
        orjson.dumps(
            [
                {
                    "id": uuid7(),
                    "kind": one.kind.value,
                    "tag": one.tag,
                    "word": one.word,
                    "seen": int(one.detail.get("appeals", 0)),
                    "score": one.score,
                    "detail": one.detail,
                    "examples": list(one.examples),
                }
                for one in found
            ]
        ).decode(),
        at,
    )
    return sum(row["fresh"] for row in rows)


async def listed(pg: Any, kind: str | None, status: str, after: str | None, limit: int) -> list[dict[str, Any]]:
    rows = await pg.fetch(
        "SELECT id, kind, tag, word, seen, score, detail::text, examples::text, status, created_at, decided_at,"
        f" decided_by FROM {tag_proposals.fullname} WHERE status = $1 AND ($2::text IS NULL OR kind = $2)"
        " AND ($3::text IS NULL OR id > $3) ORDER BY id LIMIT $4",
        status,
        kind,
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def lock(pg: Any, proposal_id: str) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await pg.fetchrow(
        "SELECT id, kind, tag, word, status, detail::text, before::text"
        f" FROM {tag_proposals.fullname} WHERE id = $1 FOR UPDATE",
        proposal_id,
    )
    return row


async def decide(pg: Any, proposal_id: str, status: str, before: Any, at: datetime, by: str) -> None:
    """`before`: the tags that the acceptance changed, as they were (None for a new one), by code."""
    await pg.execute(
        f"UPDATE {tag_proposals.fullname} SET status = $2, before = $3::jsonb, decided_at = $4, decided_by = $5"
        " WHERE id = $1",
        proposal_id,
        status,
        orjson.dumps(before).decode() if before is not None else None,
        at,
        by,
    )


async def begin_month(pg: Any, month: date, at: datetime) -> bool:
    """Whether nobody has looked through this month yet; takes it."""
    taken = await pg.fetchval(
        f"INSERT INTO {tag_months.fullname} (month, at, labels, proposals) VALUES ($1, $2, 0, 0)"
        " ON CONFLICT DO NOTHING RETURNING month",
        month,
        at,
    )
    return taken is not None


async def end_month(pg: Any, month: date, labels_read: int, proposals: int) -> None:
    await pg.execute(
        f"UPDATE {tag_months.fullname} SET labels = $2, proposals = $3 WHERE month = $1", month, labels_read, proposals
    )


async def quality(pg: Any, now: datetime, days: int) -> list[dict[str, Any]]:
    """Per unit (the one that leads or led the appeal's order; empty: unknown): labels, those with a tag, and what
    reviewers kept, added and took away."""
    rows = await pg.fetch(
        "WITH said AS (SELECT l.appeal_id, coalesce(u.unit, '') AS unit,"
        " (l.label::json -> 'tags')::text <> '[]' AS tagged"
        f" FROM {labels.fullname} l LEFT JOIN {appeal_units.fullname} u USING (appeal_id) WHERE l.received_at >= $1),"
        " judged AS (SELECT s.unit, cardinality(ARRAY(SELECT unnest(r.tags_before) INTERSECT"
        "  SELECT unnest(r.tags_after))) AS kept, cardinality(r.tags_before) AS set, cardinality(r.tags_after) AS meant"
        f" FROM {reviews.fullname} r JOIN said s USING (appeal_id) WHERE r.sequence = 2)"
        " SELECT c.*, coalesce(j.reviewed, 0) AS reviewed, coalesce(j.kept, 0) AS kept, coalesce(j.set, 0) AS set,"
        "  coalesce(j.meant, 0) AS meant FROM (SELECT unit, count(*) AS labels,"
        "  count(*) FILTER (WHERE tagged) AS tagged FROM said GROUP BY unit) c"
        " LEFT JOIN (SELECT unit, count(*) AS reviewed, sum(kept)::bigint AS kept, sum(set)::bigint AS set,"
        "  sum(meant)::bigint AS meant FROM judged GROUP BY unit) j USING (unit) ORDER BY unit",
        now - timedelta(days=days),
    )
    return [dict(row) for row in rows]
