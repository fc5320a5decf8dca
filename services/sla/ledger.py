"""The ledger of 挂账 and 延期: who asked, with what reason and evidence, who decided, when it ended (domain.md, SLA).

dispatch asks and decides; its events are all that this knows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.sla.tables import suspensions
from shared.db import bulk
from shared.events.catalog import work_orders
from shared.events.event import Message

ENTRIES = (
    work_orders.WorkOrderApprovalRequested,
    work_orders.WorkOrderApprovalRejected,
    work_orders.WorkOrderSuspended,
    work_orders.WorkOrderResumed,
    work_orders.WorkOrderExtended,
    work_orders.WorkOrderCancelled,
    work_orders.WorkOrderHandedOff,
)
"""events that may write into the ledger; all of them are rare"""


_COLUMNS = tuple(str(column.name) for column in suspensions.columns)


async def keep(pg: Any, batch: Sequence[Message[work_orders.WorkOrderEvent]]) -> None:
    """Write what a batch says of suspensions and extensions; without such events nothing is done."""
    told = [message for message in batch if isinstance(message.data, ENTRIES)]
    if not told:
        return
    open_ones = await pg.fetch(
        f"SELECT * FROM {suspensions.fullname} WHERE work_order_id = ANY($1) AND ended_at IS NULL"
        " AND status IN ('requested', 'approved') AND (status = 'requested' OR what = 'suspension')"
        " ORDER BY id FOR UPDATE",
        sorted({message.key for message in told}),
    )
    rows: dict[str, dict[str, Any]] = {row["id"]: dict(row) for row in open_ones}
    for message in told:
        _apply(rows, message)
    changing = [name for name in _COLUMNS if name != "id"]
    await bulk.insert(pg, suspensions, list(rows.values()), conflict=("id",), update=changing)


def _apply(rows: dict[str, dict[str, Any]], message: Message[work_orders.WorkOrderEvent]) -> None:
    event, order, at = message.data, message.data.after, message.time
    mine = [row for row in rows.values() if row["work_order_id"] == order.id]
    asked = next((row for row in mine if row["status"] == "requested"), None)
    running = next((row for row in mine if row["until_at"] is not None and row["ended_at"] is None), None)
    match event:
        case work_orders.WorkOrderApprovalRequested():
            row = _row(message, event.approval_id, event.what, event.seconds)
            rows[row["id"]] = row | {
                "reason": event.reason or "",
                "evidence": event.evidence,
                "requested_by": event.actor,
                "requested_at": at,
            }
        case work_orders.WorkOrderApprovalRejected():
            if asked is not None:
                asked.update(_decided("rejected", event, at))
        case work_orders.WorkOrderSuspended(until=until):
            row = asked or _row(message, None, "suspension", int((until - at).total_seconds()))
            rows[row["id"]] = row
            row.update(_decided("approved", event, at) | {"until_at": until})
        case work_orders.WorkOrderExtended(seconds=seconds):
            row = asked or _row(message, None, "extension", seconds)
            rows[row["id"]] = row
            row.update(_decided("approved", event, at))
        case _:  # resumed by somebody or by its end, or the order ended
            if running is not None:
                running.update(ended_at=min(at, running["until_at"]), ended_by=event.actor)
            if asked is not None and not isinstance(event, work_orders.WorkOrderResumed):
                asked.update(_decided("dropped", event, at))


def _row(
    message: Message[work_orders.WorkOrderEvent], approval_id: str | None, what: str, seconds: int
) -> dict[str, Any]:
    order = message.data.after
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    return row | {
        "id": approval_id or f"{order.id}/{message.sequence}",
        "work_order_id": order.id,
        "what": what,
        "unit": order.lead,
        "region_code": order.region_code,
        "seconds": seconds,
        "reason": "",
        "evidence": [],
        "requested_at": message.time,
        "status": "requested",
    }


def _decided(status: str, event: work_orders.WorkOrderEvent, at: datetime) -> dict[str, Any]:
    return {"status": status, "decided_by": event.actor, "decided_at": at, "decision": event.reason}
