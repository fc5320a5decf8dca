"""The SQL of sentences with a safety word that persons judged to be no danger: the next same sentence raises no alarm,
and is looked at by a person (domain.md, Classification: a person may lower it)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.classify.domain.catalogue import HandlingClass
from services.classify.domain.safety import clause, safety_hits
from services.classify.tables import safety_examples
from shared.db import bulk
from shared.events.catalog.labels import Label
from shared.ids import uuid7

KEPT = 5_000
"""examples in use, the newest"""


def examples_of(
    before: Label, after: Label, title: str | None, text: str, actor: str, at: datetime
) -> list[dict[str, Any]]:
    """What a person's decision says about the safety words of a text: that they are no danger, when it was urgent by
    them and is no longer."""
    urgent = HandlingClass.URGENT.value
    if before.handling_class != urgent or after.handling_class == urgent or not before.safety_words:
        return []
    words = f"{title}。{text}" if title and not text.startswith(title) else text
    clauses: dict[str, list[str]] = {}
    for hit in safety_hits(words):
        clauses.setdefault(clause(words, hit), []).append(hit.word)
    return [
        {
            "id": uuid7(),
            "clause": said,
            "words": found,
            "appeal_id": before.appeal_id,
            "state": "used",
            "at": at,
            "actor": actor,
        }
        for said, found in clauses.items()
        if said
    ]


async def remember(pg: Any, rows: list[dict[str, Any]]) -> None:
    await bulk.insert(pg, safety_examples, rows)


async def in_use(pg: Any) -> frozenset[str]:
    """Sentences that raise nothing; one that a person took back counts no more, however often it was lowered."""
    rows = await pg.fetch(
        f"SELECT DISTINCT clause FROM (SELECT clause FROM {safety_examples.fullname} WHERE state = 'used'"
        " ORDER BY id DESC LIMIT $1) newest"
        f" WHERE clause NOT IN (SELECT clause FROM {safety_examples.fullname} WHERE state = 'undone')",
        KEPT,
    )
    return frozenset(row["clause"] for row in rows)


async def listed(pg: Any, after: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest first."""
    rows = await pg.fetch(
        f"SELECT id, clause, words, appeal_id, state, at, actor FROM {safety_examples.fullname}"
        " WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        after,
        limit,
    )
    return [dict(row) for row in rows]


async def decide(pg: Any, example: str, state: str, actor: str, at: datetime) -> bool:
    """Take an example out of use, or back; False when there is none."""
    found = await pg.fetchval(
        f"UPDATE {safety_examples.fullname} SET state = $2, decided_by = $3, decided_at = $4 WHERE id = $1"
        " RETURNING id",
        example,
        state,
        actor,
        at,
    )
    return found is not None
