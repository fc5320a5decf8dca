"""`/ops/intake/reconcile`: what must agree between intake's tables, as counts of differences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from services.intake import repository
from shared.clock import Clock
from shared.db.database import Database

_PAGE: Final = 2_000
_NO_ORDER_AFTER: Final = timedelta(seconds=60)
"""an appeal without an order after that is an alarm (domain.md, Classification)"""

_CHECKS: Final = {
    "appeals without their sealed record": """
        SELECT count(*) FROM intake.appeals a
        WHERE NOT EXISTS (SELECT 1 FROM intake.vault v WHERE v.appeal_id = a.appeal_id)""",
    "appeals without their case": """
        SELECT count(*) FROM intake.appeals a
        WHERE NOT EXISTS (SELECT 1 FROM intake.cases v WHERE v.appeal_id = a.appeal_id)""",
    "appeals without a timeline": """
        SELECT count(*) FROM intake.appeals a
        WHERE NOT EXISTS (SELECT 1 FROM intake.timeline v WHERE v.appeal_id = a.appeal_id)""",
    "appeals that their reference number does not lead to": """
        SELECT count(*) FROM intake.appeals a LEFT JOIN intake.reference_keys r USING (reference_no)
        WHERE r.appeal_id IS DISTINCT FROM a.appeal_id""",
    "hand-overs taken over without their appeal": """
        SELECT count(*) FROM intake.handoffs h WHERE role = 'receiver'
        AND state IN ('accepted', 'completed', 'acknowledged')
        AND NOT EXISTS (SELECT 1 FROM intake.appeals a WHERE a.appeal_id = h.appeal_id::uuid)""",
    "receipts that another platform will not take": """
        SELECT count(*) FROM intake.peer_messages WHERE next_at > now() + interval '10 min'""",
    "external ids without their appeal": """
        SELECT count(*) FROM intake.external_keys k
        WHERE NOT EXISTS (SELECT 1 FROM intake.appeals a WHERE a.appeal_id = k.appeal_id)""",
}
_LATE: Final = """
    SELECT count(*) FROM intake.cases c JOIN intake.case_views v USING (appeal_id)
    WHERE c.received_at < $1 AND c.status NOT IN ('withdrawn', 'declined') AND v.order_ids = '{}'"""


class Reconciliation:
    """Callable for `Service.reconcile`: name of a check → differences, 0 when all is well."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

    async def __call__(self) -> Mapping[str, int]:
        async with self.database.read() as pg:
            found = {name: int(await pg.fetchval(sql)) for name, sql in _CHECKS.items()}
            found["appeals without an order after 60 s"] = int(
                await pg.fetchval(_LATE, self.clock.now() - _NO_ORDER_AFTER)
            )
            found["cases that differ from their streams"] = await self._differing(pg)
        return found

    async def _differing(self, pg: Any) -> int:
        """Cases whose stored columns are not what the rules make of the stored snapshots, page by page."""
        differing, last = 0, "00000000-0000-0000-0000-000000000000"
        while True:
            ids = [
                row["id"]
                for row in await pg.fetch(
                    "SELECT appeal_id::text AS id FROM intake.cases WHERE appeal_id > $1::uuid"
                    " ORDER BY appeal_id LIMIT $2",
                    last,
                    _PAGE,
                )
            ]
            if not ids:
                return differing
            last = ids[-1]
            differing += await repository.cases_that_differ(pg, ids)
