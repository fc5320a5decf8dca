"""Disputes opened by hand, on-site checks, and the appeal against a ruling, through the bus and HTTP (ADR 0023)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio

from shared.clock import ZONE
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import STREET_TRADE, act, facts, new_order, order_of

DISTRICT, CITYADMIN, MARKET, CENTRE = "460106-cityadmin", "460100-cityadmin", "460106-market", "460100-12345"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "dispatch", "sla") as running:
        yield running


def handler(hub: Harness, unit: str) -> dict[str, str]:
    return hub.token("handler", units=[unit], sub=f"handler-{unit}")


async def write(
    hub: Harness, path: str, body: dict[str, Any], headers: dict[str, str], status: int = 200
) -> dict[str, Any]:
    answer = await hub.http.post(f"/v1/disputes{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def disputed(hub: Harness) -> tuple[dict[str, Any], str]:
    order = await new_order(hub)
    for unit in (DISTRICT, CITYADMIN):
        answer = await act(hub, order["id"], "return", {"reason": "not_my_duty"}, handler(hub, unit))
    assert answer.json()["status"] == "disputed", answer.text
    return order, answer.json()["dispute_id"]


async def ruled(hub: Harness, scope: str = "case", **changes: Any) -> tuple[dict[str, Any], str]:
    order, dispute = await disputed(hub)
    body = {"lead": MARKET, "scope": scope, "reason": "属市场监管", **changes}
    await write(hub, f"/{dispute}/ruling", body, hub.token("seat", sub="ruler"))
    return order, dispute


async def shown(hub: Harness, dispute: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = await hub.http.get(f"/v1/disputes/{dispute}", headers=headers or hub.admin)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ruling_clocks(hub: Harness, order_id: str) -> list[tuple[int, bool]]:
    """Round of each ruling clock, and whether it runs."""
    await hub.settle()
    answer = (await hub.http.get(f"/v1/clocks/{order_id}", headers=hub.admin)).json()
    return [(one["round"], one["stopped_at"] is None) for one in answer["items"] if one["clock"] == "ruling"]


async def test_the_centre_opens_a_dispute_by_hand(hub: Harness) -> None:
    order = await new_order(hub)
    await act(hub, order["id"], "accept")
    body = {"work_order_id": order["id"], "reason": "两个部门都在办", "units": [MARKET]}
    await write(hub, "", body, handler(hub, DISTRICT), 403)
    answer = await write(hub, "", body, hub.token("seat"))
    assert (answer["status"], answer["lead"]) == ("disputed", CENTRE)
    dispute = await shown(hub, answer["dispute_id"])
    assert (dispute["units"], dispute["cause"], dispute["status"]) == ([DISTRICT, MARKET], "两个部门都在办", "open")
    assert dispute["actions"] == ["check", "ruling"]
    assert await ruling_clocks(hub, order["id"]) == [(1, True)]
    again = await write(hub, "", body, hub.token("seat"), 409)
    assert again["present"]["status"] == "disputed"
    await write(hub, "", body | {"work_order_id": uuid7()}, hub.admin, 404)
    await write(hub, "", body | {"units": ["nobody"]}, hub.admin, 422)


async def test_what_was_found_on_the_spot_stands_in_the_reason_of_the_ruling(hub: Harness) -> None:
    order, dispute = await disputed(hub)
    body = {"units": [MARKET], "question": "摊贩在市场内还是市场外"}
    await write(hub, f"/{dispute}/checks", body, handler(hub, DISTRICT), 403)
    answer = await write(hub, f"/{dispute}/checks", body, hub.token("seat"))
    assert answer["checking"] == [MARKET]
    sent = handler(hub, MARKET)
    assert (await hub.http.get(f"/v1/work-orders/{order['id']}", headers=sent)).status_code == 200
    found = await shown(hub, dispute, sent)
    [check] = found["checks"]
    assert (check["state"], check["units"], found["actions"]) == ("open", [MARKET], ["record"])
    record = f"/{dispute}/checks/{check['id']}/record"
    said = {"finding": "在市场外的人行道上，联系人13800138000", "evidence": ["现场照片"]}
    await hub.advance(60)
    await write(hub, record, said, handler(hub, "460100-roads"), 404)
    await write(hub, record, said, sent)
    await write(hub, record, said, hub.admin, 409)
    [check] = (await shown(hub, dispute))["checks"]
    assert (check["state"], check["unit"], check["evidence"]) == ("recorded", MARKET, ["现场照片"])
    assert "13800138000" not in check["finding"]
    assert await ruling_clocks(hub, order["id"]) == [(1, True)], "nothing but the ruling stops its clock"
    body = {"lead": DISTRICT, "scope": "case", "reason": "占道归城管"}
    answer = await write(hub, f"/{dispute}/ruling", body, hub.token("seat"))
    assert "现场核查：在市场外的人行道上" in answer["decision"][-1]["reason"]
    assert (await facts(hub, order["id"]))[-4:] == ["check_ordered", "check_recorded", "ruled", "dispatched"]
    assert (await hub.http.get(f"/v1/work-orders/{order['id']}", headers=sent)).status_code == 404


async def test_an_upheld_ruling_stays_and_cannot_be_contested_again(hub: Harness) -> None:
    order, dispute = await ruled(hub)
    party = handler(hub, MARKET)
    assert (await shown(hub, dispute, party))["actions"] == ["contest"]
    reason = {"reason": "占道不属市场监管", "evidence": ["职责清单第三条"]}
    await write(hub, f"/{dispute}/contest", reason, handler(hub, CITYADMIN), 404)
    answer = await write(hub, f"/{dispute}/contest", reason, party)
    assert (answer["status"], answer["lead"]) == ("dispatched", MARKET), "binding until the decision"
    assert await ruling_clocks(hub, order["id"]) == [(1, False), (2, True)]
    listed = (await hub.http.get("/v1/disputes?status=contested", headers=hub.token("leader"))).json()["items"]
    assert [(item["id"], item["actions"]) for item in listed] == [(dispute, ["decision"])]
    shirked = await act(hub, order["id"], "return", {"reason": "not_my_duty"}, party)
    assert shirked.json()["lead"] == MARKET
    decision = {"outcome": "upheld", "reason": "裁定正确"}
    await write(hub, f"/{dispute}/contest/decision", decision, hub.token("supervisor"), 403)
    await write(hub, f"/{dispute}/contest/decision", decision, hub.token("leader", sub="ruler"), 403)
    await write(hub, f"/{dispute}/contest/decision", decision, hub.token("leader", sub="chief"))
    assert await ruling_clocks(hub, order["id"]) == [(1, False), (2, False)]
    row = await shown(hub, dispute)
    assert (row["status"], row["lead"], row["contest"]["state"]) == ("ruled", MARKET, "upheld")
    assert row["contest"]["decided_by"] == "user:chief"
    assert (await write(hub, f"/{dispute}/contest", reason, party, 409))["code"] == "invalid_transition"
    assert (await write(hub, f"/{dispute}/contest/decision", decision, hub.admin, 409))["present"]["lead"] == MARKET
    audit = await hub.query("SELECT action FROM dispatch.audit WHERE subject = $1 ORDER BY position", order["id"])
    assert [row["action"] for row in audit] == ["ruling", "ruling_contested", "contest_decided"]
    assert (await facts(hub, order["id"]))[-3:] == ["ruling_contested", "shirked", "ruling_upheld"]


async def test_a_changed_ruling_moves_the_order_and_dates_what_held_from_now_on(hub: Harness) -> None:
    order, dispute = await ruled(hub, "matter_territory")
    assert (await new_order(hub))["lead"] == MARKET
    party = handler(hub, MARKET)
    await act(hub, order["id"], "accept", headers=party)
    await write(hub, f"/{dispute}/contest", {"reason": "不属市场监管"}, party)
    path = f"/{dispute}/contest/decision"
    changed = {"outcome": "changed", "reason": "归区城管", "lead": DISTRICT, "scope": "matter_territory"}
    chief = hub.token("leader", sub="chief")
    assert (await write(hub, path, changed | {"lead": None}, chief, 422))["errors"][0]["pointer"] == "/lead"
    assert (await write(hub, path, changed | {"lead": MARKET}, chief, 422))["errors"][0]["pointer"] == "/lead"
    answer = await write(hub, path, changed, chief)
    assert (answer["status"], answer["lead"], answer["decision"][-1]["rule"]) == ("dispatched", DISTRICT, "ruling")
    assert (await facts(hub, order["id"]))[-3:] == ["ruling_contested", "ruling_changed", "dispatched"]
    assert await ruling_clocks(hub, order["id"]) == [(1, False), (2, False)]
    assert (await shown(hub, dispute))["contest"]["state"] == "changed"
    duties = (await hub.http.get(f"/v1/duties?matter={STREET_TRADE}", headers=hub.admin)).json()["items"]
    yesterday = (hub.clock.now().astimezone(ZONE).date() - timedelta(days=1)).isoformat()
    assert [(duty["lead"], duty["valid_to"]) for duty in duties] == [(MARKET, yesterday), (DISTRICT, None)]
    following = await new_order(hub)
    assert following["lead"] == DISTRICT
    assert "争议裁定" in next(one["reason"] for one in following["decision"] if one["rule"] == "duty_list")
    # the new one binds: its unit cannot get rid of it, nor contest it
    assert (await act(hub, order["id"], "return", {"reason": "other"}, handler(hub, DISTRICT))).json()[
        "lead"
    ] == DISTRICT
    await write(hub, f"/{dispute}/contest", {"reason": "再来"}, handler(hub, DISTRICT), 409)
    # and a person may end what it left, too
    ended = await hub.http.post(f"/v1/duties/{duties[1]['id']}/end", json={"reason": "机构改革"}, headers=hub.admin)
    assert ended.json()["valid_to"] == yesterday, ended.text
    rule = next(one for one in (await new_order(hub))["decision"] if one["rule"] == "duty_list")
    assert rule["outcome"] == "passed"
    past = {"reason": "更早", "valid_to": "2020-01-01"}
    wrong = await hub.http.post(f"/v1/duties/{duties[1]['id']}/end", json=past, headers=hub.admin)
    assert wrong.json()["errors"][0]["pointer"] == "/valid_to"
    assert (await hub.http.post("/v1/duties/nobody/end", json={"reason": "x"}, headers=hub.admin)).status_code == 404


async def test_a_ruling_is_final_when_its_time_is_over(hub: Harness) -> None:
    order, dispute = await ruled(hub, co_handlers=[DISTRICT])
    assert (await shown(hub, dispute, handler(hub, DISTRICT)))["actions"] == ["contest"]
    await hub.advance(2 * 86400)
    assert (await shown(hub, dispute, handler(hub, DISTRICT)))["actions"] == []
    late = await write(hub, f"/{dispute}/contest", {"reason": "晚了"}, handler(hub, MARKET), 409)
    assert "ended" in late["detail"]
    assert (await order_of(hub, order["appeal_ids"][0]))["lead"] == MARKET


async def test_a_contested_ruling_lapses_when_the_centre_transfers_the_order(hub: Harness) -> None:
    order, dispute = await ruled(hub)
    await write(hub, f"/{dispute}/contest", {"reason": "不是我们"}, handler(hub, MARKET))
    await act(hub, order["id"], "transfer", {"lead": DISTRICT, "reason": "中心改派"}, hub.token("seat"))
    row = await shown(hub, dispute)
    assert (row["status"], row["contest"]["state"], row["actions"]) == ("ruled", "lapsed", [])
    answer = await hub.http.get("/ops/dispatch/reconcile", headers=hub.admin)
    assert answer.status_code == 200, answer.text
