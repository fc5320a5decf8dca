"""The SQL of hand-overs; one is changed under its row lock, taken after that of its order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.dispatch import tables
from shared.db import bulk
from shared.db.where import Where
from shared.events.catalog.handoffs import Handoff
from shared.security.scope import Scope

_snapshots = msgspec.json.Decoder(Handoff)
_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class HeldHandoff:
    """A hand-over under its lock, as last published."""

    snapshot: Handoff
    sequence: int

    @property
    def id(self) -> str:
        return self.snapshot.id

    @property
    def state(self) -> str:
        return self.snapshot.state


def handoff_row(after: Handoff, sequence: int, text: str | None = None) -> dict[str, Any]:
    return {
        "id": after.id,
        "work_order_id": after.work_order_id,
        "platform": after.receiver,
        "path": after.path,
        "state": after.state,
        "sequence": sequence,
        "offered_at": after.offered_at,
        "snapshot": _json.encode(after).decode(),
        "text": text,
    }


async def new_handoffs(pg: Any, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keep hand-overs that are new; returns their ids."""
    kept = await bulk.insert(pg, tables.handoffs, rows, conflict=("id",), returning="id")
    return {row["id"] for row in kept}


async def orders_of_handoffs(pg: Any, ids: Iterable[str]) -> dict[str, str]:
    """The order of each hand-over that has one here."""
    rows = await pg.fetch(
        f"SELECT id, work_order_id FROM {tables.handoffs.fullname} WHERE id = ANY($1) AND work_order_id <> ''",
        sorted(set(ids)),
    )
    return {row["id"]: row["work_order_id"] for row in rows}


async def lock_handoffs(pg: Any, ids: Iterable[str]) -> list[HeldHandoff]:
    """Hand-overs under their row locks, in one order."""
    wanted = sorted(set(ids))
    if not wanted:
        return []
    rows = await pg.fetch(
        f"SELECT snapshot, sequence FROM {tables.handoffs.fullname} WHERE id = ANY($1) AND snapshot IS NOT NULL"
        " ORDER BY id FOR UPDATE",
        wanted,
    )
    return [HeldHandoff(_snapshots.decode(row["snapshot"]), row["sequence"]) for row in rows]


async def waiting_offers(pg: Any, own: str, scope: Scope, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Offers to `own` that a person takes or refuses, the oldest first: `id`, `snapshot`, and the redacted `text`."""
    where = Where("state = 'offered'", "sequence = 0")
    where.add("platform = ?", own)
    scope.narrow(where, region="snapshot::json ->> 'region_code'")
    if after:
        where.add("id > ?", after)
    sql = f"SELECT id, snapshot, text FROM {tables.handoffs.fullname} WHERE {where} ORDER BY id LIMIT {limit:d}"
    return [{**row, "snapshot": _snapshots.decode(row["snapshot"])} for row in await pg.fetch(sql, *where.values)]


async def save_handoff(pg: Any, after: Handoff, sequence: int) -> None:
    """The next state of a locked hand-over."""
    await pg.execute(
        f"UPDATE {tables.handoffs.fullname} SET state = $2, sequence = $3, snapshot = $4 WHERE id = $1",
        after.id,
        after.state,
        sequence,
        _json.encode(after).decode(),
    )
