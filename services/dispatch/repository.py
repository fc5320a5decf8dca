"""The SQL of dispatch: cases and orders are read and written many at once, under their row locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import msgspec
import orjson

from services.dispatch import tables
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.units import Unit
from services.dispatch.domain.work_order import WorkOrder
from shared.db import bulk


@dataclass(frozen=True, slots=True)
class KnownAppeal:
    """What dispatch keeps of intake's appeal; title and text are redacted."""

    reference_no: str
    status: str
    channel: str
    received_at: datetime
    taken_at: datetime | None
    region_code: str
    groups: tuple[str, ...]
    pseudonym: str | None
    kind: str | None
    title: str | None
    text: str


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """What dispatch keeps of classify's label."""

    matter: str
    matter_path: tuple[str, ...]
    handling_class: str
    kind: str
    region_code: str
    tags: tuple[str, ...]
    needs_review: bool
    reviewed_by: str | None
    repeat_of: str | None = None
    repeat_score: float = 0.0


@dataclass(slots=True)
class KnownCase:
    """One row of `cases`."""

    appeal_id: str
    appeal: KnownAppeal | None
    label: KnownLabel | None
    work_order_id: str | None
    feedback_closed: bool
    second_handled: bool


_orders = msgspec.json.Decoder(WorkOrder)
_appeals = msgspec.json.Decoder(KnownAppeal)
_labels = msgspec.json.Decoder(KnownLabel)
_units = msgspec.json.Decoder(list[Unit])
_json = msgspec.json.Encoder()

_CASE = "appeal_id, appeal, label, work_order_id, feedback_closed, second_handled"


def _case(row: Mapping[str, Any]) -> KnownCase:
    return KnownCase(
        row["appeal_id"],
        _appeals.decode(row["appeal"]) if row["appeal"] else None,
        _labels.decode(row["label"]) if row["label"] else None,
        row["work_order_id"],
        row["feedback_closed"],
        row["second_handled"],
    )


async def remember_appeals(pg: Any, appeals: Mapping[str, tuple[int, KnownAppeal]]) -> list[KnownCase]:
    """Keep the newest snapshot of each appeal; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "appeal_sequence": sequence, "appeal": orjson.Fragment(_json.encode(appeal))}
        for key, (sequence, appeal) in sorted(appeals.items())
    ]
    changed = await bulk.insert(
        pg,
        tables.cases,
        rows,
        conflict=("appeal_id",),
        update=("appeal_sequence", "appeal"),
        where="excluded.appeal_sequence > t.appeal_sequence",
        returning=_CASE,
    )
    return [_case(row) for row in changed]


async def remember_labels(pg: Any, labels: Mapping[str, tuple[int, KnownLabel]]) -> list[KnownCase]:
    """Keep the newest label of each appeal; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "label_sequence": sequence, "label": orjson.Fragment(_json.encode(label))}
        for key, (sequence, label) in sorted(labels.items())
    ]
    changed = await bulk.insert(
        pg,
        tables.cases,
        rows,
        conflict=("appeal_id",),
        update=("label_sequence", "label"),
        where="excluded.label_sequence > t.label_sequence",
        returning=_CASE,
    )
    return [_case(row) for row in changed]


async def remember_feedback(pg: Any, states: Mapping[str, tuple[int, bool]]) -> list[KnownCase]:
    """Keep whether each appeal's feedback is closed; returns the rows that it changed, locked."""
    rows = [
        {"appeal_id": key, "feedback_sequence": sequence, "feedback_closed": closed}
        for key, (sequence, closed) in sorted(states.items())
    ]
    changed = await bulk.insert(
        pg,
        tables.cases,
        rows,
        conflict=("appeal_id",),
        update=("feedback_sequence", "feedback_closed"),
        where="excluded.feedback_sequence > t.feedback_sequence",
        returning=_CASE,
    )
    return [_case(row) for row in changed]


async def cases_of_orders(pg: Any, order_ids: Sequence[str]) -> dict[str, list[KnownCase]]:
    """The appeals of each order."""
    found: dict[str, list[KnownCase]] = {}
    for row in await pg.fetch(
        f"SELECT {_CASE} FROM {tables.cases.fullname} WHERE work_order_id = ANY($1) ORDER BY appeal_id", list(order_ids)
    ):
        found.setdefault(row["work_order_id"], []).append(_case(row))
    return found


