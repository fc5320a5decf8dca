"""Intake's SQL: what commands and projections read and write. Every method runs on the caller's transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.intake import streams, tables
from services.intake.streams import Columns, Streams
from shared.db import bulk
from shared.db.bulk import Statement
from shared.events.catalog.appeals import Appeal

Row = dict[str, Any]
_encoder = msgspec.json.Encoder()
_appeal = msgspec.json.Decoder(Appeal).decode


@dataclass(frozen=True, slots=True)
class Known:
    """An appeal that holds an external id already."""

    appeal_id: str
    body_digest: bytes
    reference_no: str
    received_at: datetime


@dataclass(slots=True)
class Held:
    """The row of a case under its lock. `label` and `feedback` are the new JSON of these streams, None for no news."""

    appeal_id: str
    streams: Streams
    columns: Columns
    """of `cases`, as they stand in the table"""
    label: str | None = None
    feedback: str | None = None
    changed: bool = False


def as_json(value: Any) -> orjson.Fragment:
    """A catalogue struct as JSON inside a row."""
    return orjson.Fragment(_encoder.encode(value))


async def claim_external_ids(pg: Any, rows: Sequence[Row]) -> set[bytes]:
    """Take (source platform, external id) pairs that are new for ever; returns the digests that were taken."""
    taken = await bulk.insert(
        pg,
        tables.external_keys,
        sorted(rows, key=lambda row: row["digest"]),  # one order for all, so that two writers cannot deadlock
        conflict=["digest"],
        returning="digest",
    )
    return {row["digest"] for row in taken}


async def release_external_ids(pg: Any, digests: Sequence[bytes]) -> None:
    """Give back pairs that this transaction took."""
    await pg.execute("DELETE FROM intake.external_keys WHERE digest = ANY($1)", digests)


async def known_external_ids(pg: Any, digests: Iterable[bytes]) -> dict[bytes, Known]:
    """Who holds the given pairs."""
    rows = await pg.fetch(
        "SELECT k.digest, k.appeal_id::text, k.body_digest, a.reference_no, a.received_at"
        " FROM intake.external_keys k JOIN intake.appeals a USING (appeal_id) WHERE k.digest = ANY($1)",
        list(digests),
    )
    return {
        row["digest"]: Known(row["appeal_id"], row["body_digest"], row["reference_no"], row["received_at"])
        for row in rows
    }


class Numbers:
    """The numbers in reference numbers, taken from the sequence in blocks: gaps are possible (a process that ends
    leaves one), repeats within a day of a million appeals are not."""

    BLOCK = 100

    def __init__(self) -> None:
        self._free: deque[int] = deque()

    async def take(self, pg: Any, count: int) -> list[int]:
        """The next `count` numbers."""
        while len(self._free) < count:
            rows = await pg.fetch(
                "SELECT nextval('intake.reference_numbers') AS number FROM generate_series(1, $1)",
                max(self.BLOCK, count - len(self._free)),
            )
            self._free.extend(row["number"] for row in rows)
        return [self._free.popleft() for _ in range(count)]


async def appeal_for_update(pg: Any, appeal_id: str) -> Row | None:
    """An appeal's snapshot, sequence and source platform, locked."""
    row = await pg.fetchrow(
        "SELECT sequence, snapshot, source_platform FROM intake.appeals WHERE appeal_id = $1::uuid FOR UPDATE",
        appeal_id,
    )
    return dict(row) if row else None


@dataclass(frozen=True, slots=True)
class Case:
    """What decides who sees an appeal, and what of it."""

    appeal: Appeal
    streams: Streams
    source_platform: str


async def case_of(pg: Any, appeal_id: str) -> Case | None:
    """A case without a lock."""
    row = await pg.fetchrow(
        "SELECT a.snapshot::text AS snapshot, a.source_platform, v.streams FROM intake.appeals a"
        " JOIN intake.case_views v USING (appeal_id) WHERE a.appeal_id = $1::uuid",
        appeal_id,
    )
    return Case(_appeal(row["snapshot"]), streams.decode(row["streams"]), row["source_platform"]) if row else None


async def scope_of(pg: Any, appeal_id: str) -> Row | None:
    """Region, units and source platform of an appeal: what row scope looks at."""
    row = await pg.fetchrow(
        "SELECT c.region_code, c.units, a.source_platform FROM intake.appeals a JOIN intake.cases c USING (appeal_id)"
        " WHERE a.appeal_id = $1::uuid",
        appeal_id,
    )
    return dict(row) if row else None


