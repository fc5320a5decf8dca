"""Withdraw, decline, link, unlink, unmask: each once, told, and only by whom it may be."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from shared.events.catalog.work_orders import WorkOrderClosed
from shared.testing.harness import Harness
from tests.integration.intake.examples import order
from tests.integration.intake.test_case_view import case, dispatched, items, receive

REPORTER = {"name": "欧阳小明", "phone": "138 0013 8000", "id_number": "11010519491231002X"}


async def act(hub: Harness, appeal_id: str, action: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    return await hub.http.post(f"/v1/appeals/{appeal_id}/{action}", json=body, headers=headers)


async def test_a_withdrawn_appeal_says_so_once(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    seat = hub.token("seat")
    answers = await asyncio.gather(*(act(hub, appeal_id, "withdraw", {"reason": "已自行解决"}, seat) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    assert refused["code"] == "invalid_transition"
    assert (await case(hub, appeal_id))["status"] == "withdrawn"
    await hub.settle()
    events = await hub.events("intake.appeals.v1", key=appeal_id)
    assert [(event.type, event.sequence) for event in events] == [("appeal.received", 1), ("appeal.withdrawn", 2)]
    assert events[1].data.reason == "已自行解决"
    assert events[1].data.after.status == "withdrawn"


async def test_later_events_do_not_bring_a_withdrawn_case_back(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    await act(hub, appeal_id, "withdraw", {}, hub.admin)
    await dispatched(hub, appeal_id)
    assert (await case(hub, appeal_id))["status"] == "withdrawn"


async def test_a_decline_needs_a_reason_that_the_citizen_reads(hub: Harness) -> None:
    received = await receive(hub)
    appeal_id = received["id"]
    assert (await act(hub, appeal_id, "decline", {}, hub.admin)).status_code == 422
    assert (await act(hub, appeal_id, "decline", {"reason": " "}, hub.admin)).status_code == 422
    answer = await act(hub, appeal_id, "decline", {"reason": "已进入诉讼，电话13800138000"}, hub.token("supervisor"))
    assert (answer.status_code, answer.json()["status"]) == (200, "declined")
    pair = {name: received[name] for name in ("reference_no", "query_code")}
    seen = (await hub.http.get("/v1/track", params=pair)).json()
    assert seen["status"] == "declined"
    assert seen["items"][-1]["reason"] == "已进入诉讼，电话〔电话〕"


async def test_a_repeated_key_withdraws_once(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    key = hub.admin | {"Idempotency-Key": str(uuid4())}
    first = await act(hub, appeal_id, "withdraw", {"reason": "a"}, key)
    again = await act(hub, appeal_id, "withdraw", {"reason": "a"}, key)
    other = await act(hub, appeal_id, "withdraw", {"reason": "b"}, key)
    assert [answer.status_code for answer in (first, again, other)] == [200, 200, 409]
    assert again.json() == first.json()


async def test_what_needs_no_reason_needs_no_body(hub: Harness) -> None:
    first, second = (await receive(hub))["id"], (await receive(hub))["id"]
    await act(hub, second, "link", {"to": first, "relation": "repeat"}, hub.admin)
    for action in ("unlink", "withdraw"):
        answer = await hub.http.post(f"/v1/appeals/{second}/{action}", headers=hub.admin)
        assert answer.status_code == 200, answer.text
    assert (await hub.http.post(f"/v1/appeals/{first}/decline", headers=hub.admin)).status_code == 422


async def test_an_appeal_that_ended_cannot_be_unlinked(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    assert (await act(hub, appeal_id, "withdraw", {}, hub.admin)).status_code == 200
    refused = await act(hub, appeal_id, "unlink", {}, hub.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    await hub.settle()
    events = await hub.events("intake.appeals.v1", key=appeal_id)
    assert [event.type for event in events] == ["appeal.received", "appeal.withdrawn"]


async def test_link_and_unlink_are_wishes_that_dispatch_reads(hub: Harness) -> None:
    first, second = (await receive(hub))["id"], (await receive(hub))["id"]
    seat = hub.token("seat")
    wish = {"to": first, "relation": "repeat"}
    assert (await act(hub, second, "link", wish, seat)).status_code == 200
    assert (await case(hub, second))["links"] == [{"appeal_id": first, "relation": "repeat", "state": "requested"}]
    assert (await act(hub, second, "unlink", {}, seat)).status_code == 200
    assert (await case(hub, second))["links"] == []
    await hub.settle()
    events = await hub.events("intake.appeals.v1", key=second)
    assert [event.type for event in events] == ["appeal.received", "appeal.link_requested", "appeal.unlink_requested"]
    assert events[1].data.link.to == first
    assert [item["type"] for item in await items(hub, second)][1:] == [event.type for event in events[1:]]
    assert (await act(hub, second, "link", {"to": second, "relation": "repeat"}, seat)).status_code == 422
    assert (await act(hub, second, "link", {"to": str(uuid4()), "relation": "repeat"}, seat)).status_code == 404
    assert (await act(hub, second, "link", {"to": first, "relation": "friend"}, seat)).status_code == 422


async def test_only_the_handler_of_an_open_order_unmasks_and_it_is_on_record(hub: Harness) -> None:
    appeal_id = (await receive(hub, reporter=REPORTER, location={"address": "海秀中路72号3栋501房"}))["id"]
    ask = {"field": "phone", "reason": "联系市民核实"}
    mine = hub.token("handler", units=["u-lighting"], sub="li")
    assert (await act(hub, appeal_id, "unmask", ask, mine)).status_code == 404
    await dispatched(hub, appeal_id)
    answer = await act(hub, appeal_id, "unmask", ask, mine)
    assert answer.status_code == 200
    assert answer.json()["value"] == REPORTER["phone"]
    assert (await act(hub, appeal_id, "unmask", ask | {"field": "address"}, mine)).json()[
        "value"
    ] == "海秀中路72号3栋501房"
    assert (await act(hub, appeal_id, "unmask", {"field": "phone", "reason": ""}, mine)).status_code == 422
    assert (await act(hub, appeal_id, "unmask", ask | {"field": "secret"}, mine)).status_code == 422
    assert (await act(hub, appeal_id, "unmask", ask, hub.token("seat"))).status_code == 403
    assert (await act(hub, appeal_id, "unmask", ask, hub.token("leader"))).status_code == 403
    assert (await act(hub, appeal_id, "unmask", ask, hub.token("handler", units=["u-x"]))).status_code == 404
    entries = await hub.query(
        "SELECT actor, action, reason, detail FROM intake.audit WHERE subject = $1 ORDER BY position", appeal_id
    )
    assert [(entry["actor"], entry["action"]) for entry in entries] == [("unit:u-lighting", "unmask")] * 2
    assert entries[0]["reason"] == "联系市民核实"
    chain = await hub.http.get("/ops/intake/audit/verify", headers=hub.admin)
    assert chain.json()["intact"] is True


async def test_every_look_is_permitted_and_recorded_anew_and_kept_nowhere(hub: Harness) -> None:
    appeal_id = (await receive(hub, reporter=REPORTER))["id"]
    order_id = await dispatched(hub, appeal_id)
    key = hub.token("handler", units=["u-lighting"]) | {"Idempotency-Key": str(uuid4())}
    ask = {"field": "name", "reason": "核实"}
    for _ in range(2):
        assert (await act(hub, appeal_id, "unmask", ask, key)).json()["value"] == REPORTER["name"]
    entries = await hub.query("SELECT count(*) FROM intake.audit WHERE subject = $1", appeal_id)
    assert entries[0][0] == 2
    held = await hub.query("SELECT answer::text FROM intake.idempotency_keys WHERE answer IS NOT NULL")
    assert all("欧阳" not in row["answer"] for row in held)
    closed = order(order_id, [appeal_id], hub.clock.now(), status="closed", version=2)
    await hub.emit(WorkOrderClosed(actor="system:dispatch", after=closed), key=order_id, sequence=2)
    await hub.settle()
    assert (await act(hub, appeal_id, "unmask", ask, key)).status_code == 403


async def test_actions_need_their_role(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    for action, body in (
        ("decline", {"reason": "x"}),
        ("link", {"to": str(uuid4()), "relation": "repeat"}),
        ("unlink", {}),
        ("withdraw", {}),
    ):
        assert (await act(hub, appeal_id, action, body, {})).status_code == 401
        for role in ("handler", "leader", "auditor"):
            headers = hub.token(role, units=["u-lighting"])
            assert (await act(hub, appeal_id, action, body, headers)).status_code == 403, (action, role)