async def read_cases(pg: Any, appeal_ids: Iterable[str]) -> dict[str, KnownCase]:
    """Cases without a lock."""
    sql = f"SELECT {_CASE} FROM {tables.cases.fullname} WHERE appeal_id = ANY($1)"
    rows = await pg.fetch(sql, list(appeal_ids))
    return {row["appeal_id"]: _case(row) for row in rows}


async def assign_cases(pg: Any, orders: Mapping[str, str]) -> None:
    """Say which order answers each appeal."""
    rows = [{"appeal_id": appeal, "work_order_id": order} for appeal, order in sorted(orders.items())]
    await bulk.update(pg, tables.cases, rows, key=("appeal_id",))


async def mark_second_handled(pg: Any, appeal_ids: Sequence[str]) -> None:
    await pg.execute(
        f"UPDATE {tables.cases.fullname} SET second_handled = true WHERE appeal_id = ANY($1)", list(appeal_ids)
    )


async def lock_orders(pg: Any, ids: Iterable[str]) -> dict[str, WorkOrder]:
    """The orders under their row locks, taken in one order so that two transactions cannot wait for each other."""
    rows = await pg.fetch(
        f"SELECT id, state FROM {tables.work_orders.fullname} WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        sorted(set(ids)),
    )
    return {row["id"]: _orders.decode(row["state"]) for row in rows}


def _row(order: WorkOrder, at: datetime) -> dict[str, Any]:
    return {
        "id": order.id,
        "version": order.version,
        "status": order.status.value,
        "lead": order.lead,
        "co_handlers": order.co_handlers,
        "class": order.handling_class.value,
        "matter": order.matter,
        "region_code": order.region_code,
        "opened_at": order.opened_at,
        "updated_at": at,
        "state": orjson.Fragment(_json.encode(order)),
    }


async def insert_orders(pg: Any, orders: Sequence[WorkOrder], at: datetime) -> None:
    await bulk.insert(pg, tables.work_orders, [_row(order, at) for order in orders])


async def update_orders(pg: Any, orders: Sequence[WorkOrder], at: datetime) -> None:
    await bulk.update(pg, tables.work_orders, [_row(order, at) for order in orders], key=("id",))


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows a caller may see; None: no limit of that kind. `regions` are prefixes of region codes."""

    units: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters of the list of orders (api.md, dispatch)."""

    unit: str | None = None
    status: str | None = None
    lamp: str | None = None
    handling_class: str | None = None
    region: str | None = None
    matter: str | None = None
    words: str | None = None


