"""The SQL of evaluate: bulk writes that a repeated or late event cannot spoil, and the sums of a month."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import Table

from services.evaluate.domain import Counts
from services.evaluate.formula import Formula, Purpose, weighted
from services.evaluate.tables import CASE_COUNTS, Facts, completions, formulas, rating_signs, tag_names
from shared.db import bulk

BYTEWISE = 'COLLATE "C"'
"""what breaks a tie must be the same in a database of another language"""


async def save_cases(
    pg: Any, into: Facts, rows: Sequence[Mapping[str, Any]], judged: Sequence[Mapping[str, Any]]
) -> None:
    """Keep the states with the highest sequence, of feedbacks and of false completions."""
    await bulk.write(pg, _latest(into.cases, rows), _latest(into.false_completions, judged))


def _latest(table: Table, rows: Sequence[Mapping[str, Any]]) -> bulk.Statement:
    """Of two rows of one key the higher sequence wins."""
    key = [column.name for column in table.primary_key.columns]
    changing = [column.name for column in table.columns if column.name not in key]
    return bulk.insert_of(table, rows, conflict=key, update=changing, where="excluded.sequence > t.sequence")


async def save_orders(
    pg: Any,
    into: Facts,
    moved: Sequence[Mapping[str, Any]],
    repeated: Sequence[Mapping[str, Any]],
    found: Mapping[tuple[str, str], tuple[datetime, str, str, str]],
) -> None:
    """What orders say: moves, repeats, and name and region of units; sorted, so that two workers lock them in one
    order."""
    rows = [
        {"platform": platform, "unit": unit, "name": name, "region_code": region, "said_at": at, "said_by": order}
        for (platform, unit), (at, order, name, region) in sorted(found.items())
    ]
    await bulk.write(
        pg,
        bulk.insert_of(into.moves, moved, conflict=("platform", "work_order_id", "sequence")),
        bulk.insert_of(
            into.repeats,
            sorted(repeated, key=lambda row: (row["platform"], row["appeal_id"])),
            conflict=("platform", "appeal_id"),
            update=("repeat_of", "period", "work_order_id"),
            where=f"excluded.work_order_id < t.work_order_id {BYTEWISE}",
        ),
        bulk.insert_of(
            into.units,
            rows,
            conflict=("platform", "unit"),
            update=("name", "region_code", "said_at", "said_by"),
            where=f"(excluded.said_at, excluded.said_by {BYTEWISE}, excluded.name {BYTEWISE}, excluded.region_code"
            f" {BYTEWISE}) > (t.said_at, t.said_by, t.name, t.region_code)",
        ),
    )


async def save_late_rounds(pg: Any, into: Facts, late: Mapping[tuple[str, str, int], tuple[int, bool]]) -> None:
    """(sequence of the event, whether the clock was red after it) by (platform, order, round); the latest wins."""
    rows = [
        {"platform": platform, "work_order_id": order, "round": number, "sequence": sequence, "late": red}
        for (platform, order, number), (sequence, red) in sorted(late.items())
    ]
    await bulk.write(pg, _latest(into.late_rounds, rows))


async def save_completions(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each once by (order, sequence)."""
    await bulk.insert(pg, completions, rows, conflict=("platform", "work_order_id", "sequence"))


