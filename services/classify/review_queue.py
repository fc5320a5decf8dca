"""The review queue in SQL: who looks at what, persons' decisions, and how far two of them agree."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.classify.domain.catalogue import HandlingClass
from services.classify.tables import advice, labels, review_clocks, review_leases, reviews, second_opinions
from shared.db import bulk
from shared.db.where import Where
from shared.security.scope import Scope

LEASE = timedelta(minutes=10)
"""how long nobody else gets what a seat took; in real time"""
BLIND_SHARE = 0.02
"""so many reviews are given to a second person who does not know of the first: the first decision counts"""
BLIND_WITHIN = timedelta(hours=24)
_URGENCY = (HandlingClass.URGENT, HandlingClass.LIVELIHOOD, HandlingClass.COMPLEX, HandlingClass.GENERAL)
_SHOWN = ", ".join(
    f"a.{name}"
    for name in ("appeal_id", "reference_no", "received_at", "region_code", "title", "text", "review_reason")
)
"""columns of `labels a`"""
_CLOCK = "c.due_at AS clock_due_at, c.lamp AS clock_lamp, c.level AS clock_level"
_ADVICE = "v.state AS advice_state, v.model AS advice_model, v.matter AS advice_matter, v.why AS advice_why"


def is_blind(appeal_id: str) -> bool:
    """Whether a review is one of the few that a second person does, too: by the id, so that nobody can choose."""
    return zlib.crc32(appeal_id.encode()) % 10_000 < BLIND_SHARE * 10_000


async def listed(
    pg: Any, *, scope: Scope, handling_class: str | None, after: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:
    """Labels in `scope` that a person should look at, oldest first, with the seat that holds each at `now`."""
    where = Where("needs_review")
    scope.narrow(where, region="region_code")
    if handling_class is not None:
        where.add('"class" = ?', handling_class)
    if after is not None:
        where.add("appeal_id > ?", after)
    held = where.parameter(now)
    rows = await pg.fetch(
        f"SELECT l.*, h.seat AS leased_by, h.until AS leased_until, {_ADVICE}, {_CLOCK} FROM (SELECT {_SHOWN}, a.label"
        f" FROM {labels.fullname} a WHERE {where} ORDER BY appeal_id LIMIT {limit:d}) l"
        f" LEFT JOIN {review_leases.fullname} h ON h.appeal_id = l.appeal_id AND h.until > {held}"
        f" LEFT JOIN {advice.fullname} v ON v.appeal_id = l.appeal_id"
        f" LEFT JOIN {review_clocks.fullname} c ON c.appeal_id = l.appeal_id ORDER BY l.appeal_id",
        *where.values,
    )
    return [dict(row) for row in rows]


async def lease(
    pg: Any, seat: str, scope: Scope, handling_class: str | None, limit: int, now: datetime
) -> list[dict[str, Any]]:
    """Give a seat the next reviews that nobody holds at `now` (real time): a second opinion, if one is wanted of
    somebody else than those who decided, then urgent ones, then those whose review is overdue, the highest level of
    supervision first, then by class and age. Asking again prolongs what it holds."""
    found = await _lease_from(pg, seat, now, 1, _second_opinions(seat, scope, now))
    plain = f"SELECT l.appeal_id, l.label FROM {labels.fullname} l WHERE {{where}}"
    late = (
        f"SELECT l.appeal_id, l.label FROM {labels.fullname} l JOIN {review_clocks.fullname} c USING (appeal_id)"
        " WHERE c.lamp = 'red' AND {where}"
    )
    wanted = _URGENCY if handling_class is None else (HandlingClass(handling_class),)
    stages = [(plain, "l.appeal_id", [urgency]) for urgency in wanted]
    stages.insert(1 if wanted[0] is HandlingClass.URGENT else 0, (late, "c.level DESC, c.due_at", list(wanted)))
    for source, order, classes in stages:
        if len(found) >= limit:
            break
        where = Where("l.needs_review")
        if len(classes) == 1:
            where.add('l."class" = ?', classes[0].value)
        if found:
            where.add("l.appeal_id <> ALL(?)", [row["appeal_id"] for row in found])
        scope.narrow(where, region="l.region_code")
        found += await _lease_from(pg, seat, now, limit - len(found), (source, where, order))
    return found[:limit]


async def timed(pg: Any, rows: Sequence[dict[str, Any]]) -> None:
    """How late reviews are, as sla says; the newest of each appeal is kept."""
    await bulk.insert(
        pg,
        review_clocks,
        rows,
        conflict=("appeal_id",),
        update=("due_at", "lamp", "level", "sequence"),
        where="excluded.sequence > t.sequence",
    )


def _second_opinions(seat: str, scope: Scope, now: datetime) -> tuple[str, Where, str]:
    where = Where("l.actor IS NULL")
    where.add("l.first_actor <> ?", seat)
    where.add("l.asked_at > ?", now - BLIND_WITHIN)
    scope.narrow(where, region="l.region_code")
    return f"SELECT l.appeal_id, l.label FROM {second_opinions.fullname} l WHERE {{where}}", where, "l.asked_at"


async def _lease_from(
    pg: Any, seat: str, now: datetime, limit: int, source: tuple[str, Where, str]
) -> list[dict[str, Any]]:
    sql, where, order = source
    own, present, until = where.parameter(seat), where.parameter(now), where.parameter(now + LEASE)
    where.conditions.append(
        f"NOT EXISTS (SELECT FROM {review_leases.fullname} h WHERE h.appeal_id = l.appeal_id"
        f" AND h.until > {present} AND h.seat <> {own})"
    )
    rows = await pg.fetch(
        f"WITH free AS MATERIALIZED ({sql.format(where=where)} ORDER BY {order} LIMIT {limit:d}"
        " FOR UPDATE OF l SKIP LOCKED),"
        f" taken AS (INSERT INTO {review_leases.fullname} AS h SELECT appeal_id, {own}, {until} FROM free"
        " ON CONFLICT (appeal_id) DO UPDATE SET seat = excluded.seat, until = excluded.until"
        f" WHERE h.until <= {present} OR h.seat = excluded.seat RETURNING appeal_id, seat, until)"
        f" SELECT {_SHOWN}, free.label,"
        f" taken.seat AS leased_by, taken.until AS leased_until, {_ADVICE}, {_CLOCK}"
        f" FROM taken JOIN free USING (appeal_id) JOIN {labels.fullname} a USING (appeal_id)"
        f" LEFT JOIN {advice.fullname} v USING (appeal_id) LEFT JOIN {review_clocks.fullname} c USING (appeal_id)"
        " ORDER BY a.appeal_id",
        *where.values,
    )
    return [dict(row) for row in rows]


async def held_by(pg: Any, ids: Sequence[str], now: datetime) -> dict[str, str]:
    """The seat that holds each appeal at `now` (real time)."""
    rows = await pg.fetch(
        f"SELECT appeal_id, seat FROM {review_leases.fullname} WHERE appeal_id = ANY($1) AND until > $2", list(ids), now
    )
    return {row["appeal_id"]: row["seat"] for row in rows}


async def release(pg: Any, ids: Sequence[str]) -> None:
    """Nobody holds these any more."""
    for table in (review_leases, review_clocks):
        await pg.execute(f"DELETE FROM {table.fullname} WHERE appeal_id = ANY($1)", list(ids))


async def add(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep persons' decisions."""
    await bulk.insert(pg, reviews, rows)


async def ask_again(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Ask a second person about appeals that were just decided; `label` is what the first one saw."""
    await bulk.insert(pg, second_opinions, rows, conflict=["appeal_id"])


async def asked_again(pg: Any, ids: Sequence[str]) -> dict[str, str]:
    """Who decided first, of those appeals that wait for a second opinion."""
    rows = await pg.fetch(
        f"SELECT appeal_id, first_actor FROM {second_opinions.fullname}"
        " WHERE appeal_id = ANY($1) AND actor IS NULL FOR UPDATE",
        list(ids),
    )
    return {row["appeal_id"]: row["first_actor"] for row in rows}


async def add_opinions(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Second opinions: they change no label."""
    await bulk.update(pg, second_opinions, rows, key=["appeal_id"])
