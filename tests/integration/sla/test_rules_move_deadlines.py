"""New policies and calendars and the orders that are open: tried before, applied from their instant, listed after."""

import asyncio
import copy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from shared.clock import ManualClock, rfc3339
from shared.events.catalog import work_orders
from shared.testing.harness import Harness
from tests.integration.sla.orders import CLOCKS, Order

START = datetime(2026, 12, 21, 2, 0, tzinfo=UTC)
"""Monday 10:00 in Shanghai; 15 working days later is 2027, which is not published"""
H = timedelta(hours=1)


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "sla", clock=ManualClock(START)) as running:
        yield running


async def _policy(hub: Harness, **complete: dict[str, str]) -> dict[str, Any]:
    answer = await hub.http.get("/v1/sla/policies", headers=hub.admin)
    data: dict[str, Any] = copy.deepcopy(next(item["policy"] for item in answer.json()["items"] if item["in_force"]))
    for handling_class, allowance in complete.items():
        data["classes"][handling_class]["complete"] = allowance
    return data | {"version": "new"}


async def _known(hub: Harness, what: str, version: str) -> None:
    async with asyncio.timeout(10):
        while True:
            items = (await hub.http.get(f"/v1/sla/{what}", headers=hub.admin)).json()["items"]
            if any(item["version"] == version for item in items):
                return
            await asyncio.sleep(0.02)