class _Where:
    """Conditions with their numbered parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        for value in values:
            self.values.append(value)
            condition = condition.replace("?", f"${len(self.values)}", 1)
        self.conditions.append(condition)

    def scope(self, scope: Scope, lead: str, region: str, *, helpers: bool) -> None:
        if scope.units is not None:
            if helpers:
                self.add(f"({lead} = ANY(?) OR (co_handlers && ? AND co_handlers <> '{{}}'))", *[list(scope.units)] * 2)
            else:
                self.add(f"{lead} = ANY(?)", list(scope.units))
        if scope.regions is not None:
            self.add(f"{region} LIKE ANY(?)", [f"{prefix}%" for prefix in scope.regions])

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"


async def list_orders(
    pg: Any, wanted: Wanted, scope: Scope, after: str | None, limit: int
) -> list[tuple[WorkOrder, str]]:
    """Newest first, with the lamp; `limit` rows after the id `after`."""
    where = _Where()
    where.scope(scope, "w.lead", "w.region_code", helpers=True)
    if wanted.unit:
        where.add("(w.lead = ? OR (co_handlers @> ARRAY[?] AND co_handlers <> '{}'))", wanted.unit, wanted.unit)
    if wanted.status:
        where.add("w.status = ?", wanted.status)
    if wanted.handling_class:
        where.add('w."class" = ?', wanted.handling_class)
    if wanted.region:
        where.add("w.region_code LIKE ?", f"{wanted.region}%")
    if wanted.matter:
        where.add("w.matter LIKE ?", f"{wanted.matter}%")
    if wanted.lamp == "green":
        where.add("coalesce(l.lamp, 'green') = 'green'")
    elif wanted.lamp:
        where.add("l.lamp = ?", wanted.lamp)
    if wanted.words:
        words = "%" + wanted.words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        where.add(
            f"EXISTS (SELECT 1 FROM {tables.cases.fullname} c WHERE c.work_order_id = w.id AND c.appeal LIKE ?)", words
        )
    if after:
        where.add("w.id < ?", after)
    rows = await pg.fetch(
        f"SELECT w.state, coalesce(l.lamp, 'green') AS lamp FROM {tables.work_orders.fullname} w"
        f" LEFT JOIN {tables.lamps.fullname} l ON l.work_order_id = w.id WHERE {where}"
        f" ORDER BY w.id DESC LIMIT {limit:d}",
        *where.values,
    )
    return [(_orders.decode(row["state"]), row["lamp"]) for row in rows]


async def read_order(pg: Any, order_id: str) -> tuple[WorkOrder, str] | None:
    """An order without a lock, with its lamp."""
    row = await pg.fetchrow(
        f"SELECT w.state, coalesce(l.lamp, 'green') AS lamp FROM {tables.work_orders.fullname} w"
        f" LEFT JOIN {tables.lamps.fullname} l ON l.work_order_id = w.id WHERE w.id = $1",
        order_id,
    )
    return (_orders.decode(row["state"]), row["lamp"]) if row else None


async def open_orders(pg: Any, leads: Sequence[str]) -> dict[str, int]:
    """Open orders by lead."""
    rows = await pg.fetch(
        f"SELECT lead, count(*) AS n FROM {tables.work_orders.fullname} WHERE lead = ANY($1)"
        " AND status = ANY(ARRAY['dispatched','accepted','reopened','suspended']) GROUP BY lead",
        list(leads),
    )
    return {row["lead"]: row["n"] for row in rows}


async def waiting_orders(pg: Any, after: str, limit: int) -> list[WorkOrder]:
    """Orders that nobody has accepted yet, in the order of their ids: what a change of units or rules would move."""
    rows = await pg.fetch(
        f"SELECT state FROM {tables.work_orders.fullname} WHERE status = 'dispatched' AND id > $1 ORDER BY id LIMIT $2",
        after,
        limit,
    )
    return [_orders.decode(row["state"]) for row in rows]


# --- lamps ---------------------------------------------------------------------------------------------------------


async def save_lamps(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    await bulk.insert(
        pg,
        tables.lamps,
        rows,
        conflict=("work_order_id",),
        update=("sequence", "lamp", "level", "complete_due_at"),
        where="excluded.sequence > t.sequence",
    )


async def lamps_of(pg: Any, order_ids: Sequence[str]) -> dict[str, tuple[str, datetime | None]]:
    """The lamp of each order and when its `complete` clock is due, as far as sla said so."""
    rows = await pg.fetch(
        f"SELECT work_order_id, lamp, complete_due_at FROM {tables.lamps.fullname} WHERE work_order_id = ANY($1)",
        list(order_ids),
    )
    return {row["work_order_id"]: (row["lamp"], row["complete_due_at"]) for row in rows}


# --- disputes and approvals ------------------------------------------------------------------------------------------


async def list_disputes(
    pg: Any, status: str | None, scope: Scope, after: str | None, limit: int
) -> list[dict[str, Any]]:
    where = _Where()
    if scope.units is not None:
        where.add("units && ?", list(scope.units))
    where.scope(Scope(regions=scope.regions), "", "region_code", helpers=False)
    if status:
        where.add("status = ?", status)
    if after:
        where.add("id < ?", after)
    sql = f"SELECT * FROM {tables.disputes.fullname} WHERE {where} ORDER BY id DESC LIMIT {limit:d}"
    return [dict(row) for row in await pg.fetch(sql, *where.values)]


async def orders_of(pg: Any, table: str, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(order id, status) of disputes or approvals by their ids."""
    fullname = {"disputes": tables.disputes, "approvals": tables.approvals}[table].fullname
    rows = await pg.fetch(f"SELECT id, work_order_id, status FROM {fullname} WHERE id = ANY($1)", list(ids))
    return {row["id"]: (row["work_order_id"], row["status"]) for row in rows}


