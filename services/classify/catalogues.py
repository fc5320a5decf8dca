"""The SQL of catalogue versions beside one another: pairs of codes, and labels counted as one version says them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from services.classify.matching import Proposal
from services.classify.tables import catalogue_pairs, catalogue_versions, labels
from shared.events.catalog.catalogues import CatalogueEvent, CatalogueVersion
from shared.outbox.uow import Uow

SHARED_CASES = 5
"""cases of one old matter that the new catalogue reads, at most"""
_VERSION_OF = """coalesce(l.catalogue_version, substring(l.label from '"catalogue_version":"([^"]*)"'))"""


async def tell(
    uow: Uow, platform: str, version: int, codes: Iterable[str], actor: str, kind: type[CatalogueEvent]
) -> None:
    """Publish what became of a version: others check by its codes which matters there are."""
    row = await uow.pg.fetchrow(
        "UPDATE classify.catalogue_versions SET told = told + 1 WHERE version = $1 RETURNING told, effective_from",
        version,
    )
    after = CatalogueVersion(
        platform=platform, version=version, codes=list(codes), effective_from=row["effective_from"]
    )
    uow.emit(kind(actor=actor, after=after), key=f"{platform}/{version}", sequence=row["told"])


async def untold(pg: Any) -> list[int]:
    """Versions that were activated before versions were published."""
    rows = await pg.fetch(
        "SELECT version FROM classify.catalogue_versions WHERE told = 0 AND effective_from IS NOT NULL ORDER BY version"
    )
    return [row["version"] for row in rows]


async def steps(pg: Any) -> list[tuple[str, str]]:
    """(version it was compared with, version) of every import that had one before it."""
    rows = await pg.fetch(
        f"SELECT compared_with, version FROM {catalogue_versions.fullname} WHERE compared_with IS NOT NULL"
    )
    return [(str(row["compared_with"]), str(row["version"])) for row in rows]


async def newest(pg: Any) -> list[int]:
    """Numbers of the last versions, the newest first."""
    rows = await pg.fetch(f"SELECT version FROM {catalogue_versions.fullname} ORDER BY version DESC LIMIT 8")
    return [row["version"] for row in rows]


async def first(pg: Any) -> int | None:
    """The version that set-up imported."""
    found: int | None = await pg.fetchval(f"SELECT min(version) FROM {catalogue_versions.fullname}")
    return found


async def csv_of(pg: Any, version: int) -> str | None:
    found: str | None = await pg.fetchval(f"SELECT csv FROM {catalogue_versions.fullname} WHERE version = $1", version)
    return found


async def compared(pg: Any, version: int, old: int) -> None:
    """Pairs of `version` lead from `old`."""
    await pg.execute(f"UPDATE {catalogue_versions.fullname} SET compared_with = $2 WHERE version = $1", version, old)


async def accepted(pg: Any, old: int, new: int) -> dict[str, str]:
    rows = await pg.fetch(
        f"SELECT old, new FROM {catalogue_pairs.fullname}"
        " WHERE new_version = $2 AND old_version = $1 AND state = 'accepted'",
        old,
        new,
    )
    return {row["old"]: row["new"] for row in rows}


async def give(pg: Any, old: int, new: int, pairs: Mapping[str, str], at: datetime, by: str) -> None:
    """Accept `pairs` (old code → new code) as their author gave them, in place of what was accepted of these codes."""
    await pg.execute(
        f"UPDATE {catalogue_pairs.fullname} SET state = 'open', decided_at = NULL, decided_by = NULL"
        " WHERE new_version = $2 AND old_version = $1 AND state = 'accepted' AND old = ANY($3)",
        old,
        new,
        list(pairs),
    )
    await pg.execute(
        f"INSERT INTO {catalogue_pairs.fullname} AS p"
        " (old_version, new_version, old, new, score, source, state, decided_at, decided_by)"
        " SELECT $1, $2, r.old, r.new, 1, 'given', 'accepted', $4, $5"
        " FROM json_to_recordset($3::json) AS r(old text, new text)"
        " ON CONFLICT (new_version, old_version, old, new) DO UPDATE SET state = 'accepted', source = 'given',"
        " decided_at = excluded.decided_at, decided_by = excluded.decided_by",
        old,
        new,
        orjson.dumps([{"old": one, "new": other} for one, other in pairs.items()]).decode(),
        at,
        by,
    )


async def put_proposals(pg: Any, old: int, new: int, found: Sequence[Proposal]) -> None:
    """Keep what is proposed now in place of the open proposals; what a person decided stays."""
    await pg.execute(
        f"DELETE FROM {catalogue_pairs.fullname}"
        " WHERE new_version = $2 AND old_version = $1 AND state = 'open' AND source = 'proposed'",
        old,
        new,
    )
    await pg.execute(
        f"INSERT INTO {catalogue_pairs.fullname}"
        " (old_version, new_version, old, new, score, words, meaning, shared, source, state)"
        " SELECT $1, $2, r.old, r.new, r.score, r.words, r.meaning, r.shared, 'proposed', 'open'"
        " FROM json_to_recordset($3::json)"
        " AS r(old text, new text, score real, words real, meaning real, shared real) ON CONFLICT DO NOTHING",
        old,
        new,
        orjson.dumps(found).decode(),
    )


async def pair(pg: Any, old_version: int, new_version: int, old: str, new: str) -> Mapping[str, Any] | None:
    """One pair under its lock."""
    row: Mapping[str, Any] | None = await pg.fetchrow(
        f"SELECT * FROM {catalogue_pairs.fullname}"
        " WHERE new_version = $2 AND old_version = $1 AND old = $3 AND new = $4 FOR UPDATE",
        old_version,
        new_version,
        old,
        new,
    )
    return row


async def decide_pair(pg: Any, row: Mapping[str, Any], state: str, at: datetime, by: str) -> None:
    await pg.execute(
        f"UPDATE {catalogue_pairs.fullname} SET state = $5, decided_at = $6, decided_by = $7"
        " WHERE new_version = $2 AND old_version = $1 AND old = $3 AND new = $4",
        row["old_version"],
        row["new_version"],
        row["old"],
        row["new"],
        state,
        at,
        by,
    )


async def accept_sure(pg: Any, old: int, new: int, at_least: float, at: datetime, by: str) -> int:
    """Accept the best open proposal of each old code that has none accepted, from a score on; returns how many."""
    best = await pg.fetch(
        f"SELECT DISTINCT ON (old) old, new, score FROM {catalogue_pairs.fullname}"
        " WHERE new_version = $2 AND old_version = $1 AND state = 'open' ORDER BY old, score DESC, new",
        old,
        new,
    )
    known = await accepted(pg, old, new)
    sure = [row for row in best if row["score"] >= at_least and row["old"] not in known]
    # each finds its row by the key: no plan compares all pairs with all
    await pg.execute(
        f"INSERT INTO {catalogue_pairs.fullname} AS p"
        " (old_version, new_version, old, new, score, source, state, decided_at, decided_by)"
        " SELECT $1, $2, r.old, r.new, 0, 'proposed', 'accepted', $5, $6"
        " FROM unnest($3::text[], $4::text[]) AS r(old, new)"
        " ON CONFLICT (new_version, old_version, old, new) DO UPDATE SET state = 'accepted',"
        " decided_at = excluded.decided_at, decided_by = excluded.decided_by",
        old,
        new,
        [row["old"] for row in sure],
        [row["new"] for row in sure],
        at,
        by,
    )
    return len(sure)


async def pairs(
    pg: Any, old: int, new: int, state: str | None, after: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """Pairs by old code, the likeliest first."""
    rows = await pg.fetch(
        "SELECT old, new, score, words, meaning, shared, source, state, decided_at, decided_by"
        f" FROM {catalogue_pairs.fullname} WHERE new_version = $2 AND old_version = $1"
        " AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR (old, new) > ($4, $5)) ORDER BY old, new"
        " LIMIT $6",
        old,
        new,
        state,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [dict(row) for row in rows]


async def counts(pg: Any, old: int, new: int) -> dict[str, int]:
    """Pairs by state."""
    rows = await pg.fetch(
        f"SELECT state, count(*) AS n FROM {catalogue_pairs.fullname} WHERE new_version = $2 AND old_version = $1"
        " GROUP BY state",
        old,
        new,
    )
    return {"open": 0, "accepted": 0, "rejected": 0} | {row["state"]: row["n"] for row in rows}


async def shared_cases(pg: Any, codes: Sequence[str]) -> list[tuple[str, str]]:
    """(matter, text) of a few cases of each of `codes`, those that a person has corrected first."""
    rows = await pg.fetch(
        "SELECT c.code, l.text FROM unnest($1::text[]) AS c(code) CROSS JOIN LATERAL ("
        f"SELECT text FROM (SELECT text, corrected, received_at FROM {labels.fullname} WHERE matter = c.code"
        "  ORDER BY received_at DESC LIMIT 50) recent ORDER BY corrected DESC, received_at DESC LIMIT $2) l",
        list(codes),
        SHARED_CASES,
    )
    return [(row["code"], row["text"]) for row in rows]


async def labelled(pg: Any, since: datetime, until: datetime) -> list[tuple[str, str, int]]:
    """(catalogue version, matter, labels) of what was received from `since` to before `until`."""
    rows = await pg.fetch(
        f"SELECT {_VERSION_OF} AS version, l.matter, count(*) AS n FROM {labels.fullname} l"
        " WHERE l.received_at >= $1 AND l.received_at < $2 GROUP BY 1, 2",
        since,
        until,
    )
    return [(row["version"], row["matter"], row["n"]) for row in rows]
