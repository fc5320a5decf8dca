"""Compares dispatch's tables with each other: every labelled appeal has one order, every order an owner."""

from collections.abc import Mapping

from shared.db.database import Database

_CHECKS = {
    "labelled_appeals_without_order": """
        SELECT count(*) FROM dispatch.cases WHERE appeal IS NOT NULL AND label IS NOT NULL AND work_order_id IS NULL
        AND appeal::json ->> 'status' = 'received'""",
    "orders_without_lead": "SELECT count(*) FROM dispatch.work_orders WHERE lead = ''",
    "cases_of_unknown_orders": """
        SELECT count(*) FROM dispatch.cases c WHERE work_order_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM dispatch.work_orders w WHERE w.id = c.work_order_id)""",
    "disputed_orders_without_dispute": """
        SELECT count(*) FROM dispatch.work_orders w WHERE status = 'disputed'
        AND NOT EXISTS (SELECT 1 FROM dispatch.disputes d WHERE d.work_order_id = w.id AND d.status = 'open')""",
}


class Reconciliation:
    """Callable for `Service.reconcile`: name of a check → differences, 0 when all is well."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def __call__(self) -> Mapping[str, int]:
        async with self.database.read() as pg:
            return {name: int(await pg.fetchval(sql)) for name, sql in _CHECKS.items()}
