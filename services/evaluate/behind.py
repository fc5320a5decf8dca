"""The cases behind a number: every count of a unit opens the rows that were counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.evaluate.repository import last_of_its_order, late_order
from services.evaluate.tables import CASE_COUNTS, LIVE
from shared.clock import rfc3339

MOVES: Final = {"dispatched": "dispatched", "returned": "returned", "shirked": "shirked"}


async def behind(
    pg: Any, platform: str, period: str, unit: str, count: str, after: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """`{work_order_id, appeal_id, closed_at, sequence}` by order and appeal, behind the cursor `after`. `count` is a
    name of `Counts`; of moves there is no appeal but the sequence of the order's event."""
    order, second = after or ("", "")
    if count in MOVES:
        rows = await pg.fetch(
            f"SELECT work_order_id, NULL AS appeal_id, NULL AS closed_at, sequence FROM {LIVE.moves.fullname}"
            " WHERE platform = $1 AND period = $2 AND unit = $3 AND kind = $4"
            " AND (work_order_id, sequence) > ($5, $6::bigint) ORDER BY work_order_id, sequence LIMIT $7",
            platform,
            period,
            unit,
            MOVES[count],
            order,
            int(second) if second.isascii() and second.isdigit() and len(second) < 18 else 0,
            limit,
        )
    elif count == "repeats":
        rows = await pg.fetch(
            "SELECT r.work_order_id, r.appeal_id, NULL AS closed_at, NULL AS sequence"
            f" FROM {LIVE.repeats.fullname} r JOIN {LIVE.cases.fullname} c"
            " ON c.platform = r.platform AND c.appeal_id = r.repeat_of"
            " WHERE r.platform = $1 AND r.period = $2 AND c.unit = $3 AND (r.work_order_id, r.appeal_id) > ($4, $5)"
            " ORDER BY r.work_order_id, r.appeal_id LIMIT $6",
            platform,
            period,
            unit,
            order,
            second,
            limit,
        )
    else:
        where = f"c.{count} > 0" if count in CASE_COUNTS else last_of_its_order(LIVE)
        where += f" AND {late_order(LIVE)}" if count == "late" else ""
        rows = await pg.fetch(
            f"SELECT work_order_id, appeal_id, closed_at, NULL AS sequence FROM {LIVE.cases.fullname} c"
            f" WHERE platform = $1 AND period = $2 AND unit = $3 AND {where}"
            " AND (work_order_id, appeal_id) > ($4, $5) ORDER BY work_order_id, appeal_id LIMIT $6",
            platform,
            period,
            unit,
            order,
            second,
            limit,
        )
    return [
        {
            "work_order_id": row["work_order_id"],
            "appeal_id": row["appeal_id"],
            "closed_at": rfc3339(row["closed_at"]) if row["closed_at"] else None,
            "sequence": row["sequence"],
        }
        for row in rows
    ]