async def save_appeal(pg: Any, appeal: Appeal, sequence: int) -> None:
    """The next state of a locked appeal."""
    await pg.execute(
        "UPDATE intake.appeals SET sequence = $2, snapshot = $3 WHERE appeal_id = $1::uuid",
        appeal.id,
        sequence,
        _encoder.encode(appeal).decode(),
    )


async def sealed(pg: Any, appeal_id: str) -> tuple[str, bytes] | None:
    """Key id and sealed record of an appeal."""
    row = await pg.fetchrow("SELECT key_id, sealed FROM intake.vault WHERE appeal_id = $1::uuid", appeal_id)
    return (row["key_id"], row["sealed"]) if row else None


async def lock_cases(pg: Any, appeal_ids: Iterable[str]) -> dict[str, Held]:
    """Cases under their locks, taken in one order; ids that are not known are left out."""
    rows = await pg.fetch(
        "SELECT v.appeal_id::text AS id, v.streams FROM unnest($1::uuid[]) AS i(id)"
        " JOIN intake.case_views v ON v.appeal_id = i.id ORDER BY v.appeal_id FOR NO KEY UPDATE OF v",
        list(set(appeal_ids)),
    )
    held = {}
    for row in rows:
        known = streams.decode(row["streams"])
        held[row["id"]] = Held(row["id"], known, known.columns(row["id"]))
    return held


def saved_cases(held: Iterable[Held]) -> list[Statement]:
    """What writes the cases that changed; lists are touched only where they see a difference."""
    changed = [case for case in held if case.changed]
    if not changed:
        return []
    views = Statement(
        "UPDATE intake.case_views v SET streams = r.streams, order_ids = r.order_ids::uuid[],"
        " label = coalesce(r.label, v.label), feedback = coalesce(r.feedback, v.feedback)"
        " FROM unnest(?::uuid[], ?::text[], ?::text[], ?::text[], ?::text[])"
        " AS r(appeal_id, streams, order_ids, label, feedback) WHERE v.appeal_id = r.appeal_id",
        (
            [case.appeal_id for case in changed],
            [case.streams.encoded() for case in changed],
            [_array(order.id for order in case.streams.live(case.appeal_id)) for case in changed],
            [case.label for case in changed],
            [case.feedback for case in changed],
        ),
    )
    lists = []
    for case in changed:
        columns = case.streams.columns(case.appeal_id)
        if columns != case.columns:
            lists.append({"appeal_id": case.appeal_id, **columns._asdict()})
    return [views, bulk.update_of(tables.cases, lists, key=["appeal_id"])]


def _array(ids: Iterable[str]) -> str:
    return "{" + ",".join(ids) + "}"


def saved_clocks(rows: Sequence[Row]) -> Statement:
    """What keeps the clocks with the highest `sequence`, of the batch and of the table."""
    newest: dict[str, Row] = {}
    for row in rows:
        known = newest.get(row["work_order_id"])
        if known is None or known["sequence"] < row["sequence"]:
            newest[row["work_order_id"]] = row
    return bulk.insert_of(
        tables.case_clocks,
        [newest[name] for name in sorted(newest)],  # one lock order for all
        conflict=["work_order_id"],
        update=["sequence", "clocks"],
        where="excluded.sequence > t.sequence",
    )


def timeline_of(rows: Sequence[Row]) -> Statement:
    """What adds timeline items; one that is there stays."""
    return bulk.insert_of(tables.timeline, rows, conflict=["appeal_id", "event_id"])


async def cases_that_differ(pg: Any, appeal_ids: Sequence[str]) -> int:
    """How many of the cases are not in the lists as their streams say."""
    rows = await pg.fetch(
        "SELECT v.appeal_id::text AS id, v.streams, v.order_ids::text[], c.status, c.region_code, c.matter, c.tags,"
        " c.units FROM intake.case_views v JOIN intake.cases c USING (appeal_id) WHERE v.appeal_id = ANY($1::uuid[])",
        appeal_ids,
    )
    differing = len(appeal_ids) - len(rows)
    for row in rows:
        known = streams.decode(row["streams"])
        columns = Columns(row["status"], row["region_code"], row["matter"], row["tags"], row["units"])
        orders = [order.id for order in known.live(row["id"])]
        differing += known.columns(row["id"]) != columns or orders != row["order_ids"]
    return differing
