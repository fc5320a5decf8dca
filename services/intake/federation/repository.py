"""The SQL of hand-overs: how each stands, what is to be sent, nonces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson

from services.intake import tables
from shared.db import bulk
from shared.ids import uuid7

LEASE_S = 20
"""a message that is being sent is left alone by others for so long: longer than any try may take"""


@dataclass(slots=True, kw_only=True)
class Handover:
    """One row of `handoffs`; the columns say what each is."""

    id: str
    role: str
    sender: str
    receiver: str
    path: list[str]
    state: str
    appeal_id: str | None = None
    work_order_id: str | None = None
    digest: bytes | None = None
    body: str | None = None
    contact: str | None = None
    mirror: str | None = None
    told: str | None = None
    sequence: int = 0
    decision_seq: int = 0
    sent_seq: int = 0
    received_seq: int = 0
    offered_at: datetime
    updated_at: datetime

    def beside(self, own: str) -> tuple[str | None, str | None]:
        """The platforms before and after `own` on the path."""
        place = self.path.index(own)
        after = self.path[place + 1] if place + 1 < len(self.path) else None
        return (self.path[place - 1] if place else None), after

    @property
    def case(self) -> dict[str, Any]:
        """The case as it was offered, or what is known of it before."""
        return dict(orjson.loads(self.body)["case"]) if self.body else {}

    @property
    def part(self) -> dict[str, Any] | None:
        """The case when it is a part of joint work: at the sender what goes out instead of all that is known of it."""
        case = self.case
        return case if case.get("joint") else None

    def row(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


_COLUMNS = ", ".join(field.name for field in fields(Handover))


async def add(pg: Any, rows: Sequence[Handover]) -> set[str]:
    """Keep hand-overs that are new; returns their ids."""
    ordered = sorted((row.row() for row in rows), key=lambda row: row["id"])
    kept = await bulk.insert(pg, tables.handoffs, ordered, conflict=["id"], returning="id")
    return {row["id"] for row in kept}


async def lock(pg: Any, ids: Iterable[str]) -> dict[str, Handover]:
    """Hand-overs under their row locks, taken in one order."""
    rows = await pg.fetch(
        f"SELECT {_COLUMNS} FROM intake.handoffs WHERE id = ANY($1) ORDER BY id FOR UPDATE", sorted(set(ids))
    )
    return {row["id"]: Handover(**row) for row in rows}


async def appeals_of(pg: Any, ids: Iterable[str]) -> list[str]:
    """What came of hand-overs to here, in one order."""
    rows = await pg.fetch(
        "SELECT appeal_id FROM intake.handoffs WHERE id = ANY($1) AND appeal_id IS NOT NULL ORDER BY 1", list(ids)
    )
    return [row["appeal_id"] for row in rows]


async def read(pg: Any, handoff_id: str) -> Handover | None:
    row = await pg.fetchrow(f"SELECT {_COLUMNS} FROM intake.handoffs WHERE id = $1", handoff_id)
    return Handover(**row) if row else None


async def save(pg: Any, rows: Iterable[Handover]) -> None:
    await bulk.update(pg, tables.handoffs, [row.row() for row in rows], key=["id"])


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to another platform, leased to who holds it."""

    id: str
    handoff_id: str
    to_platform: str
    kind: str
    seq: int
    body: str | None
    attempts: int


async def enqueue(pg: Any, to: str, kind: str, handoff_id: str, seq: int, body: Mapping[str, Any] | None) -> None:
    """What is to be sent to a platform; one that waits already is left as it is. A receipt with a status says all that
    those before it said, so of these only what is on its way stays."""
    await pg.execute(
        "WITH outdated AS (DELETE FROM intake.peer_messages WHERE $7 AND handoff_id = $2 AND to_platform = $3"
        "   AND kind = $4 AND seq < $5 AND leased_until < now() AND body::json ->> 'status' IS NOT NULL)"
        " INSERT INTO intake.peer_messages (id, handoff_id, to_platform, kind, seq, body)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (handoff_id, to_platform, kind, seq) DO NOTHING",
        uuid7(),
        handoff_id,
        to,
        kind,
        seq,
        orjson.dumps(body).decode() if body is not None else None,
        body is not None and "status" in body,
    )


