"""The SQL of what the centre judges, 剔除 and 虚假办结: rows beside the cases, for lists and statistics."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.feedback.domain import Exclusion, Fact, FalseCompletion, Feedback, Review
from services.feedback.repository import feedback_of
from services.feedback.tables import JUDGED, cases, exclusions, false_completions
from shared.db import bulk
from shared.db.where import Where
from shared.security.principal import Principal

_review = msgspec.json.Decoder(Review)


def _columns(one: Exclusion | FalseCompletion) -> dict[str, Any]:
    return {
        "state": one.state,
        "decided_by": one.decided_by,
        "decision": one.decision,
        "decided_at": one.decided_at,
        "review": msgspec.json.encode(one.review).decode() if one.review else None,
        "review_state": one.review.state if one.review else None,
    }


async def save(pg: Any, told: Sequence[Fact]) -> None:
    """Keep the last word of everything judged that the facts speak of."""
    asked: dict[str, dict[str, Any]] = {}
    suspected: dict[tuple[str, int], dict[str, Any]] = {}
    for fact in told:
        appeal_id, one = fact.after.appeal_id, fact.about
        if isinstance(one, Exclusion):
            first = {
                "id": one.id,
                "appeal_id": appeal_id,
                "unit": one.unit,
                "reason": one.reason,
                "evidence": one.evidence,
                "asked_by": fact.actor,  # of the request: kept from the first row
                "asked_at": one.asked_at,
            }
            asked[one.id] = {**first, **asked.get(one.id, {}), **_columns(one)}
        elif isinstance(one, FalseCompletion):
            completion = next(r.completion for r in fact.after.rounds if r.number == one.round)
            suspected[appeal_id, one.round] = {
                "appeal_id": appeal_id,
                "round": one.round,
                "work_order_id": completion.work_order_id,
                "unit": completion.unit,
                "suspected_at": one.suspected_at,
                **_columns(one),
            }
    await bulk.write(
        pg,
        bulk.insert_of(exclusions, list(asked.values()), conflict=("id",), update=JUDGED),
        bulk.insert_of(false_completions, list(suspected.values()), conflict=("appeal_id", "round"), update=JUDGED),
    )


async def appeal_of_exclusion(pg: Any, exclusion_id: str) -> str | None:
    found: str | None = await pg.fetchval(f"SELECT appeal_id FROM {exclusions.fullname} WHERE id = $1", exclusion_id)
    return found


async def list_exclusions(
    pg: Any, *, state: str | None, review: str | None, who: Principal, after: str, limit: int
) -> list[dict[str, Any]]:
    """Requests in the scope of `who`, by id; `review` is a `Review` or None."""
    where = _where(state, review, who)
    where.add("j.id > ?", after)
    rows = await pg.fetch(
        f"SELECT j.* FROM {exclusions.fullname} j JOIN {cases.fullname} c USING (appeal_id)"
        f" WHERE {where} ORDER BY j.id LIMIT {limit:d}",
        *where.values,
    )
    return [_read(row) for row in rows]


async def list_false_completions(
    pg: Any, *, state: str | None, review: str | None, who: Principal, after: tuple[str, int], limit: int
) -> list[tuple[dict[str, Any], Feedback]]:
    """Suspected and decided false completions in the scope of `who`, by appeal and round, each with its feedback."""
    where = _where(state, review, who)
    where.add("(j.appeal_id, j.round) > (?, ?)", *after)
    rows = await pg.fetch(
        f"SELECT j.*, c.state AS feedback FROM {false_completions.fullname} j JOIN {cases.fullname} c USING (appeal_id)"
        f" WHERE {where} ORDER BY j.appeal_id, j.round LIMIT {limit:d}",
        *where.values,
    )
    return [(_read(row), feedback_of(row["feedback"])) for row in rows]


def _where(state: str | None, review: str | None, who: Principal) -> Where:
    where = Where()
    who.scope.narrow(where, region="c.region_code", units="j.unit = ANY(?)")
    if state is not None:
        where.add("j.state = ?", state)
    if review is not None:
        where.add("j.review_state = ?", review)
    return where


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in row.items() if name not in ("feedback", "review_state")}
    return facts | {"review": _review.decode(row["review"]) if row["review"] else None}


async def statistics(
    pg: Any, *, since: datetime, until: datetime, who: Principal
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Requests made from `since` to before `until` in the scope of `who`: by the unit that asked, and by who decided
    first (a review's overturning counts against that decision). Both by how many, the most first."""
    where = _where(None, None, who)
    where.add("j.asked_at >= ?", since)
    where.add("j.asked_at < ?", until)
    source = f"{exclusions.fullname} j JOIN {cases.fullname} c USING (appeal_id) WHERE {where}"
    reviewed = (
        "count(j.review_state)::int AS reviews,"
        " count(*) FILTER (WHERE j.review_state = 'overturned')::int AS overturned"
    )
    units = await pg.fetch(
        "SELECT j.unit, count(*)::int AS asked, count(*) FILTER (WHERE j.state = 'requested')::int AS waiting,"
        " count(*) FILTER (WHERE j.state = 'granted')::int AS granted,"
        f" count(*) FILTER (WHERE j.state = 'refused')::int AS refused, {reviewed}"
        f" FROM {source} GROUP BY j.unit ORDER BY asked DESC, j.unit",
        *where.values,
    )
    # an overturned decision was the other way round at first
    granted = "(j.state = 'granted') IS DISTINCT FROM (coalesce(j.review_state, '') = 'overturned')"
    deciders = await pg.fetch(
        "SELECT j.decided_by, count(*)::int AS decided,"
        f" count(*) FILTER (WHERE {granted})::int AS granted,"
        f" count(*) FILTER (WHERE NOT ({granted}))::int AS refused, {reviewed}"
        f" FROM {source} AND j.decided_by IS NOT NULL GROUP BY j.decided_by ORDER BY decided DESC, j.decided_by",
        *where.values,
    )
    return [dict(row) for row in units], [dict(row) for row in deciders]
