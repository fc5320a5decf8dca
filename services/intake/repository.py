"""Intake's SQL: what commands and projections read and write. Every method runs on the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.intake import tables
from services.intake.domain.case import OrderFact
from shared.db import bulk
from shared.events.catalog.appeals import Appeal

Row = dict[str, Any]
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Known:
    """An appeal that holds an external id already."""

    appeal_id: str
    body_digest: bytes
    reference_no: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What the projection of one case is derived from."""

    own_status: str
    labelled: bool
    needs_review: bool
    feedback_closed_on: str | None
    orders: Sequence[OrderFact]
    matter: str | None
    tags: list[str]
    region_code: str
    units: list[str]


Derive = Callable[[Facts], tuple[str, str, str | None, list[str], list[str]]]
"""status, region, matter, tags and units of a case"""


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


async def numbers(pg: Any, count: int) -> list[int]:
    """The next numbers for reference numbers; gaps are possible, repeats within a day of a million appeals are not."""
    rows = await pg.fetch("SELECT nextval('intake.reference_numbers') AS number FROM generate_series(1, $1)", count)
    return [row["number"] for row in rows]


async def appeal_for_update(pg: Any, appeal_id: str) -> Row | None:
    """An appeal's snapshot and sequence with its case's status, units and region, locked."""
    row = await pg.fetchrow(
        "SELECT a.appeal_id::text AS id, a.sequence, a.snapshot, a.source_platform, c.status, c.units, c.region_code"
        " FROM intake.appeals a JOIN intake.cases c USING (appeal_id) WHERE a.appeal_id = $1::uuid"
        " FOR UPDATE OF a",
        appeal_id,
    )
    return dict(row) if row else None


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


async def set_own_status(pg: Any, appeal_id: str, status: str) -> None:
    """Intake's own part of the case's status."""
    await pg.execute("UPDATE intake.cases SET own_status = $2 WHERE appeal_id = $1::uuid", appeal_id, status)


async def sealed(pg: Any, appeal_id: str) -> tuple[str, bytes] | None:
    """Key id and sealed record of an appeal."""
    row = await pg.fetchrow("SELECT key_id, sealed FROM intake.vault WHERE appeal_id = $1::uuid", appeal_id)
    return (row["key_id"], row["sealed"]) if row else None


async def open_orders(pg: Any, appeal_id: str) -> list[Row]:
    """Lead and co-handlers of the orders that answer the appeal and are not ended."""
    rows = await pg.fetch(
        "SELECT o.lead, o.co_handlers FROM intake.order_appeals oa JOIN intake.case_orders o USING (work_order_id)"
        " WHERE oa.appeal_id = $1::uuid AND $1::uuid = ANY(o.appeal_ids)"
        " AND o.status NOT IN ('closed', 'cancelled', 'handed_off')",
        appeal_id,
    )
    return [dict(row) for row in rows]


async def feedback_is_open(pg: Any, appeal_id: str) -> bool:
    """Whether the citizen of this appeal is being asked."""
    return bool(
        await pg.fetchval(
            "SELECT 1 FROM intake.case_feedback WHERE appeal_id = $1::uuid AND status <> 'closed'", appeal_id
        )
    )


async def upsert_newest(pg: Any, table: Any, rows: Sequence[Row], key: str) -> None:
    """Keep the row with the highest `sequence`, of the batch and of the table."""
    newest: dict[Any, Row] = {}
    for row in rows:
        held = newest.get(row[key])
        if held is None or held["sequence"] < row["sequence"]:
            newest[row[key]] = row
    columns = [name for name in rows[0] if name != key] if rows else []
    await bulk.insert(
        pg,
        table,
        [newest[name] for name in sorted(newest)],  # one lock order for all
        conflict=[key],
        update=columns,
        where="excluded.sequence > t.sequence",
    )


async def join_appeals(pg: Any, pairs: Iterable[tuple[str, str]]) -> None:
    """Remember which appeals an order answers, or once answered: (appeal, work order)."""
    rows = [{"appeal_id": appeal_id, "work_order_id": order_id} for appeal_id, order_id in sorted(pairs)]
    await bulk.insert(pg, tables.order_appeals, rows, conflict=["appeal_id", "work_order_id"])


async def add_timeline(pg: Any, rows: Sequence[Row]) -> None:
    """Timeline items; one that is there stays."""
    await bulk.insert(pg, tables.timeline, rows, conflict=["appeal_id", "event_id"])


async def derive_cases(pg: Any, appeal_ids: Iterable[str], derive: Derive) -> None:
    """Lock the cases, read the facts of every stream and write what `derive(facts)` makes of them.

    The lock comes in a statement of its own: the facts read after it include what the transaction that held it wrote.
    """
    ids = sorted(set(appeal_ids))
    if not ids:
        return
    await pg.execute(
        "SELECT 1 FROM intake.cases WHERE appeal_id = ANY($1::uuid[]) ORDER BY appeal_id FOR NO KEY UPDATE", ids
    )
    await bulk.update(pg, tables.cases, await cases_to_change(pg, ids, derive), key=["appeal_id"])


async def cases_to_change(pg: Any, appeal_ids: Sequence[str], derive: Derive) -> list[Row]:
    """Those of the cases whose row is not what `derive` makes of the facts, as they should be."""
    changed = []
    for row in await pg.fetch(_FACTS, appeal_ids):
        after = derive(_facts(row))
        if after != (row["status"], row["region_code"], row["matter"], row["tags"], row["units"]):
            columns = ("status", "region_code", "matter", "tags", "units")
            changed.append({"appeal_id": row["id"], **dict(zip(columns, after, strict=True))})
    return changed


_FACTS = """
SELECT c.appeal_id::text AS id, c.status, c.own_status, c.region_code, c.matter, c.tags, c.units,
  l.matter AS label_matter, l.tags AS label_tags, l.region_code AS label_region, l.needs_review,
  CASE f.status WHEN 'closed' THEN f.feedback->>'work_order_id' END AS feedback_closed_on, o.orders
FROM intake.cases c
LEFT JOIN intake.case_labels l USING (appeal_id)
LEFT JOIN intake.case_feedback f USING (appeal_id)
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_array(o.work_order_id, o.status, o.opened_at, o.in_review, o.appeal_ids[1] = c.appeal_id,
    o.parent_id IS NOT NULL, o.lead, o.co_handlers)) AS orders
  FROM intake.order_appeals oa JOIN intake.case_orders o USING (work_order_id)
  WHERE oa.appeal_id = c.appeal_id AND c.appeal_id = ANY(o.appeal_ids)) o ON true
WHERE c.appeal_id = ANY($1::uuid[])
"""


def _facts(row: Any) -> Facts:
    orders = row["orders"] or []
    units: dict[str, None] = {}
    for _, status, _, _, _, _, lead, co_handlers in orders:
        if status != "cancelled":
            units.update(dict.fromkeys((lead, *co_handlers)))
    labelled = row["label_matter"] is not None
    return Facts(
        own_status=row["own_status"],
        labelled=labelled,
        needs_review=bool(row["needs_review"]),
        feedback_closed_on=row["feedback_closed_on"],
        orders=[
            OrderFact(order_id, status, datetime.fromisoformat(opened_at), in_review, first, part)
            for order_id, status, opened_at, in_review, first, part, _, _ in orders
        ],
        matter=row["label_matter"],
        tags=list(row["label_tags"] or ()),
        region_code=row["label_region"] if labelled else row["region_code"],
        units=list(units),
    )
