"""The SQL of evaluate: bulk writes that a repeated or late event cannot spoil, and the sums of a month."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from services.evaluate.domain import Counts, Formula
from services.evaluate.tables import CASE_COUNTS, cases, formulas, late_rounds, moves, repeats, units
from shared.db import bulk


async def save_cases(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep the state with the highest sequence."""
    changing = [column.name for column in cases.columns if column.name not in ("platform", "appeal_id")]
    await bulk.insert(
        pg,
        cases,
        rows,
        conflict=("platform", "appeal_id"),
        update=changing,
        where="excluded.sequence > t.sequence",
    )


async def save_orders(
    pg: Any,
    moved: Sequence[Mapping[str, Any]],
    repeated: Sequence[Mapping[str, Any]],
    found: Mapping[tuple[str, str], tuple[str, str]],
) -> None:
    """What orders say: moves, repeats, and name and region of units; sorted, so that two workers lock them in one
    order."""
    rows = [
        {"platform": platform, "unit": unit, "name": name, "region_code": region}
        for (platform, unit), (name, region) in sorted(found.items())
    ]
    await bulk.write(
        pg,
        bulk.insert_of(moves, moved, conflict=("platform", "work_order_id", "sequence")),
        bulk.insert_of(repeats, repeated, conflict=("platform", "appeal_id")),
        bulk.insert_of(
            units,
            rows,
            conflict=("platform", "unit"),
            update=("name", "region_code"),
            where="(excluded.name, excluded.region_code) <> (t.name, t.region_code)",
        ),
    )


async def save_late_rounds(pg: Any, late: Mapping[tuple[str, str, int], tuple[int, bool]]) -> None:
    """(sequence of the event, whether the clock was red after it) by (platform, order, round); the latest wins."""
    rows = [
        {"platform": platform, "work_order_id": order, "round": number, "sequence": sequence, "late": red}
        for (platform, order, number), (sequence, red) in sorted(late.items())
    ]
    await bulk.insert(
        pg,
        late_rounds,
        rows,
        conflict=("platform", "work_order_id", "round"),
        update=("sequence", "late"),
        where="excluded.sequence > t.sequence",
    )


async def totals(pg: Any, platform: str, period: str) -> dict[str, Counts]:
    """The counts of a month by unit."""
    sums = ", ".join(f"sum({name})::int AS {name}" for name in CASE_COUNTS)
    feedback = await pg.fetch(
        f"SELECT unit, {sums} FROM {cases.fullname} WHERE platform = $1 AND period = $2 GROUP BY unit",
        platform,
        period,
    )
    # an order counts in the month in which the last feedback of its appeals closed, for the unit of that one
    orders = await pg.fetch(
        "SELECT unit, count(*)::int AS completed, count(*) FILTER (WHERE EXISTS ("
        f"SELECT FROM {late_rounds.fullname} l WHERE l.platform = $1 AND l.work_order_id = c.work_order_id"
        f" AND l.late))::int AS late FROM {cases.fullname} c WHERE platform = $1 AND period = $2 AND NOT EXISTS ("
        f"SELECT FROM {cases.fullname} s WHERE s.platform = $1 AND s.work_order_id = c.work_order_id"
        " AND s.appeal_id <> c.appeal_id AND (s.closed_at IS NULL OR s.closed_at > c.closed_at"
        " OR (s.closed_at = c.closed_at AND s.appeal_id < c.appeal_id))) GROUP BY unit",
        platform,
        period,
    )
    moved = await pg.fetch(
        "SELECT unit, count(*) FILTER (WHERE kind = 'dispatched')::int AS dispatched,"
        " count(*) FILTER (WHERE kind = 'returned')::int AS returned,"
        " count(*) FILTER (WHERE kind = 'shirked')::int AS shirked"
        f" FROM {moves.fullname} WHERE platform = $1 AND period = $2 GROUP BY unit",
        platform,
        period,
    )
    repeated = await pg.fetch(
        f"SELECT c.unit, count(*)::int AS repeats FROM {repeats.fullname} r JOIN {cases.fullname} c"
        " ON c.platform = r.platform AND c.appeal_id = r.repeat_of"
        " WHERE r.platform = $1 AND r.period = $2 GROUP BY c.unit",
        platform,
        period,
    )
    found: dict[str, Counts] = {}
    for row in (*feedback, *orders, *moved, *repeated):
        counts = dict(row)
        unit = counts.pop("unit")
        found[unit] = found.get(unit, Counts()) + Counts(**counts)
    return found


async def unit_facts(pg: Any, platform: str) -> dict[str, tuple[str, str]]:
    """Name and region code of every unit that was ever dispatched to."""
    rows = await pg.fetch(f"SELECT unit, name, region_code FROM {units.fullname} WHERE platform = $1", platform)
    return {row["unit"]: (row["name"], row["region_code"]) for row in rows}


async def list_formulas(pg: Any) -> list[Formula]:
    """All versions, the earliest first."""
    rows = await pg.fetch(
        f"SELECT version, effective_from, body::text AS body FROM {formulas.fullname} ORDER BY effective_from"
    )
    return [formula_from(row["version"], row["effective_from"], orjson.loads(row["body"])) for row in rows]


async def add_formula(pg: Any, formula: Formula, actor: str, at: datetime) -> bool:
    """False when the version or its start is taken: versions are never changed."""
    added = await pg.fetchval(
        f"INSERT INTO {formulas.fullname} (version, effective_from, body, created_by, created_at)"
        " VALUES ($1, $2, $3::jsonb, $4, $5) ON CONFLICT DO NOTHING RETURNING version",
        formula.version,
        formula.effective_from,
        orjson.dumps(formula_body(formula)).decode(),
        actor,
        at,
    )
    return added is not None


def formula_body(formula: Formula) -> dict[str, Any]:
    """The formula's numbers as JSON; decimals are strings, so that nothing is rounded on the way."""
    return {
        "weights": {name: str(weight) for name, weight in formula.weights.items()},
        "deductions": {name: str(points) for name, points in formula.deductions.items()},
        "cap": str(formula.cap),
        "min_asked": formula.min_asked,
    }


def formula_from(version: str, effective_from: str, body: Mapping[str, Any]) -> Formula:
    """The inverse of `formula_body`."""
    return Formula(
        version,
        effective_from,
        {name: Decimal(weight) for name, weight in body["weights"].items()},
        {name: Decimal(points) for name, points in body["deductions"].items()},
        Decimal(body["cap"]),
        int(body["min_asked"]),
    )