async def save_labels(pg: Any, into: Facts, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each once by (appeal, sequence)."""
    await bulk.insert(pg, into.labels, rows, conflict=("platform", "appeal_id", "sequence"))


async def save_rating_signs(pg: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """What feedback saw last."""
    await bulk.write(pg, _latest(rating_signs, rows))


async def save_tag_names(pg: Any, names: Mapping[tuple[str, str], tuple[datetime, str, str]]) -> None:
    """(when it was said, name, family) by (platform, code); what changes nothing is not written."""
    rows = [
        {"platform": platform, "code": code, "name": name, "family": family, "said_at": at}
        for (platform, code), (at, name, family) in sorted(names.items())
    ]
    await bulk.insert(
        pg,
        tag_names,
        rows,
        conflict=("platform", "code"),
        update=("name", "family", "said_at"),
        where="excluded.said_at > t.said_at AND (excluded.name, excluded.family) <> (t.name, t.family)",
    )


def last_of_its_order(of: Facts) -> str:
    """SQL: `c` is the case whose feedback closed last among those of its order, so that the order counts there."""
    return (
        f"NOT EXISTS (SELECT FROM {of.cases.fullname} s WHERE s.platform = $1 AND s.work_order_id = c.work_order_id"
        " AND s.appeal_id <> c.appeal_id AND (s.closed_at IS NULL OR s.closed_at > c.closed_at"
        f" OR (s.closed_at = c.closed_at AND s.appeal_id < c.appeal_id {BYTEWISE})))"
    )


def late_order(of: Facts) -> str:
    """SQL: the complete clock of the order of `c` became due."""
    return (
        f"EXISTS (SELECT FROM {of.late_rounds.fullname} l WHERE l.platform = $1"
        " AND l.work_order_id = c.work_order_id AND l.late)"
    )


def false_completions_of(of: Facts) -> str:
    """SQL: the completions that were confirmed to be false in month $2: of several citizens who contradict one, the
    first confirmation counts."""
    return (
        f"SELECT f.* FROM {of.false_completions.fullname} f WHERE f.platform = $1 AND f.period = $2 AND f.confirmed"
        f" AND NOT EXISTS (SELECT FROM {of.false_completions.fullname} s WHERE s.platform = $1"
        " AND s.work_order_id = f.work_order_id AND s.order_round = f.order_round AND s.confirmed"
        f" AND (s.decided_at, s.appeal_id {BYTEWISE}, s.round) < (f.decided_at, f.appeal_id, f.round))"
    )


def tags_of(of: Facts) -> str:
    """SQL: each word about the tags of the appeals that closed in month $2, with the tags that stood `before` it.
    `judges`: a person's first word about what had been set; `is_last`: nothing was said since."""
    return (
        "SELECT c.unit, c.work_order_id, c.appeal_id, c.closed_at, l.tags, lag(l.tags) OVER told AS before,"
        " lead(l.sequence) OVER told IS NULL AS is_last,"
        " l.reviewed AND NOT coalesce(bool_or(l.reviewed) OVER (told ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),"
        " false) AND lag(l.sequence) OVER told IS NOT NULL AS judges"
        f" FROM {of.cases.fullname} c JOIN {of.labels.fullname} l"
        " ON l.platform = c.platform AND l.appeal_id = c.appeal_id WHERE c.platform = $1 AND c.period = $2"
        " WINDOW told AS (PARTITION BY l.appeal_id ORDER BY l.sequence)"
    )


async def totals(pg: Any, of: Facts, platform: str, period: str) -> dict[str, Counts]:
    """The counts of a month by unit."""
    sums = ", ".join(f"sum({name})::int AS {name}" for name in CASE_COUNTS)
    feedback = await pg.fetch(
        f"SELECT unit, {sums} FROM {of.cases.fullname} WHERE platform = $1 AND period = $2 GROUP BY unit",
        platform,
        period,
    )
    # an order counts in the month in which the last feedback of its appeals closed, for the unit of that one
    orders = await pg.fetch(
        f"SELECT unit, count(*)::int AS completed, count(*) FILTER (WHERE {late_order(of)})::int AS late"
        f" FROM {of.cases.fullname} c WHERE platform = $1 AND period = $2 AND {last_of_its_order(of)} GROUP BY unit",
        platform,
        period,
    )
    moved = await pg.fetch(
        "SELECT unit, count(*) FILTER (WHERE kind = 'dispatched')::int AS dispatched,"
        " count(*) FILTER (WHERE kind = 'returned')::int AS returned,"
        " count(*) FILTER (WHERE kind = 'shirked')::int AS shirked"
        f" FROM {of.moves.fullname} WHERE platform = $1 AND period = $2 GROUP BY unit",
        platform,
        period,
    )
    repeated = await pg.fetch(
        f"SELECT c.unit, count(*)::int AS repeats FROM {of.repeats.fullname} r JOIN {of.cases.fullname} c"
        " ON c.platform = r.platform AND c.appeal_id = r.repeat_of"
        " WHERE r.platform = $1 AND r.period = $2 GROUP BY c.unit",
        platform,
        period,
    )
    false = await pg.fetch(
        f"SELECT unit, count(*)::int AS false_completions FROM ({false_completions_of(of)}) f GROUP BY unit",
        platform,
        period,
    )
    tagged = await pg.fetch(
        f"WITH told AS ({tags_of(of)}) SELECT unit, count(*) FILTER (WHERE is_last AND tags <> '{{}}')::int AS tagged,"
        " coalesce(sum(cardinality(ARRAY(SELECT unnest(before) UNION SELECT unnest(tags)))) FILTER (WHERE judges), 0)"
        "::int AS tags_judged,"
        " coalesce(sum(cardinality(ARRAY(SELECT unnest(before) INTERSECT SELECT unnest(tags)))) FILTER (WHERE judges),"
        " 0)::int AS tags_right FROM told GROUP BY unit",
        platform,
        period,
    )
    found: dict[str, Counts] = {}
    for row in (*feedback, *orders, *moved, *repeated, *false, *tagged):
        counts = dict(row)
        unit = counts.pop("unit")
        found[unit] = found.get(unit, Counts()) + Counts(**counts)
    return found


async def platforms(pg: Any, of: Facts, period: str) -> list[str]:
    """Those with closed feedbacks in a month: this one, and those whose events it gets."""
    rows = await pg.fetch(f"SELECT DISTINCT platform FROM {of.cases.fullname} WHERE period = $1 ORDER BY 1", period)
    return [row["platform"] for row in rows]


async def unit_facts(pg: Any, of: Facts, platform: str) -> dict[str, tuple[str, str]]:
    """Name and region code of every unit that was ever dispatched to."""
    rows = await pg.fetch(f"SELECT unit, name, region_code FROM {of.units.fullname} WHERE platform = $1", platform)
    return {row["unit"]: (row["name"], row["region_code"]) for row in rows}


async def list_formulas(pg: Any) -> list[Formula]:
    """All versions, of scores before incentives, the earliest first."""
    rows = await pg.fetch(
        f"SELECT version, purpose, effective_from, body::text AS body FROM {formulas.fullname}"
        " ORDER BY purpose DESC, effective_from"
    )
    return [
        formula_from(row["version"], row["effective_from"], orjson.loads(row["body"]), Purpose(row["purpose"]))
        for row in rows
    ]


async def add_formula(pg: Any, formula: Formula, actor: str, at: datetime) -> bool:
    """False when the version or its start is taken: versions are never changed."""
    added = await pg.fetchval(
        f"INSERT INTO {formulas.fullname} (version, purpose, effective_from, body, created_by, created_at)"
        " VALUES ($1, $2, $3, $4::jsonb, $5, $6) ON CONFLICT DO NOTHING RETURNING version",
        formula.version,
        formula.purpose.value,
        formula.effective_from,
        orjson.dumps(formula_body(formula)).decode(),
        actor,
        at,
    )
    return added is not None


def formula_body(formula: Formula) -> dict[str, Any]:
    """What of a version stands in `body`."""
    return {"expression": formula.expression, "min_asked": formula.min_asked}


def formula_from(version: str, effective_from: str, body: Mapping[str, Any], purpose: Purpose) -> Formula:
    """The inverse of `formula_body`; versions from before there were expressions have weights."""
    if "expression" not in body:
        weights = {name: Decimal(weight) for name, weight in body["weights"].items()}
        deductions = {name: Decimal(points) for name, points in body["deductions"].items()}
        body = {"expression": weighted(weights, deductions, Decimal(body["cap"])), "min_asked": body["min_asked"]}
    return Formula(version, effective_from, body["expression"], int(body["min_asked"]), purpose)
