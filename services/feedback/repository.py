"""The SQL of feedback: cases are read and written many at once, under their row locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from services.feedback.domain import Asking, CallingHours, Completion, Fact, FactKind, Feedback, Method
from services.feedback.tables import cases, exclusions, links
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
    leased_by: str | None = None
    leased_until: datetime | None = None


_COLUMNS = "appeal_id, channel, groups, tokens, early, state, leased_by, leased_until"


def _case(row: Mapping[str, Any]) -> Case:
    asking, tokens = None, []
    if row["channel"] is not None:
        tokens = _strings.decode(row["tokens"])
        asking = Asking(row["channel"], frozenset(_strings.decode(row["groups"])), len(tokens))
    return Case(
        row["appeal_id"],
        _feedback.decode(row["state"]) if row["state"] else Feedback(row["appeal_id"]),
        asking,
        tokens,
        _completions.decode(row["early"]) if row["early"] else [],
        row["leased_by"],
        row["leased_until"],
    )


def _json(value: Any) -> str:
    return _encode(value).decode()


async def remember_appeals(pg: Any, appeals: Sequence[tuple[str, str, Sequence[str], Sequence[str]]]) -> list[str]:
    """Keep how to ask: (appeal id, channel, groups, token hashes). Returns those for which a completion is waiting."""
    rows = [{"appeal_id": a, "channel": c, "groups": _json(g), "tokens": _json(t)} for a, c, g, t in appeals]
    known = await bulk.insert(
        pg,
        cases,
        rows,
        conflict=("appeal_id",),
        update=("channel", "groups", "tokens"),
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


async def save(pg: Any, changed: Sequence[Case], hours: CallingHours) -> None:
    """Write cases back. A lease ends with the change; the columns of lists are derived here from the aggregate."""
    rows = []
    opened = []
    for case in changed:
        current = case.feedback.current
        asked = current if current is not None and current.open else None
        calling = asked if asked is not None and asked.method is Method.CALLBACK else None
        rows.append(
            {
                "appeal_id": case.appeal_id,
                "state": _json(case.feedback),
                "early": _json(case.early) if case.early else None,
                "status": case.feedback.status.value,
                "unit": current.completion.unit if current else None,
                "region_code": current.completion.region_code if current else None,
                "next_attempt_at": hours.next_attempt(calling) if calling else None,
                "leased_by": None,
                "leased_until": None,
            }
        )
        if asked is not None and asked.method is Method.LINK:
            opened.append({"sha256": case.tokens[asked.number - 1], "appeal_id": case.appeal_id, "round": asked.number})
    await bulk.write(
        pg, bulk.update_of(cases, rows, key=("appeal_id",)), bulk.insert_of(links, opened, conflict=("sha256",))
    )


async def find_links(pg: Any, hashes: Sequence[str]) -> dict[str, tuple[str, int]]:
    """(appeal id, round) by the hash of a token."""
    rows = await pg.fetch(f"SELECT sha256, appeal_id, round FROM {links.fullname} WHERE sha256 = ANY($1)", list(hashes))
    return {row["sha256"]: (row["appeal_id"], row["round"]) for row in rows}


async def read(pg: Any, appeal_id: str) -> Case | None:
    """A case without a lock."""
    row = await pg.fetchrow(f"SELECT {_COLUMNS} FROM {cases.fullname} WHERE appeal_id = $1", appeal_id)
    return _case(row) if row else None


async def list_callbacks(
    pg: Any, *, due_by: datetime | None, who: Principal, after: tuple[datetime, str] | None, limit: int
) -> list[Case]:
    """Open call-backs in the scope of `who`, the next to call first. `due_by`: only those that may be made then."""
    where = Where("next_attempt_at IS NOT NULL")
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


async def lease(pg: Any, who: Principal, *, due_by: datetime, until: datetime, now: datetime, limit: int) -> list[Case]:
    """Give a seat the next call-backs that may be made at `due_by` and that nobody holds at `now` (real time)."""
    where = Where()
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


async def save_exclusions(pg: Any, told: Sequence[Fact]) -> None:
    """Keep the requests and decisions among the facts, for lists and statistics."""
    requested = [(f, e) for f in told if f.kind is FactKind.EXCLUSION_REQUESTED and (e := f.after.exclusion)]
    decided = [(f, e) for f in told if f.kind is FactKind.EXCLUSION_DECIDED and (e := f.after.exclusion)]
    await bulk.insert(
        pg,
        exclusions,
        [
            {
                "id": e.id,
                "appeal_id": fact.after.appeal_id,
                "unit": e.unit,
                "state": "requested",
                "reason": e.reason,
                "evidence": e.evidence,
                "asked_by": fact.actor,
                "asked_at": e.asked_at,
            }
            for fact, e in requested
        ],
        conflict=("id",),
    )
    await bulk.update(
        pg,
        exclusions,
        [
            {
                "id": e.id,
                "state": "granted" if e.granted else "refused",
                "decided_by": fact.actor,
                "decision": e.decision,
                "decided_at": fact.at,
            }
            for fact, e in decided
        ],
        key=("id",),
    )


async def appeal_of_exclusion(pg: Any, exclusion_id: str) -> str | None:
    found: str | None = await pg.fetchval(f"SELECT appeal_id FROM {exclusions.fullname} WHERE id = $1", exclusion_id)
    return found


async def list_exclusions(
    pg: Any, *, state: str | None, who: Principal, after: str, limit: int
) -> list[dict[str, Any]]:
    """Requests in the scope of `who`, by id."""
    where = Where()
    where.add("e.id > ?", after)
    who.scope.narrow(where, region="c.region_code", units="e.unit = ANY(?)")
    if state is not None:
        where.add("e.state = ?", state)
    rows = await pg.fetch(
        f"SELECT e.* FROM {exclusions.fullname} e JOIN {cases.fullname} c USING (appeal_id)"
        f" WHERE {where} ORDER BY e.id LIMIT {limit:d}",
        *where.values,
    )
    return [dict(row) for row in rows]