async def due_platforms(pg: Any) -> list[str]:
    """Platforms for which something may be sent now."""
    rows = await pg.fetch(
        "SELECT DISTINCT to_platform FROM intake.peer_messages WHERE next_at <= now() AND leased_until < now()"
    )
    return [row["to_platform"] for row in rows]


async def lease(pg: Any, platform: str, limit: int) -> list[Letter]:
    """The oldest message of each of up to `limit` hand-overs, what is due longest first: later ones of a hand-over wait
    for it."""
    rows = await pg.fetch(
        "UPDATE intake.peer_messages m SET leased_until = now() + make_interval(secs => $3), attempts = attempts + 1"
        " WHERE id IN (SELECT id FROM intake.peer_messages d WHERE to_platform = $1 AND next_at <= now()"
        "   AND leased_until < now() AND NOT EXISTS (SELECT 1 FROM intake.peer_messages e"
        "     WHERE e.handoff_id = d.handoff_id AND e.to_platform = d.to_platform AND e.id < d.id)"
        "   ORDER BY next_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, handoff_id, to_platform, kind, seq, body, attempts",
        platform,
        limit,
        float(LEASE_S),
    )
    return sorted((Letter(**row) for row in rows), key=lambda letter: letter.id)


async def keep_body(pg: Any, letter: Letter, body: str) -> None:
    await pg.execute("UPDATE intake.peer_messages SET body = $2 WHERE id = $1", letter.id, body)


async def delivered(pg: Any, letters: Sequence[Letter]) -> None:
    """These need not be sent any more; what was passed on keeps no contact data here, not even sealed."""
    await pg.execute("DELETE FROM intake.peer_messages WHERE id = ANY($1)", [letter.id for letter in letters])
    passed_on = [letter.handoff_id for letter in letters if letter.kind == "offer"]
    if passed_on:
        await pg.execute("UPDATE intake.handoffs SET contact = NULL WHERE id = ANY($1) AND role = 'relay'", passed_on)


async def again(pg: Any, waits: Mapping[str, tuple[float, str]]) -> None:
    """Send these again after so many seconds; the words say why."""
    await pg.execute(
        "UPDATE intake.peer_messages m SET leased_until = '-infinity', next_at = now() + make_interval(secs => r.wait),"
        " error = r.error FROM unnest($1::text[], $2::float8[], $3::text[]) AS r(id, wait, error) WHERE m.id = r.id",
        list(waits),
        [wait for wait, _ in waits.values()],
        [error[:300] for _, error in waits.values()],
    )


async def forget_offer(pg: Any, handoff_id: str) -> None:
    """An offer that was taken back need not be sent any more."""
    await pg.execute("DELETE FROM intake.peer_messages WHERE handoff_id = $1 AND kind = 'offer'", handoff_id)


async def clocks_of(pg: Any, order_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The clocks of orders as readers see them."""
    rows = await pg.fetch(
        "SELECT clocks FROM intake.case_clocks WHERE work_order_id = ANY($1::uuid[])", list(order_ids)
    )
    return [clock for row in rows if row["clocks"] for clock in orjson.loads(f"[{row['clocks']}]")]


async def case_of(pg: Any, appeal_id: str) -> dict[str, Any] | None:
    """What an offer is made of: the public snapshot, the label, the sealed record."""
    row = await pg.fetchrow(
        "SELECT a.snapshot::text AS snapshot, v.label, s.key_id, s.sealed FROM intake.appeals a"
        " JOIN intake.case_views v USING (appeal_id) JOIN intake.vault s USING (appeal_id)"
        " WHERE a.appeal_id = $1::uuid",
        appeal_id,
    )
    return dict(row) if row else None
