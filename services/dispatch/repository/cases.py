"""The SQL of `cases`: what dispatch keeps of an appeal, read and written many at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from services.dispatch import tables
from services.dispatch.known import CaseState, KnownAppeal, KnownCase, KnownLabel
from shared.db import bulk
from shared.terms import vector

_appeals = msgspec.json.Decoder(KnownAppeal)
_labels = msgspec.json.Decoder(KnownLabel)
_json = msgspec.json.Encoder()

_STATE = "appeal_id, work_order_id, feedback_closed, second_handled"
_CASE = f"{_STATE}, appeal, label"


def _case(row: Mapping[str, Any]) -> KnownCase:
    return KnownCase(**{**row, "appeal": _appeal(row), "label": _label(row)})


def _appeal(row: Mapping[str, Any]) -> KnownAppeal | None:
    return _appeals.decode(row["appeal"]) if row["appeal"] else None


def _label(row: Mapping[str, Any]) -> KnownLabel | None:
    return _labels.decode(row["label"]) if row["label"] else None


async def remember_appeals(pg: Any, appeals: Mapping[str, tuple[int, KnownAppeal]]) -> list[KnownCase]:
    """Keep the newest snapshot of each appeal; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "appeal_sequence": sequence, "appeal": orjson.Fragment(_json.encode(appeal))}
        for key, (sequence, appeal) in sorted(appeals.items())
    ]
    changed = await _keep_newest(pg, rows, f"{_STATE}, label")
    return [KnownCase(**{**row, "label": _label(row)}, appeal=appeals[row["appeal_id"]][1]) for row in changed]


async def remember_labels(pg: Any, labels: Mapping[str, tuple[int, KnownLabel]]) -> list[KnownCase]:
    """Keep the newest label of each appeal; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "label_sequence": sequence, "label": orjson.Fragment(_json.encode(label))}
        for key, (sequence, label) in sorted(labels.items())
    ]
    changed = await _keep_newest(pg, rows, f"{_STATE}, appeal")
    return [KnownCase(**{**row, "appeal": _appeal(row)}, label=labels[row["appeal_id"]][1]) for row in changed]


async def remember_feedback(pg: Any, states: Mapping[str, tuple[int, bool]]) -> list[CaseState]:
    """Keep whether each appeal's feedback is closed; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "feedback_sequence": sequence, "feedback_closed": closed}
        for key, (sequence, closed) in sorted(states.items())
    ]
    return [CaseState(**row) for row in await _keep_newest(pg, rows, _STATE)]


async def _keep_newest(pg: Any, rows: Sequence[Mapping[str, Any]], returning: str) -> list[Any]:
    """Each of three streams owns two columns of a case: `<stream>_sequence` guards them."""
    _, sequence, value = rows[0]
    return await bulk.insert(
        pg,
        tables.cases,
        rows,
        conflict=("appeal_id",),
        update=(sequence, value),
        where=f"excluded.{sequence} > t.{sequence}",
        returning=returning,
    )


async def cases_of_orders(pg: Any, order_ids: Sequence[str]) -> dict[str, list[KnownCase]]:
    """The appeals of each order."""
    found: dict[str, list[KnownCase]] = {}
    for row in await pg.fetch(
        f"SELECT {_CASE} FROM {tables.cases.fullname} WHERE work_order_id = ANY($1) ORDER BY appeal_id", list(order_ids)
    ):
        found.setdefault(row["work_order_id"], []).append(_case(row))
    return found


async def closed_appeals(pg: Any, order_ids: Sequence[str]) -> dict[str, list[str]]:
    """The appeals of each order whose feedback is closed."""
    found: dict[str, list[str]] = {}
    for row in await pg.fetch(
        f"SELECT work_order_id, appeal_id FROM {tables.cases.fullname}"
        " WHERE work_order_id = ANY($1) AND feedback_closed ORDER BY appeal_id",
        list(order_ids),
    ):
        found.setdefault(row["work_order_id"], []).append(row["appeal_id"])
    return found


async def read_cases(pg: Any, appeal_ids: Iterable[str]) -> dict[str, KnownCase]:
    """Cases without a lock."""
    sql = f"SELECT {_CASE} FROM {tables.cases.fullname} WHERE appeal_id = ANY($1)"
    rows = await pg.fetch(sql, list(appeal_ids))
    return {row["appeal_id"]: _case(row) for row in rows}


async def lock_cases(pg: Any, appeal_ids: Iterable[str]) -> dict[str, KnownCase]:
    """Cases under their row locks, taken in one order."""
    sql = f"SELECT {_CASE} FROM {tables.cases.fullname} WHERE appeal_id = ANY($1) ORDER BY appeal_id FOR UPDATE"
    rows = await pg.fetch(sql, list(appeal_ids))
    return {row["appeal_id"]: _case(row) for row in rows}


def orders_of_cases(cases: Iterable[KnownCase]) -> tuple[bulk.Statement, bulk.Statement]:
    """Keep which order answers each appeal, and by which words it is found."""
    rows = [
        {"appeal_id": case.appeal_id, "work_order_id": case.work_order_id}
        for case in sorted(cases, key=lambda case: case.appeal_id)
    ]
    words = [
        {
            "work_order_id": case.work_order_id,
            "appeal_id": case.appeal_id,
            "search": vector(case.appeal.title, case.appeal.text),
        }
        for case in cases
        if case.appeal is not None
    ]
    return (
        bulk.update_of(tables.cases, rows, key=("appeal_id",)),
        bulk.insert_of(tables.order_words, words, conflict=("work_order_id", "appeal_id")),
    )


async def keep_attachments(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """The newest of each file."""
    await bulk.insert(
        pg,
        tables.attachments,
        rows,
        conflict=("id",),
        update=("sequence", "appeal_id", "removed"),
        where="excluded.sequence > t.sequence",
    )


async def appeals_of_files(pg: Any, ids: Sequence[str]) -> dict[str, str]:
    """The appeal of each file that is there."""
    sql = f"SELECT id, appeal_id FROM {tables.attachments.fullname} WHERE id = ANY($1) AND NOT removed"
    return {row["id"]: row["appeal_id"] for row in await pg.fetch(sql, list(ids))}


async def mark_second_handled(pg: Any, appeal_ids: Sequence[str]) -> None:
    await pg.execute(
        f"UPDATE {tables.cases.fullname} SET second_handled = true WHERE appeal_id = ANY($1)", list(appeal_ids)
    )
