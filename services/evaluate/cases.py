"""The cases behind a number: every count opens the rows that were counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.evaluate.repository import false_completions_of, last_of_its_order, late_order, tags_of
from services.evaluate.tables import CASE_COUNTS, Facts
from shared.clock import rfc3339

MOVES: Final = ("dispatched", "returned", "shirked")
MARKS: Final = ("asked", "contacted", "solved", "answered", "satisfied", "second_handled", "excluded")
"""what is shown of a case: the counts it is in"""

_MARKED = "array_remove(ARRAY[" + ", ".join(f"CASE WHEN c.{m} > 0 THEN '{m}' END" for m in MARKS) + "], NULL)"
_CASE = f"c.work_order_id, c.appeal_id, c.matter, c.closed_at, {_MARKED} AS marks"
_WHOSE = "c.platform = $1 AND c.period = $2 AND c.unit = ANY($3)"


def _rows_of(of: Facts, count: str) -> str:
    """SQL: the rows that `count` counts; `place` tells rows of one order apart."""
    if count in MOVES:
        return (
            "SELECT work_order_id, NULL AS appeal_id, NULL AS matter, NULL::timestamptz AS closed_at,"
            " '{}'::text[] AS marks, sequence, NULL AS tag, lpad(sequence::text, 20, '0') AS place"
            f" FROM {of.moves.fullname} c WHERE {_WHOSE} AND kind = '{count}'"
        )
    if count == "repeats":
        return (
            f"SELECT r.work_order_id, r.appeal_id, c.matter, c.closed_at, {_MARKED} AS marks, NULL::bigint AS sequence,"
            f" NULL AS tag, r.appeal_id AS place FROM {of.repeats.fullname} r JOIN {of.cases.fullname} c"
            " ON c.platform = r.platform AND c.appeal_id = r.repeat_of"
            " WHERE r.platform = $1 AND r.period = $2 AND c.unit = ANY($3)"
        )
    if count == "false_completions":
        return (
            f"SELECT f.work_order_id, f.appeal_id, c.matter, c.closed_at, coalesce({_MARKED}, '{{}}') AS marks,"
            " NULL::bigint AS sequence, NULL AS tag, concat_ws(' ', f.appeal_id, f.round) AS place"
            f" FROM ({false_completions_of(of)}) f LEFT JOIN {of.cases.fullname} c"
            " ON c.platform = f.platform AND c.appeal_id = f.appeal_id WHERE f.unit = ANY($3)"
        )
    if count in ("tagged", "tags_judged", "tags_right"):
        tags, which = {
            "tagged": ("SELECT NULL::text", "is_last AND told.tags <> '{}'"),
            "tags_judged": ("SELECT unnest(before) UNION SELECT unnest(told.tags)", "judges"),
            "tags_right": ("SELECT unnest(before) INTERSECT SELECT unnest(told.tags)", "judges"),
        }[count]
        return (
            f"SELECT {_CASE}, NULL::bigint AS sequence, tag, concat_ws(' ', c.appeal_id, tag) AS place"
            f" FROM ({tags_of(of)}) told JOIN {of.cases.fullname} c USING (appeal_id),"
            f" LATERAL ({tags}) t(tag) WHERE {_WHOSE} AND {which}"
        )
    where = f"c.{count} > 0" if count in CASE_COUNTS else last_of_its_order(of)
    where += f" AND {late_order(of)}" if count == "late" else ""
    return (
        f"SELECT {_CASE}, NULL::bigint AS sequence, NULL AS tag, c.appeal_id AS place"
        f" FROM {of.cases.fullname} c WHERE {_WHOSE} AND {where}"
    )


async def behind(
    pg: Any,
    of: Facts,
    platform: str,
    period: str,
    units: Sequence[str],
    count: str,
    after: Sequence[str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The rows behind `count` (a name of `Counts`) of these units, by order, behind the cursor `after`.

    `{work_order_id, appeal_id, matter, closed_at, marks, sequence, tag, place}`: of dispatches and returns there is no
    appeal but the sequence of the order's event; of judged tags there is a row for each; of repeats it is the new
    appeal, with matter and marks of the closed one.
    """
    rows = await pg.fetch(
        f"SELECT * FROM ({_rows_of(of, count)}) counted WHERE (work_order_id, place) > ($4, $5)"
        " ORDER BY work_order_id, place LIMIT $6",
        platform,
        period,
        list(units),
        *(after or ("", "")),
        limit,
    )
    return [dict(row) | {"closed_at": rfc3339(row["closed_at"]) if row["closed_at"] else None} for row in rows]
