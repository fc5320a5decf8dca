"""联合处置: an order split into parts with deadlines of their own; its lead answers when all are done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest_asyncio

from shared.events.catalog import appeals
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import act, appeal, classified, facts, new_order, order_of
from tests.integration.dispatch.test_handling import CITYADMIN, handler

ROADS, CIVIL = "460100-roads", "460100-civil"


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "dispatch", "sla", "feedback") as running:
        yield running


async def accepted(hub: Harness) -> dict[str, Any]:
    order = await new_order(hub)
    assert (await act(hub, order["id"], "accept")).status_code == 200
    await hub.settle()
    return order


async def split(hub: Harness, order: dict[str, Any], *parts: dict[str, Any]) -> Any:
    return await act(hub, order["id"], "split", {"parts": list(parts)}, handler(hub, CITYADMIN))


async def shown(hub: Harness, order_id: str) -> dict[str, Any]:
    await hub.settle()
    found: dict[str, Any] = (await hub.http.get(f"/v1/work-orders/{order_id}", headers=hub.admin)).json()
    return found


async def clocks(hub: Harness, order_id: str) -> dict[str, dict[str, Any]]:
    await hub.settle()
    answer = await hub.http.get(f"/v1/clocks/{order_id}", headers=hub.admin)
    return {item["clock"]: item for item in answer.json()["items"]}


PARTS = ({"unit": ROADS, "task": "修复路面", "allowed_s": 3600}, {"unit": CIVIL, "task": "安置摊贩"})


async def test_parts_have_units_and_deadlines_of_their_own_inside_the_parents(hub: Harness) -> None:
    order = await accepted(hub)
    answer = await split(hub, order, *PARTS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "accepted"
    assert "complete" not in answer.json()["actions"]
    first, second = (await shown(hub, order["id"]))["sub_orders"]
    assert (first["unit"], first["status"], second["unit"]) == (ROADS, "open", CIVIL)
    assert await facts(hub, order["id"]) == ["dispatched", "accepted", "split"]
    part = await shown(hub, first["id"])
    assert (part["parent_id"], part["lead"], part["status"], part["task"]) == (
        order["id"],
        ROADS,
        "dispatched",
        "修复路面",
    )
    assert [one["id"] for one in part["appeals"]] == order["appeal_ids"]
    own, parents = await clocks(hub, first["id"]), await clocks(hub, order["id"])
    assert set(own) == {"accept", "complete"}
    started, due = (datetime.fromisoformat(own["complete"][name]) for name in ("started_at", "due_at"))
    assert due - started == timedelta(hours=1)
    late = datetime.fromisoformat((await clocks(hub, second["id"]))["complete"]["due_at"])
    wanted = datetime.fromisoformat(parents["complete"]["due_at"])
    assert timedelta(0) <= wanted - late < timedelta(seconds=2)


async def test_the_parent_completes_when_all_parts_are_done_and_citizens_are_asked_once(hub: Harness) -> None:
    order = await accepted(hub)
    ids = [part["id"] for part in (await split(hub, order, *PARTS)).json()["sub_orders"]]
    done = {"result": "已修复。", "solved": True}
    refused = await act(hub, order["id"], "complete", done)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    assert ROADS in refused.json()["detail"]
    for number, (part, unit) in enumerate(zip(ids, (ROADS, CIVIL), strict=True)):
        assert (await act(hub, part, "accept", headers=handler(hub, unit))).status_code == 200
        answer = await act(hub, part, "complete", done, handler(hub, unit))
        assert answer.status_code == 200, answer.text
        states = [one["status"] for one in (await shown(hub, order["id"]))["sub_orders"]]
        assert states == ["completed"] * (number + 1) + ["open"] * (1 - number)
    assert (await act(hub, order["id"], "complete", done)).status_code == 200
    assert await facts(hub, order["id"]) == [
        *("dispatched", "accepted", "split", "part_changed", "part_changed", "completed")
    ]
    asked = await hub.query("SELECT count(*) AS n FROM feedback.cases WHERE state IS NOT NULL")
    assert asked[0]["n"] == 1


async def test_a_part_that_its_unit_returns_ends_and_the_lead_sees_to_it(hub: Harness) -> None:
    order = await accepted(hub)
    [part] = (await split(hub, order, PARTS[0])).json()["sub_orders"]
    answer = await act(hub, part["id"], "return", {"reason": "not_my_duty"}, handler(hub, ROADS))
    assert answer.status_code == 200, answer.text
    assert (await shown(hub, part["id"]))["status"] == "cancelled"
    parent = await shown(hub, order["id"])
    assert [(one["unit"], one["status"]) for one in parent["sub_orders"]] == [(ROADS, "returned")]
    assert "complete" in parent["actions"]
    assert (await clocks(hub, part["id"]))["complete"]["stopped_at"] is not None
    again = await split(hub, order, {"unit": CIVIL, "task": "修复路面"})
    assert again.status_code == 200, again.text


async def test_parts_end_with_their_parent(hub: Harness) -> None:
    order = await accepted(hub)
    parts = [part["id"] for part in (await split(hub, order, *PARTS)).json()["sub_orders"]]
    key = order["appeal_ids"][0]
    await hub.emit(
        appeals.AppealWithdrawn(actor="citizen", after=appeal(hub, key, status="withdrawn")), key=key, sequence=2
    )
    assert (await shown(hub, order["id"]))["status"] == "cancelled"
    for part in parts:
        assert (await shown(hub, part))["status"] == "cancelled"
        assert all(clock["stopped_at"] for clock in (await clocks(hub, part)).values())


async def test_a_part_that_goes_to_another_unit_is_known_there(hub: Harness) -> None:
    order = await accepted(hub)
    [part] = (await split(hub, order, PARTS[0])).json()["sub_orders"]
    answer = await act(hub, part["id"], "transfer", {"lead": CIVIL, "reason": "归口"})
    assert answer.status_code == 200, answer.text
    [known] = (await shown(hub, order["id"]))["sub_orders"]
    assert (known["unit"], known["status"]) == (CIVIL, "open")


async def test_what_cannot_be_split_is_refused(hub: Harness) -> None:
    order = await accepted(hub)
    too_long = await split(hub, order, PARTS[0] | {"allowed_s": 90 * 86400})
    assert (too_long.status_code, "deadline" in too_long.json()["detail"]) == (409, True)
    assert (await split(hub, order, {"unit": CITYADMIN, "task": "自己"})).status_code == 409
    assert (await split(hub, order, PARTS[0], PARTS[0])).status_code == 409
    unknown = await split(hub, order, PARTS[0], {"unit": "nobody", "task": "x"})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/parts/1/unit")
    assert (await split(hub, order)).status_code == 422
    stranger = await act(hub, order["id"], "split", {"parts": [PARTS[0]]}, handler(hub, ROADS))
    assert stranger.status_code == 404
    [part] = (await split(hub, order, PARTS[0])).json()["sub_orders"]
    await act(hub, part["id"], "accept")
    nested = await act(hub, part["id"], "split", {"parts": [PARTS[1]]})
    assert nested.status_code == 409
    for action, body in (("suspend", {"reason": "等", "days": 1}), ("extend", {"reason": "等", "seconds": 60})):
        assert (await act(hub, part["id"], action, body)).status_code == 409
    await hub.settle()
    checks = await hub.http.get("/ops/dispatch/reconcile", headers=hub.admin)
    assert checks.json()["differences"] == 0


async def test_the_lead_and_the_units_of_the_parts_see_each_other(hub: Harness) -> None:
    order = await accepted(hub)
    parts = (await split(hub, order, *PARTS)).json()["sub_orders"]
    for unit, path, status in (
        (CITYADMIN, parts[0]["id"], 200),
        (ROADS, order["id"], 200),
        (ROADS, parts[0]["id"], 200),
        (ROADS, parts[1]["id"], 404),
    ):
        answer = await hub.http.get(f"/v1/work-orders/{path}", headers=handler(hub, unit))
        assert answer.status_code == status, (unit, path)


async def test_every_citizen_of_a_merged_order_gets_its_answer_and_is_asked(server_url: str) -> None:
    async with Harness.fresh(server_url, "intake", "dispatch", "feedback") as hub:
        cases = []
        for phone in ("13876543210", "13876543211"):
            body = {"channel": "web", "text": "路口有摊贩占道经营", "reporter": {"phone": phone}}
            body |= {"location": {"region_code": "460106001"}}
            cases.append((await hub.http.post("/v1/appeals", json=body, headers=hub.token("seat"))).json())
            await classified(hub, cases[-1]["id"])
        first, second = cases
        await hub.settle()
        wish = {"to": first["id"], "relation": "same_event"}
        linked = await hub.http.post(f"/v1/appeals/{second['id']}/link", json=wish, headers=hub.token("seat"))
        assert linked.status_code == 200, linked.text
        order = await order_of(hub, second["id"])
        assert order["appeal_ids"] == [first["id"], second["id"]]
        assert (await facts(hub, order["id"]))[-1] == "appeal_joined"
        await act(hub, order["id"], "accept")
        await act(hub, order["id"], "complete", {"result": "已劝离摊贩", "solved": True})
        await hub.settle()
        for case in cases:
            query = {"reference_no": case["reference_no"], "query_code": case["query_code"]}
            told = (await hub.http.get("/v1/track", params=query)).json()
            assert (told["status"], told["answers"]) == ("completed", ["已劝离摊贩"])
            assert told["rating_url"], "each is asked"
            shown = (await hub.http.get(f"/v1/appeals/{case['id']}", headers=hub.admin)).json()
            assert {link["appeal_id"] for link in shown["links"]} == {one["id"] for one in cases} - {case["id"]}