async def list_approvals(
    pg: Any, status: str | None, scope: Scope, after: str | None, limit: int
) -> list[dict[str, Any]]:
    where = _Where()
    where.scope(scope, "unit", "region_code", helpers=False)
    if status:
        where.add("status = ?", status)
    if after:
        where.add("id < ?", after)
    sql = f"SELECT * FROM {tables.approvals.fullname} WHERE {where} ORDER BY id DESC LIMIT {limit:d}"
    return [dict(row) for row in await pg.fetch(sql, *where.values)]


# --- units and duties ------------------------------------------------------------------------------------------------


async def registry_versions(pg: Any) -> dict[str, int]:
    rows = await pg.fetch(f"SELECT name, version FROM {tables.registries.fullname}")
    return {row["name"]: row["version"] for row in rows}


async def set_registry(pg: Any, name: str, version: int | None = None) -> int:
    """Make `version` (or the next one) the version in force; every process reads it anew before its next batch."""
    number: int = await pg.fetchval(
        f"INSERT INTO {tables.registries.fullname} AS t (name, version) VALUES ($1, coalesce($2::bigint, 1))"
        " ON CONFLICT (name) DO UPDATE SET version = coalesce($2::bigint, t.version + 1) RETURNING version",
        name,
        version,
    )
    return number


async def read_units(pg: Any, version: int) -> list[Unit] | None:
    """The units of one imported version; None when there is no such version."""
    raw = await pg.fetchval(f"SELECT units::text FROM {tables.unit_versions.fullname} WHERE version = $1", version)
    return _units.decode(raw) if raw is not None else None


async def add_units(pg: Any, units: Sequence[Unit], source: str, by: str, at: datetime) -> int:
    """Store a version that is not in force yet; returns its number."""
    number: int = await pg.fetchval(
        f"INSERT INTO {tables.unit_versions.fullname} (units, source, created_at, created_by)"
        " VALUES ($1::jsonb, $2, $3, $4) RETURNING version",
        _json.encode(units).decode(),
        source,
        at,
        by,
    )
    return number


async def activate_units(pg: Any, version: int, by: str, at: datetime) -> None:
    await pg.execute(
        f"UPDATE {tables.unit_versions.fullname} SET activated_at = $2, activated_by = $3 WHERE version = $1",
        version,
        at,
        by,
    )
    await set_registry(pg, "units", version)


async def read_duties(pg: Any) -> tuple[Duty, ...]:
    rows = await pg.fetch(f"SELECT * FROM {tables.duties.fullname} ORDER BY id")
    return tuple(duty_of(row) for row in rows)


def duty_of(row: Mapping[str, Any]) -> Duty:
    return Duty(
        id=row["id"],
        kind=DutyKind(row["kind"]),
        matter=row["matter"],
        region_code=row["region_code"],
        lead=row["lead"],
        co_handlers=tuple(row["co_handlers"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        from_time=row["from_time"],
        to_time=row["to_time"],
        source=row["source"],
        note=row["note"],
    )


def _day(value: date | time | None) -> str | None:
    return value.isoformat() if value is not None else None


async def add_duties(pg: Any, duties: Sequence[Duty], by: str, at: datetime) -> None:
    """Add entries; one that is there already stays as it is."""
    rows = [
        {
            "id": duty.id,
            "kind": duty.kind.value,
            "matter": duty.matter,
            "region_code": duty.region_code,
            "lead": duty.lead,
            "co_handlers": duty.co_handlers,
            "valid_from": _day(duty.valid_from),
            "valid_to": _day(duty.valid_to),
            "from_time": _day(duty.from_time),
            "to_time": _day(duty.to_time),
            "source": duty.source,
            "note": duty.note,
            "created_at": at,
            "created_by": by,
        }
        for duty in duties
    ]
    await bulk.insert(pg, tables.duties, rows, conflict=("id",))
    await set_registry(pg, "duties")


async def list_duties(
    pg: Any, matter: str | None, region: str | None, kind: str | None, after: str | None, limit: int
) -> list[dict[str, Any]]:
    where = _Where()
    if matter:
        where.add("matter LIKE ?", f"{matter}%")
    if region:
        where.add("region_code LIKE ?", f"{region}%")
    if kind:
        where.add("kind = ?", kind)
    if after:
        where.add("id > ?", after)
    sql = f"SELECT * FROM {tables.duties.fullname} WHERE {where} ORDER BY id LIMIT {limit:d}"
    return [dict(row) for row in await pg.fetch(sql, *where.values)]
