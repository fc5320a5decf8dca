"""The SQL of feedback: cases are read and written many at once, under their row locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from services.feedback.domain import (
    Asking,
    CallingHours,
    Completion,
    FalseCompletion,
    Feedback,
    Medium,
    Method,
)
from services.feedback.tables import cases, links, rated
from shared.db import bulk
from shared.db.where import Where
from shared.security.principal import Principal

_feedback = msgspec.json.Decoder(Feedback)
_completions = msgspec.json.Decoder(list[Completion])
_strings = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Case:
    """One row of `cases`: how to ask (`asking` None: intake's event is still to come) and the feedback."""

    appeal_id: str
    feedback: Feedback
    asking: Asking | None = None
    tokens: list[str] = field(default_factory=list)
    early: list[Completion] = field(default_factory=list)
    reporter: str | None = None
    leased_by: str | None = None
    leased_until: datetime | None = None


_COLUMNS = "appeal_id, channel, groups, tokens, early, state, reporter, leased_by, leased_until"


def _case(row: Mapping[str, Any]) -> Case:
    asking, tokens = None, []
    if row["channel"] is not None:
        tokens = _strings.decode(row["tokens"])
        asking = Asking(row["channel"], frozenset(_strings.decode(row["groups"])), len(tokens))
    return Case(
        row["appeal_id"],
        feedback_of(row["state"]) if row["state"] else Feedback(row["appeal_id"]),
        asking,
        tokens,
        _completions.decode(row["early"]) if row["early"] else [],
        row["reporter"],
        row["leased_by"],
        row["leased_until"],
    )


def feedback_of(state: str) -> Feedback:
    """The aggregate from its column."""
    return _known(_feedback.decode(state))


def _known(feedback: Feedback) -> Feedback:
    """A state as the release before wrote it has the suspicion but not what it is about."""
    if not feedback.false_completion_suspected or feedback.false_completions:
        return feedback
    suspected = (FalseCompletion(r.number, r.closed_at) for r in feedback.rounds if r.contradicted and r.closed_at)
    return replace(feedback, false_completions=tuple(suspected))


def _json(value: Any) -> str:
    return _encode(value).decode()


async def remember_appeals(
    pg: Any, appeals: Sequence[tuple[str, str, Sequence[str], Sequence[str], str | None]]
) -> list[str]:
    """Keep how to ask: (appeal id, channel, groups, token hashes, pseudonym). Returns those for which a completion is
    waiting."""
    rows = [
        {"appeal_id": a, "channel": c, "groups": _json(g), "tokens": _json(t), "reporter": p}
        for a, c, g, t, p in appeals
    ]
    known = await bulk.insert(
        pg,
        cases,
        rows,
        conflict=("appeal_id",),
        update=("channel", "groups", "tokens", "reporter"),
        returning="appeal_id, early IS NOT NULL AS waits",
    )
    return [row["appeal_id"] for row in known if row["waits"]]


async def lock(pg: Any, appeal_ids: Iterable[str], *, create: bool = False) -> dict[str, Case]:
    """The cases under their row locks, taken in one order. `create`: rows for those not seen before."""
    ids = sorted(set(appeal_ids))
    query = f"SELECT {_COLUMNS} FROM {cases.fullname} WHERE appeal_id = ANY($1) ORDER BY appeal_id FOR UPDATE"
    found = await pg.fetch(query, ids)
    if create and len(found) < len(ids):
        missing = sorted(set(ids) - {row["appeal_id"] for row in found})
        await bulk.insert(pg, cases, [{"appeal_id": i} for i in missing], conflict=("appeal_id",))
        found += await pg.fetch(query, missing)
    return {row["appeal_id"]: _case(row) for row in found}


async def save(
    pg: Any, changed: Sequence[Case], hours: CallingHours, answered: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write cases back, with the rows of `rated`. A lease ends with the change; the columns of lists are derived here
    from the aggregate."""
    rows = []
    opened = []
    for case in changed:
        current = case.feedback.current
        asked = current if current is not None and current.open else None
        rows.append(
            {
                "appeal_id": case.appeal_id,
                "state": _json(case.feedback),
                "early": _json(case.early) if case.early else None,
                "status": case.feedback.status.value,
                "unit": current.completion.unit if current else None,
                "region_code": current.completion.region_code if current else None,
                "next_attempt_at": hours.next_attempt(asked) if asked else None,
                "medium": asked.seat_medium.value if asked and asked.seat_medium else None,
                "leased_by": None,
                "leased_until": None,
            }
        )
        if asked is not None and asked.method is Method.LINK:
            opened.append({"sha256": case.tokens[asked.number - 1], "appeal_id": case.appeal_id, "round": asked.number})
    await bulk.write(
        pg,
        bulk.update_of(cases, rows, key=("appeal_id",)),
        bulk.insert_of(links, opened, conflict=("sha256",)),
        bulk.insert_of(rated, answered, conflict=("appeal_id", "round")),
    )


async def find_links(pg: Any, hashes: Sequence[str]) -> dict[str, tuple[str, int]]:
    """(appeal id, round) by the hash of a token."""
    rows = await pg.fetch(f"SELECT sha256, appeal_id, round FROM {links.fullname} WHERE sha256 = ANY($1)", list(hashes))
    return {row["sha256"]: (row["appeal_id"], row["round"]) for row in rows}


async def read(pg: Any, appeal_id: str) -> Case | None:
    """A case without a lock."""
    row = await pg.fetchrow(f"SELECT {_COLUMNS} FROM {cases.fullname} WHERE appeal_id = $1", appeal_id)
    return _case(row) if row else None


_BY_MEDIUM = f"coalesce(medium, '{Medium.PHONE.value}') = ANY(?)"


async def list_callbacks(
    pg: Any,
    *,
    due_by: datetime | None,
    media: Sequence[str],
    who: Principal,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Case]:
    """Open call-backs in the scope of `who`, the next to call first. `due_by`: only those that may be made then."""
    where = Where("next_attempt_at IS NOT NULL")
    where.add(_BY_MEDIUM, list(media))
    who.scope.narrow(where, region="region_code", units="unit = ANY(?)")
    if due_by is not None:
        where.add("next_attempt_at <= ?", due_by)
    if after is not None:
        where.add("(next_attempt_at, appeal_id) > (?, ?)", *after)
    rows = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {cases.fullname} WHERE {where} ORDER BY next_attempt_at, appeal_id LIMIT {limit:d}",
        *where.values,
    )
    return [_case(row) for row in rows]


async def list_decisions(pg: Any, *, who: Principal, after: str, limit: int) -> list[Case]:
    """Cases in the scope of `who`, rated badly twice, that wait for the centre."""
    where = Where("status = 'awaiting_decision'")
    who.scope.narrow(where, region="region_code", units="unit = ANY(?)")
    where.add("appeal_id > ?", after)
    rows = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {cases.fullname} WHERE {where} ORDER BY appeal_id LIMIT {limit:d}", *where.values
    )
    return [_case(row) for row in rows]


async def lease(
    pg: Any, who: Principal, *, media: Sequence[str], due_by: datetime, until: datetime, now: datetime, limit: int
) -> list[Case]:
    """Give a seat the next call-backs that may be made at `due_by` and that nobody holds at `now` (real time)."""
    where = Where()
    where.add(_BY_MEDIUM, list(media))
    where.add("next_attempt_at <= ?", due_by)
    where.add("(leased_until IS NULL OR leased_until <= ?)", now)
    who.scope.narrow(where, region="region_code", units="unit = ANY(?)")
    by, to = where.parameter(who.sub), where.parameter(until)
    rows = await pg.fetch(
        f"UPDATE {cases.fullname} SET leased_by = {by}, leased_until = {to} WHERE appeal_id IN ("
        f"SELECT appeal_id FROM {cases.fullname} WHERE {where}"
        f" ORDER BY next_attempt_at, appeal_id LIMIT {limit:d} FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
        *where.values,
    )
    return sorted((_case(row) for row in rows), key=lambda case: case.appeal_id)
