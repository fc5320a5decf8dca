"""挂账 and 延期: the ledger of dispatch's decisions, and the share of suspended orders by unit."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from shared.clock import ManualClock, rfc3339
from shared.events.catalog import work_orders
from shared.testing.harness import Harness
from tests.integration.sla.orders import Order

START = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
H = timedelta(hours=1)


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "sla", clock=ManualClock(START)) as running:
        yield running


async def _asked(order: Order, what: str, seconds: int, approval_id: str) -> None:
    await order.says(
        work_orders.WorkOrderApprovalRequested,
        approval_id=approval_id,
        what=what,
        seconds=seconds,
        reason="等材料",
        evidence=["照片两张"],
    )


async def test_the_month_s_ledger_tells_who_asked_who_decided_and_how_it_ended(hub: Harness) -> None:
    orders = [Order(hub, handling_class="general", channel="web", unit=f"u-{min(n, 1)}") for n in range(4)]
    for order in orders:
        await order.dispatched()
        await order.says(work_orders.WorkOrderAccepted)
    by_itself, resumed, refused, plain = orders
    await _asked(by_itself, "suspension", 5 * 86400, "a-1")
    await by_itself.says(work_orders.WorkOrderSuspended, until=START + 120 * H, reason="同意")
    await _asked(resumed, "suspension", 86400, "a-2")
    await resumed.says(work_orders.WorkOrderSuspended, until=START + 24 * H)
    await resumed.says(work_orders.WorkOrderResumed, time=START + 2 * H)
    await _asked(resumed, "extension", 3600, "a-3")
    await resumed.says(work_orders.WorkOrderExtended, seconds=3600, time=START + 3 * H)
    await _asked(refused, "suspension", 86400, "a-4")
    await refused.says(work_orders.WorkOrderApprovalRejected, approval_id="a-4", what="suspension", reason="证据不足")
    await hub.advance(121 * 3600)
    await by_itself.says(work_orders.WorkOrderResumed, time=START + 120 * H)
    await plain.completed(asked=False)
    await hub.settle()
    answer = (await hub.http.get("/v1/sla/suspensions", params={"month": "2026-11"}, headers=hub.admin)).json()
    items = {item["id"]: item for item in answer["items"]}
    assert {key: (i["what"], i["status"], i["ended_at"], i["ended_by_itself"]) for key, i in items.items()} == {
        "a-1": ("suspension", "approved", rfc3339(START + 120 * H), True),
        "a-2": ("suspension", "approved", rfc3339(START + 2 * H), False),
        "a-3": ("extension", "approved", None, None),
        "a-4": ("suspension", "rejected", None, None),
    }
    first = items["a-1"]
    assert (first["reason"], first["evidence"], first["decision"]) == ("等材料", ["照片两张"], "同意")
    assert answer["by_unit"] == [
        {"unit": "u-0", "orders": 1, "suspended": 1, "extended": 0, "share": 1.0},
        {"unit": "u-1", "orders": 3, "suspended": 1, "extended": 1, "share": 0.3333},
    ]
    december = (await hub.http.get("/v1/sla/suspensions", headers=hub.admin)).json()
    assert [item["id"] for item in december["items"]] == ["a-1"]  # it ran into December
    mine = await hub.http.get(
        "/v1/sla/suspensions", params={"month": "2026-11"}, headers=hub.token("auditor", units=["u-0"])
    )
    assert {item["unit"] for item in mine.json()["items"]} <= {"u-0", "u-1"}
    pages: list[str] = []
    params: dict[str, str] = {"month": "2026-11", "limit": "1"}
    while True:
        page = (await hub.http.get("/v1/sla/suspensions", params=params, headers=hub.admin)).json()
        pages += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        params["after"] = page["next"]
    assert sorted(pages) == ["a-1", "a-2", "a-3", "a-4"]
    assert (await hub.http.get("/v1/sla/suspensions?month=2026-13", headers=hub.admin)).status_code == 422


async def test_a_second_delivery_changes_nothing_and_an_unknown_request_is_still_kept(hub: Harness) -> None:
    order = Order(hub, handling_class="general", channel="web")
    await order.dispatched()
    await order.says(work_orders.WorkOrderSuspended, until=START + 24 * H)
    await order.says(work_orders.WorkOrderCancelled, time=START + 3 * H, snap={"status": "cancelled"})
    await hub.settle()
    [item] = (await hub.http.get("/v1/sla/suspensions", headers=hub.admin)).json()["items"]
    assert (item["seconds"], item["ended_at"], item["status"]) == (86400, rfc3339(START + 3 * H), "approved")
