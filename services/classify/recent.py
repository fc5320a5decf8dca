"""What was said lately, found by the place that it names and by its words. The SQL of `classify.recent`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from services.classify.domain.likeness import Said
from services.classify.tables import recent
from shared.db import bulk

PER_EVENT = 10
"""earlier appeals that name its place in similar words that a new one is compared with"""


async def heard(pg: Any, asked: Sequence[tuple[datetime, Sequence[int]]], days: int) -> list[list[Said]]:
    """For each (instant, keys) the appeals of the `days` before that have one of the keys, newest first."""
    found: list[list[Said]] = [[] for _ in asked]
    wanted = [
        {
            "n": n,
            "since": at - timedelta(days=days),
            "at": at,
            "from_day": (at - timedelta(days=days)).astimezone(UTC).date(),
            "to_day": at.astimezone(UTC).date(),
            "keys": list(keys),
        }
        for n, (at, keys) in enumerate(asked)
        if keys
    ]
    if not wanted:
        return found
    rows = await pg.fetch(
        "SELECT r.n, t.* FROM json_to_recordset($1::json) AS r"
        "(n int, since timestamptz, at timestamptz, from_day date, to_day date, keys int[])"
        f" CROSS JOIN LATERAL (SELECT appeal_id, received_at, pseudonym, region, sketch FROM {recent.fullname}"
        "  WHERE day BETWEEN r.from_day AND r.to_day AND keys && r.keys AND received_at BETWEEN r.since AND r.at"
        "  ORDER BY received_at DESC LIMIT $2) t",
        orjson.dumps(wanted).decode(),
        PER_EVENT,
    )
    for row in rows:
        n, appeal_id, received_at, pseudonym, region, sketch = row
        found[n].append(Said(appeal_id, received_at, pseudonym or "", region, sketch))
    return found


def remembered(said: Sequence[Said]) -> bulk.Statement:
    """Makes `said` be found by their keys for some days."""
    rows = [
        {
            "day": one.received_at.astimezone(UTC).date(),
            "appeal_id": one.appeal_id,
            "received_at": one.received_at,
            "pseudonym": one.pseudonym or None,
            "region": one.region,
            "keys": one.keys,
            "sketch": one.sketch,
        }
        for one in said
    ]
    return bulk.insert_of(recent, rows, conflict=["day", "appeal_id"])


async def forget(pg: Any, ids: Sequence[str]) -> None:
    """Withdrawn and declined appeals are no events to join."""
    await pg.execute(f"DELETE FROM {recent.fullname} WHERE appeal_id = ANY($1)", list(ids))
