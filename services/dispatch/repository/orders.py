"""The SQL of work orders, lamps, disputes and approvals; orders are changed under their row locks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import orjson

from services.dispatch import tables
from services.dispatch.domain.work_order import UNFINISHED, WorkOrder
from shared import terms
from shared.db import bulk, months
from shared.db.where import Where, prefixed
from shared.ids import instant_of
from shared.security.scope import Scope, prefix

_orders = msgspec.json.Decoder(WorkOrder)
_json = msgspec.json.Encoder()
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lamp:
    """What sla says of an order: its lamp, and when its `complete` clock is due while that runs."""

    lamp: str = "green"
    complete_due_at: datetime | None = None


async def lock_orders(pg: Any, ids: Iterable[str]) -> dict[str, tuple[WorkOrder, Lamp]]:
    """The orders under their row locks, taken in one order so that two transactions cannot wait for each other."""
    rows = await pg.fetch(
        f"SELECT w.id, w.state, coalesce(l.lamp, 'green') AS lamp, l.complete_due_at"
        f" FROM {tables.work_orders.fullname} w LEFT JOIN {tables.lamps.fullname} l ON l.work_order_id = w.id"
        " WHERE w.id = ANY($1) ORDER BY w.id FOR UPDATE OF w",
        sorted(set(ids)),
    )
    return {row["id"]: (_orders.decode(row["state"]), Lamp(row["lamp"], row["complete_due_at"])) for row in rows}


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


def new_orders(orders: Sequence[WorkOrder], at: datetime) -> bulk.Statement:
    return bulk.insert_of(tables.work_orders, [_row(order, at) for order in orders])


def changed_orders(orders: Sequence[WorkOrder], at: datetime) -> bulk.Statement:
    return bulk.update_of(tables.work_orders, [_row(order, at) for order in orders], key=("id",))


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


async def list_orders(
    pg: Any, wanted: Wanted, scope: Scope, after: str | None, limit: int
) -> list[tuple[WorkOrder, str]]:
    """Newest first, with the lamp; `limit` rows after the id `after`."""
    where = Where()
    scope.narrow(
        where, region="w.region_code", units="(w.lead = ANY(?) OR (w.co_handlers && ? AND w.co_handlers <> '{}'))"
    )
    if wanted.unit:
        where.add("(w.lead = ? OR (w.co_handlers @> ARRAY[?] AND w.co_handlers <> '{}'))", wanted.unit)
    if wanted.status:
        where.add("w.status = ?", wanted.status)
    if wanted.handling_class:
        where.add('w."class" = ?', wanted.handling_class)
    if wanted.region:
        where.add("w.region_code LIKE ?", prefixed(prefix(wanted.region)))
    if wanted.matter:
        where.add("w.matter LIKE ?", prefixed(wanted.matter))
    if wanted.lamp == "green":
        where.add("coalesce(l.lamp, 'green') = 'green'")
    elif wanted.lamp:
        where.add("l.lamp = ?", wanted.lamp)
    if after:
        where.add("w.id < ?", after)
    rows: list[Any] = []
    for low, high in months.newest_first(_month_of(after)):
        window = where.copy()
        if low is not None:
            window.add("w.id >= ?", str(low))
        if high is not None:
            window.add("w.id < ?", str(high))
        if wanted.words:
            upper = after if after and (high is None or after < str(high)) else high
            _add_words(window, wanted.words, low, upper)
        rows += await pg.fetch(
            f"SELECT w.state, coalesce(l.lamp, 'green') AS lamp FROM {tables.work_orders.fullname} w"
            f" LEFT JOIN {tables.lamps.fullname} l ON l.work_order_id = w.id WHERE {window}"
            f" ORDER BY w.id DESC LIMIT {limit - len(rows):d}",
            *window.values,
        )
        if len(rows) >= limit:
            break
    return [(_orders.decode(row["state"]), row["lamp"]) for row in rows]


def _month_of(after: str | None) -> datetime:
    """Where a walk through the months begins: at the last row that was seen, else now."""
    now = datetime.now(UTC)
    try:
        return max(min(now, instant_of(after)), _BEGINNING) if after else now
    except ValueError:
        return now


def _add_words(where: Where, words: str, low: UUID | None, high: UUID | str | None) -> None:
    """Orders one of whose appeals holds all the words; runs of Chinese characters side by side."""
    query = terms.query(words)
    if query is None:
        where.add("?::text IS NULL", words)  # nothing can match blanks and punctuation
        return
    parts, values = ["x.search @@ ?::tsquery"], [query]
    for condition, bound in (("x.work_order_id >= ?", low), ("x.work_order_id < ?", high)):
        if bound is not None:
            parts.append(condition)
            values.append(str(bound))
    for run in terms.long_runs(words):
        parts.append("position(? IN c.appeal) > 0")
        values.append(run)
    where.add(
        f"w.id IN (SELECT x.work_order_id FROM {tables.order_words.fullname} x JOIN {tables.cases.fullname} c"
        f" ON c.appeal_id = x.appeal_id AND c.work_order_id = x.work_order_id WHERE {' AND '.join(parts)})",
        *values,
    )


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


async def waiting_orders(pg: Any, after: str, limit: int) -> list[tuple[WorkOrder, str]]:
    """Orders that nobody has accepted yet with the text of their first appeal, in the order of their ids: what a change
    of units or rules would move."""
    rows = await pg.fetch(
        f"SELECT w.state, c.appeal::json ->> 'text' AS text FROM {tables.work_orders.fullname} w"
        f" LEFT JOIN {tables.cases.fullname} c ON c.appeal_id = w.state::json -> 'appeal_ids' ->> 0"
        " WHERE w.status = 'dispatched' AND w.id > $1 ORDER BY w.id LIMIT $2",
        after,
        limit,
    )
    return [(_orders.decode(row["state"]), row["text"] or "") for row in rows]


async def unfinished_orders(pg: Any, after: str, limit: int) -> list[tuple[WorkOrder, str]]:
    """Orders that nobody has completed with the text of their first appeal, in the order of their ids."""
    rows = await pg.fetch(
        f"SELECT w.state, c.appeal::json ->> 'text' AS text FROM {tables.work_orders.fullname} w"
        f" LEFT JOIN {tables.cases.fullname} c ON c.appeal_id = w.state::json -> 'appeal_ids' ->> 0"
        " WHERE w.status = ANY($3) AND w.id > $1 ORDER BY w.id LIMIT $2",
        after,
        limit,
        [status.value for status in UNFINISHED],
    )
    return [(_orders.decode(row["state"]), row["text"] or "") for row in rows]


async def save_lamps(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    await bulk.insert(
        pg,
        tables.lamps,
        rows,
        conflict=("work_order_id",),
        update=("sequence", "lamp", "level", "complete_due_at"),
        where="excluded.sequence > t.sequence",
    )


_DISPUTES = (
    f"SELECT d.*, w.state FROM {tables.disputes.fullname} d"
    f" JOIN {tables.work_orders.fullname} w ON w.id = d.work_order_id"
)


async def list_disputes(
    pg: Any, status: str | None, scope: Scope, after: str | None, limit: int
) -> list[tuple[dict[str, Any], WorkOrder]]:
    """Newest first, each with its order; `limit` rows after the id `after`."""
    where = Where()
    scope.narrow(
        where,
        region="d.region_code",
        units="(d.units && ? OR d.looking && ? OR d.lead = ANY(?) OR d.co_handlers && ?)",
    )
    if status:
        where.add("d.status = ?", status)
    if after:
        where.add("d.id < ?", after)
    rows = await pg.fetch(f"{_DISPUTES} WHERE {where} ORDER BY d.id DESC LIMIT {limit:d}", *where.values)
    return [_dispute(row) for row in rows]


async def read_dispute(pg: Any, dispute_id: str) -> tuple[dict[str, Any], WorkOrder] | None:
    """A dispute with its order."""
    row = await pg.fetchrow(f"{_DISPUTES} WHERE d.id = $1", dispute_id)
    return _dispute(row) if row else None


def _dispute(row: Mapping[str, Any]) -> tuple[dict[str, Any], WorkOrder]:
    shown = dict(row)
    return shown, _orders.decode(shown.pop("state"))


async def orders_of(pg: Any, target: str, ids: Sequence[str]) -> dict[str, str]:
    """The order ids of disputes or approvals (`target`: `dispute` or `approval`) by their ids."""
    table = {"dispute": tables.disputes, "approval": tables.approvals}[target]
    rows = await pg.fetch(f"SELECT id, work_order_id FROM {table.fullname} WHERE id = ANY($1)", list(ids))
    return {row["id"]: row["work_order_id"] for row in rows}


async def list_approvals(
    pg: Any, status: str | None, scope: Scope, after: str | None, limit: int
) -> list[dict[str, Any]]:
    where = Where()
    scope.narrow(where, region="region_code", units="unit = ANY(?)")
    if status:
        where.add("status = ?", status)
    if after:
        where.add("id < ?", after)
    sql = f"SELECT * FROM {tables.approvals.fullname} WHERE {where} ORDER BY id DESC LIMIT {limit:d}"
    return [dict(row) for row in await pg.fetch(sql, *where.values)]