async def _post(hub: Harness, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await hub.http.post(f"/v1/sla/{path}", json=body, headers=hub.admin)
    assert answer.status_code in (200, 201), answer.text
    result: dict[str, Any] = answer.json()
    return result


YEAR_2027 = {
    "version": "state-council-2027",
    "years": [2027],
    "holidays": {"2027-01-01": "元旦", "2027-01-02": "元旦", "2027-01-03": "元旦", "2027-01-04": "元旦"},
    "workdays": {"2027-01-09": "元旦"},
}


async def _open_orders(hub: Harness) -> dict[str, Order]:
    orders = {
        "complex": Order(hub, handling_class="complex", channel="web", unit="u-a"),
        "general": Order(hub, handling_class="general", channel="web", unit="u-b"),
        "consult": Order(hub, handling_class="general", kind="consult", channel="web", unit="u-b"),
        "suspended": Order(hub, handling_class="complex", channel="web", unit="u-b"),
        "done": Order(hub, handling_class="complex", channel="web", unit="u-a"),
    }
    for order in orders.values():
        await order.dispatched()
        await order.says(work_orders.WorkOrderAccepted)
        await order.says(work_orders.WorkOrderContacted)
    await orders["done"].completed(asked=False)
    await orders["suspended"].says(work_orders.WorkOrderSuspended, until=START + 48 * H)
    await hub.settle()
    return orders


async def _deadlines(orders: dict[str, Order]) -> dict[str, str]:
    return {name: (await order.clocks())["complete", 1]["due_at"] for name, order in orders.items()}


async def test_what_would_move_is_what_moves_when_the_year_is_published(hub: Harness) -> None:
    orders = await _open_orders(hub)
    before = await _deadlines(orders)
    rows = await hub.query("SELECT md5(string_agg(c::text, '' ORDER BY work_order_id)) FROM sla.clock_sets c")
    tried = await _post(hub, "what-if", {"calendar": YEAR_2027})
    assert await _deadlines(orders) == before
    assert rows == await hub.query("SELECT md5(string_agg(c::text, '' ORDER BY work_order_id)) FROM sla.clock_sets c")
    await hub.advance(24 * 3600)
    used = {name: (await order.clocks())["complete", 1]["used_s"] for name, order in orders.items()}
    await _post(hub, "calendars", YEAR_2027)
    await _known(hub, "calendars", "state-council-2027")
    await hub.settle()
    after = await _deadlines(orders)
    # 15 working days after 12-21 were 2027-01-11; now 01-01 and 01-04 are free, Saturday 01-09 is worked
    assert before["complex"] == "2027-01-11T17:30:00+08:00"
    assert after["complex"] == "2027-01-12T17:30:00+08:00"
    moved = {item["work_order_id"]: (item["from"], item["to"]) for item in tried["items"]}
    expected = {orders[n].id: (before[n], after[n]) for n in orders if before[n] != after[n]}
    assert moved == expected
    assert set(expected) == {orders["complex"].id, orders["suspended"].id}
    assert tried["moved"] == 2
    assert tried["by_unit"] == [
        {"unit": "u-a", "moved": 1, "earlier": 0, "later": 1},
        {"unit": "u-b", "moved": 1, "earlier": 0, "later": 1},
    ]
    listed = (await hub.http.get("/v1/sla/calendars/state-council-2027/moved", headers=hub.admin)).json()
    assert {item["work_order_id"]: (item["from"], item["to"]) for item in listed["items"]} == expected
    assert (listed["moved"], listed["next"]) == (2, None)
    # used time is neither lost nor gained, and the deadline is no longer provisional
    for name, order in orders.items():
        clock = (await order.clocks())["complete", 1]
        assert clock["used_s"] == used[name]
    assert not (await orders["complex"].clocks())["complete", 1]["provisional"]
    rebased = [m for m in await hub.events(CLOCKS) if m.type == "clock.rebased" and m.data.cause == "rule"]
    assert {m.key for m in rebased} == set(expected)
    assert all("工作日历更新" in m.data.reason for m in rebased)
    assert (await hub.http.get("/ops/sla/reconcile", headers=hub.admin)).json()["differences"] == 0


async def test_a_policy_with_a_day_is_applied_to_open_orders_on_that_day_and_not_before(hub: Harness) -> None:
    orders = await _open_orders(hub)
    before = await _deadlines(orders)
    data = await _policy(hub, general={"natural": "P3D"})
    day = START + 26 * H
    tried = await _post(hub, "what-if", {"policy": data, "effective_from": rfc3339(day)})
    await _post(hub, "policies", data | {"effective_from": rfc3339(day)})
    await _known(hub, "policies", "new")
    await hub.advance(25 * 3600)
    assert await _deadlines(orders) == before
    await hub.advance(3600)
    after = await _deadlines(orders)
    assert after["general"] == rfc3339(START + 72 * H)
    assert {name for name in orders if after[name] != before[name]} == {"general"}
    assert [(i["work_order_id"], i["from"], i["to"]) for i in tried["items"]] == [
        (orders["general"].id, before["general"], after["general"])
    ]
    clock = (await orders["general"].clocks())["complete", 1]
    assert (clock["policy"], clock["allowed_s"], clock["used_s"]) == ("new", 3 * 86400, 26 * 3600)
    # an order whose event is read after the day, but is older, is judged by its time and then timed anew
    late = Order(hub, handling_class="general", channel="web")
    late.received_at = START
    await late.says(work_orders.WorkOrderDispatched, cause="routing", time=START)
    await hub.settle()
    assert (await late.clocks())["complete", 1]["due_at"] == rfc3339(START + 72 * H)
    stricter = await _policy(hub, general={"natural": "PT1H"})
    await _post(hub, "policies", stricter | {"version": "strictest"})
    await _known(hub, "policies", "strictest")
    await hub.settle()
    # in the past by the new rule: due now, and the levels count from now
    clock = (await late.clocks())["complete", 1]
    assert (clock["due_at"], clock["level"]) == (rfc3339(day), 1)


async def test_local_days_of_a_unit_count_for_its_orders_and_follow_a_re_dispatch(hub: Harness) -> None:
    orders = {
        "a": Order(hub, handling_class="complex", channel="web", unit="u-a"),
        "b": Order(hub, handling_class="complex", channel="web", unit="u-b"),
    }
    for order in orders.values():
        await order.dispatched()
    await hub.settle()
    closed = {
        "version": "a-moves-house",
        "unit": "u-a",
        "days": [{"day": "2026-12-22", "to": "2026-12-23", "rule": "closed", "name": "搬迁"}],
    }
    answer = await _post(hub, "calendars", closed)
    assert answer["already_counted"] == []
    await _known(hub, "calendars", "a-moves-house")
    await hub.settle()
    after = await _deadlines(orders)
    assert after == {"a": "2027-01-13T17:30:00+08:00", "b": "2027-01-11T17:30:00+08:00"}
    complete = (await orders["a"].clocks())["complete", 1]
    assert any("搬迁 12-22 至 12-23 不计" in segment["words"] for segment in complete["explanation"])
    await hub.advance(24 * 3600)  # Tuesday 10:00: the unit has not counted this morning's hour, the other has
    used = {name: (await order.clocks())["complete", 1]["used_s"] for name, order in orders.items()}
    assert used["b"] - used["a"] == 3600
    for name, other in (("a", "u-b"), ("b", "u-a")):
        await orders[name].says(
            work_orders.WorkOrderDispatched, cause="transfer", snap={"lead": other, "dispatch_no": 2}
        )
    await hub.settle()
    for name, order in orders.items():
        assert (await order.clocks())["complete", 1]["used_s"] == used[name]
    # a lost an hour, b loses what is left of the two days: 6 h + 7 h
    assert await _deadlines(orders) == {"a": "2027-01-12T10:00:00+08:00", "b": "2027-01-13T16:30:00+08:00"}


async def test_days_that_were_counted_stay_as_they_were(hub: Harness) -> None:
    order = Order(hub, handling_class="complex", channel="web")
    await order.dispatched()
    await hub.advance(3 * 24 * 3600)
    before = (await order.clocks())["complete", 1]
    closed = {"version": "too-late", "holidays": {"2026-12-22": "补报", "2026-12-29": "停办"}}
    answer = await _post(hub, "calendars", closed)
    assert answer["already_counted"] == ["2026-12-22"]
    await _known(hub, "calendars", "too-late")
    await hub.settle()
    after = (await order.clocks())["complete", 1]
    assert after["used_s"] == before["used_s"]
    assert (before["due_at"], after["due_at"]) == ("2027-01-11T17:30:00+08:00", "2027-01-12T17:30:00+08:00")


async def test_a_calendar_file_is_imported_or_refused_line_by_line(hub: Harness) -> None:
    url = "/v1/sla/calendars/import"
    good = "day,to,rule,name\n2027-01-01,2027-01-03,休,元旦\n2027-02-05,2027-02-12,holiday,春节\n2027-02-14,,班,春节\n"
    params = {"version": "csv-2027", "years": "2027"}
    answer = await hub.http.post(url, params=params, content=good.encode("gb18030"), headers=hub.admin)
    assert answer.status_code == 201, answer.text
    await _known(hub, "calendars", "csv-2027")
    items = (await hub.http.get("/v1/sla/calendars", headers=hub.admin)).json()["items"]
    held = next(item for item in items if item["in_force"])
    assert (held["version"], held["holidays"]["2027-02-12"], held["workdays"]["2027-02-14"]) == (
        "csv-2027",
        "春节",
        "春节",
    )
    bad = (
        "day,to,rule,name\n2028-01-01,,休,元旦\n2028-01-01,,班,元旦\n2028-02-30,,休,春节\n"
        "2028-03-05,2028-03-01,休,清明\n2029-01-01,,休,元旦\n2028-04-04,,maybe,清明\n2028-05-02,,班,劳动节\n"
    )
    answer = await hub.http.post(
        url, params={"version": "csv-2028", "years": "2028"}, content=bad.encode(), headers=hub.admin
    )
    assert answer.status_code == 422
    assert [(error["line"], error["detail"].split(";")[0][:24]) for error in answer.json()["errors"]] == [
        (3, "2028-01-01 has two rules"),
        (4, "'2028-02-30' is no day"),
        (5, "2028-03-01 comes before "),
        (6, "2029-01-01 lies in a yea"),
        (7, "'maybe' is no rule"),
        (8, "2028-05-02 (劳动节) is a we"),
    ]


async def test_a_policy_may_ask_for_matter_and_region(hub: Harness) -> None:
    data = await _policy(hub)
    rule = {"when": {"matters": ["0101"], "regions": ["4601"]}, "set": {"complete": {"natural": "PT5H"}}}
    await _post(hub, "policies", data | {"rules": [*data["rules"], rule]})
    await _known(hub, "policies", "new")
    for region, hours in (("460106", 5), ("469001", 24)):
        order = Order(hub, channel="web", region=region)
        await order.dispatched()
        await hub.settle()
        assert (await order.clocks())["complete", 1]["allowed_s"] == hours * 3600
