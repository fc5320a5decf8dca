"""Returns, disputes and rulings, two people at once, row scope, and the registers behind routing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import LONGHUA, ROAD, STREET_TRADE, act, facts, new_order, order_of

CITY = Path(__file__).parents[3] / "cities" / "demo"
CITYADMIN = "460106-cityadmin"
CENTRE = "460100-12345"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "dispatch") as running:
        yield running


def handler(hub: Harness, *units: str) -> dict[str, str]:
    return hub.token("handler", units=units, sub=f"handler-{units[0]}")


async def test_a_return_dispatches_at_once_to_another_unit(hub: Harness) -> None:
    order = await new_order(hub)
    body = {"reason": "not_my_duty", "suggested_unit": "460106-market", "note": "属市场监管"}
    answer = await act(hub, order["id"], "return", body, handler(hub, CITYADMIN))
    assert answer.status_code == 200, answer.text
    moved = await order_of(hub, order["appeal_ids"][0])
    assert (moved["status"], moved["lead"], moved["dispatch_no"]) == ("dispatched", "460100-cityadmin", 2)
    assert moved["returns"][0]["unit"] == CITYADMIN
    assert await facts(hub, order["id"]) == ["dispatched", "returned", "dispatched"]
    gone = await hub.http.get(f"/v1/work-orders/{order['id']}", headers=handler(hub, CITYADMIN))
    assert gone.status_code == 404


async def test_a_return_after_its_window_says_what_is_left(hub: Harness) -> None:
    order = await new_order(hub)
    await hub.advance(6 * 3600)
    answer = await act(hub, order["id"], "return", {"reason": "other"}, handler(hub, CITYADMIN))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "invalid_transition")
    assert problem["actions"] == ["accept"]
    assert problem["present"] == {"id": order["id"], "status": "dispatched", "lead": CITYADMIN, "version": 1}


async def disputed(hub: Harness) -> tuple[dict[str, Any], str]:
    order = await new_order(hub)
    await act(hub, order["id"], "return", {"reason": "not_my_duty"}, handler(hub, CITYADMIN))
    answer = await act(hub, order["id"], "return", {"reason": "not_my_duty"}, handler(hub, "460100-cityadmin"))
    assert answer.json()["status"] == "disputed", answer.text
    return order, answer.json()["dispute_id"]


async def test_the_second_return_is_ruled_and_a_return_after_it_is_recorded(hub: Harness) -> None:
    order, dispute = await disputed(hub)
    listed = (await hub.http.get("/v1/disputes?status=open", headers=hub.admin)).json()["items"]
    assert next(item for item in listed if item["id"] == dispute)["units"] == [CITYADMIN, "460100-cityadmin"]
    ruling = {"lead": CITYADMIN, "co_handlers": ["460106-market"], "scope": "case", "reason": "占道归城管"}
    path = f"/v1/disputes/{dispute}/ruling"
    assert (await hub.http.post(path, json=ruling, headers=handler(hub, CITYADMIN))).status_code == 403
    answer = await hub.http.post(f"/v1/disputes/{dispute}/ruling", json=ruling, headers=hub.token("supervisor"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["lead"]) == ("dispatched", CITYADMIN)
    assert answer.json()["decision"][-1]["rule"] == "ruling"
    again = await hub.http.post(f"/v1/disputes/{dispute}/ruling", json=ruling, headers=hub.admin)
    assert (again.status_code, again.json()["code"]) == (409, "invalid_transition")
    shirked = await act(hub, order["id"], "return", {"reason": "not_my_duty"}, handler(hub, CITYADMIN))
    assert (shirked.json()["status"], shirked.json()["lead"]) == ("dispatched", CITYADMIN)
    assert await facts(hub, order["id"]) == [
        "dispatched",
        "returned",
        "dispatched",
        "returned",
        "disputed",
        "ruled",
        "dispatched",
        "shirked",
    ]
    audit = await hub.query("SELECT action FROM dispatch.audit WHERE subject = $1", order["id"])
    assert [row["action"] for row in audit] == ["ruling"]


async def test_a_ruling_from_now_on_leads_the_next_case_of_the_kind(hub: Harness) -> None:
    _, dispute = await disputed(hub)
    ruling = {"lead": "460106-market", "scope": "matter_territory", "reason": "今后由市场监管办理"}
    answer = await hub.http.post(f"/v1/disputes/{dispute}/ruling", json=ruling, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    following = await new_order(hub)
    assert following["lead"] == "460106-market"
    answers = {entry["rule"]: entry for entry in following["decision"]}
    assert answers["duty_list"]["outcome"] == "chosen"
    assert "争议裁定" in answers["duty_list"]["reason"]
    elsewhere = await new_order(hub, region_code="460108001")
    assert elsewhere["lead"] == "460108-cityadmin"
    duties = (await hub.http.get(f"/v1/duties?matter={STREET_TRADE}", headers=hub.admin)).json()["items"]
    assert [duty["source"] for duty in duties] == [f"ruling:{dispute}"]
    await hub.query("DELETE FROM dispatch.duties WHERE source LIKE 'ruling:%'")
    await hub.query("UPDATE dispatch.registries SET version = version + 1 WHERE name = 'duties'")


async def test_a_transfer_of_a_disputed_order_ends_the_dispute(hub: Harness) -> None:
    order, dispute = await disputed(hub)
    body = {"lead": "460106001-office", "reason": "街道先行处置"}
    assert (await act(hub, order["id"], "transfer", body, hub.token("seat"))).json()["lead"] == "460106001-office"
    assert (await facts(hub, order["id"]))[-2:] == ["ruled", "dispatched"]
    listed = (await hub.http.get("/v1/disputes?status=ruled", headers=hub.admin)).json()["items"]
    assert next(item for item in listed if item["id"] == dispute)["lead"] == "460106001-office"


async def test_two_people_at_once_one_wins_and_the_other_hears_the_present_state(hub: Harness) -> None:
    order = await new_order(hub)
    unit = handler(hub, CITYADMIN)
    etag = {"If-Match": '"1"'}
    answers = await asyncio.gather(
        act(hub, order["id"], "accept", headers=unit | etag),
        act(hub, order["id"], "return", {"reason": "not_my_duty"}, unit | etag),
        act(hub, order["id"], "transfer", {"lead": "460100-roads", "reason": "改派"}, hub.admin | etag),
    )
    codes = [answer.status_code for answer in answers]
    # the handler no longer sees it (404) when the transfer was first
    assert codes.count(200) == 1, codes
    assert set(codes) <= {200, 404, 412}, codes
    for answer in answers:
        if answer.status_code == 412:
            assert answer.json()["code"] == "stale"
            assert answer.json()["present"]["version"] > 1


async def test_many_people_on_one_order_leave_one_line_of_history(hub: Harness) -> None:
    order = await new_order(hub)
    await act(hub, order["id"], "accept")
    answers = await asyncio.gather(*(act(hub, order["id"], "progress", {"note": f"第{n}次"}) for n in range(30)))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(3, 33))
    assert await facts(hub, order["id"]) == ["dispatched", "accepted", *["progressed"] * 30]


async def test_a_repeated_key_answers_the_same_and_acts_once(hub: Harness) -> None:
    order = await new_order(hub)
    key = hub.admin | {"Idempotency-Key": uuid7()}
    first = await act(hub, order["id"], "accept", {"note": "一"}, key)
    again = await act(hub, order["id"], "accept", {"note": "一"}, key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    other = await act(hub, order["id"], "accept", {"note": "二"}, key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_a_handler_sees_only_orders_that_his_units_lead_or_help(hub: Harness) -> None:
    order = await new_order(hub, ROAD)
    roads, other = handler(hub, "460100-roads"), handler(hub, CITYADMIN)
    path = f"/v1/work-orders/{order['id']}"
    assert (await hub.http.get(path, headers=roads)).json()["actions"] == ["accept", "return"]
    assert (await hub.http.get(path, headers=other)).status_code == 404
    assert (await act(hub, order["id"], "accept", headers=other)).status_code == 404
    listed = (await hub.http.get("/v1/work-orders?limit=200", headers=other)).json()["items"]
    assert order["id"] not in [item["id"] for item in listed]
    assert {CITYADMIN} >= {item["lead"] for item in listed if CITYADMIN not in item["co_handlers"]}
    await act(hub, order["id"], "accept", headers=roads)
    added = await act(hub, order["id"], "co-handlers", {"units": [CITYADMIN]}, roads)
    assert added.json()["co_handlers"] == [CITYADMIN]
    assert (await hub.http.get(path, headers=other)).json()["actions"] == ["progress"]
    assert (await act(hub, order["id"], "complete", {"result": "好", "solved": True}, other)).status_code == 403


async def test_region_scope_hides_orders_of_other_districts(hub: Harness) -> None:
    order = await new_order(hub)
    path = f"/v1/work-orders/{order['id']}"
    assert (await hub.http.get(path, headers=hub.token("supervisor", regions=["460106"]))).status_code == 200
    assert (await hub.http.get(path, headers=hub.token("supervisor", regions=["460108"]))).status_code == 404
    assert (await hub.http.get(path)).status_code == 401
    assert (await hub.http.get(path, headers=hub.token("platform"))).status_code == 403


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("complete", {"result": "好", "solved": "yes"}, 422),
        ("complete", {"solved": True}, 422),
        ("return", {"reason": "because"}, 422),
        ("return", {"reason": "other", "suggested_unit": "nobody"}, 422),
        ("suspend", {"reason": "等", "days": 91}, 422),
        ("extend", {"reason": "等", "seconds": 0}, 422),
        ("transfer", {"lead": "nobody", "reason": "x"}, 422),
        ("transfer", {"lead": "460100-neighbours", "reason": "x"}, 422),
        ("co-handlers", {"units": []}, 422),
        ("dance", {}, 404),
        ("contact", {}, 409),
    ],
)
async def test_wrong_bodies_are_refused_and_change_nothing(
    hub: Harness, action: str, body: dict[str, Any], status: int
) -> None:
    order = await new_order(hub)
    answer = await act(hub, order["id"], action, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await order_of(hub, order["appeal_ids"][0]))["version"] == 1


async def test_unknown_ids_are_not_found(hub: Harness) -> None:
    for path in (f"/v1/work-orders/{uuid7()}", "/v1/work-orders/nonsense"):
        assert (await hub.http.get(path, headers=hub.admin)).status_code == 404
    for path in (f"/v1/disputes/{uuid7()}/ruling",):
        body = {"lead": CITYADMIN, "scope": "case", "reason": "x"}
        assert (await hub.http.post(path, json=body, headers=hub.admin)).status_code == 404
    assert (await hub.http.post(f"/v1/approvals/{uuid7()}/reject", headers=hub.admin)).status_code == 404


async def test_the_preview_tells_who_would_get_a_case_and_stores_nothing(hub: Harness) -> None:
    before = await hub.query("SELECT count(*) AS n FROM dispatch.work_orders")
    body = {"matter": "03030101", "class": "urgent", "region_code": LONGHUA, "groups": ["elderly"]}
    answer = (await hub.http.post("/v1/routing/preview", json=body, headers=hub.admin)).json()
    assert (answer["lead"], answer["co_handlers"]) == ("460100-gas", ["460100-emergency"])
    assert answer["clock_policy"] == "green_channel"
    assert answer["decision"][0]["rule"] == "green_channel"
    assert await hub.query("SELECT count(*) AS n FROM dispatch.work_orders") == before


async def test_the_list_turns_pages_without_gaps_or_repeats(hub: Harness) -> None:
    for _ in range(5):
        await new_order(hub)
    seen: list[str] = []
    after = ""
    while True:
        page = (await hub.http.get(f"/v1/work-orders?limit=3{after}", headers=hub.admin)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    total = (await hub.query("SELECT count(*) AS n FROM dispatch.work_orders"))[0]["n"]
    assert len(seen) == len(set(seen)) == total
    assert seen == sorted(seen, reverse=True)


async def test_a_new_duty_is_used_from_the_next_case_on(hub: Harness) -> None:
    body = {"matter": "0201", "region_code": "460107", "lead": "460107-gov", "note": "琼山道路由区政府统筹"}
    answer = await hub.http.post("/v1/duties", json=body, headers=hub.admin)
    assert answer.status_code == 201, answer.text
    assert (await new_order(hub, ROAD, region_code="460107"))["lead"] == "460107-gov"
    assert (await new_order(hub, ROAD))["lead"] == "460100-roads"
    wrong = await hub.http.post("/v1/duties", json=body | {"lead": "nobody"}, headers=hub.admin)
    assert wrong.json()["errors"][0]["pointer"] == "/lead"


async def test_units_are_imported_with_a_diff_and_impact_before_they_are_in_force(server_url: str) -> None:
    async with Harness.fresh(server_url, "dispatch") as hub:
        order = await new_order(hub)
        listed = (await hub.http.get("/v1/units?limit=200&region=460106", headers=hub.admin)).json()["items"]
        assert CITYADMIN in [unit["code"] for unit in listed]
        lines = (CITY / "units.csv").read_text("utf-8").splitlines()
        kept = "\n".join(line for line in lines if not line.startswith("district,{region}-cityadmin"))
        once = hub.admin | {"Idempotency-Key": "units-of-november"}
        answer = await hub.http.post("/v1/units/import", content=kept.encode("gb18030"), headers=once)
        assert answer.status_code == 201, answer.text
        proposal = answer.json()
        again = await hub.http.post("/v1/units/import", content=kept.encode("gb18030"), headers=once)
        assert (again.status_code, again.json()) == (200, proposal)
        other = await hub.http.post("/v1/units/import", content=kept.encode("utf-8"), headers=once)
        assert other.json()["code"] == "idempotency_conflict"
        assert proposal["diff"]["removed"] == [f"46010{n}-cityadmin" for n in (5, 6, 7, 8)]
        assert proposal["impact"]["orders_to_another_unit"] == 1
        assert (await new_order(hub))["lead"] == CITYADMIN
        path = f"/v1/units/import/{proposal['version']}/activate"
        assert (await hub.http.post(path, headers=hub.token("handler", units=["x"]))).status_code == 403
        assert (await hub.http.post(path, headers=hub.admin)).status_code == 200
        assert (await new_order(hub))["lead"] == "460100-cityadmin"
        assert (await order_of(hub, order["appeal_ids"][0]))["lead"] == CITYADMIN


async def test_the_impact_of_other_matter_codes_is_told_before_a_catalogue_is_activated(server_url: str) -> None:
    async with Harness.fresh(server_url, "dispatch") as hub:
        await new_order(hub)
        accepted = await new_order(hub)
        await act(hub, accepted["id"], "accept")
        await new_order(hub, ROAD)
        body = {"codes": {"01010101": ROAD}}
        answer = await hub.http.post("/v1/routing/impact", json=body, headers=hub.admin)
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["orders_examined"], shown["orders_to_another_unit"]) == (3, 2)
        assert [(move["from"], move["orders"]) for move in shown["moves"]] == [(CITYADMIN, 2)]
        assert shown["matters_without_a_successor"] == [{"matter": ROAD, "orders": 1}]
        unknown = await hub.http.post("/v1/routing/impact", json=body | {"units_version": 99}, headers=hub.admin)
        assert unknown.status_code == 404
        # units that follow the new codes take all of it along
        units = (CITY / "units.csv").read_text("utf-8")
        moved = "\n".join(
            line.replace(",01,", ",01|02010101,") if "cityadmin" in line and line.startswith("district") else line
            for line in units.splitlines()
        )
        version = (await hub.http.post("/v1/units/import", content=moved.encode(), headers=hub.admin)).json()["version"]
        both = await hub.http.post("/v1/routing/impact", json=body | {"units_version": version}, headers=hub.admin)
        assert both.json()["orders_to_another_unit"] == 0, both.text


async def test_a_wrong_units_file_is_reported_line_by_line_and_not_imported(hub: Harness) -> None:
    wrong = "code,name,kind,region,supervisor\nc,中心,centre,460100,\na,甲局,bureau,999999,nobody\n"
    answer = await hub.http.post("/v1/units/import", content=wrong.encode(), headers=hub.admin)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/3/kind", "/3/region"}
    for body in (b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b'code,name,kind,region\n"x'):
        assert (await hub.http.post("/v1/units/import", content=body, headers=hub.admin)).status_code == 422


async def test_the_centre_cannot_return_what_it_owns_as_the_last_resort(hub: Harness) -> None:
    order = await new_order(hub, "99999999", region_code="460100")
    assert order["lead"] == CENTRE
    assert "return" not in order["actions"]
    assert (await act(hub, order["id"], "return", {"reason": "other"})).status_code == 409
    assert (await act(hub, order["id"], "accept", headers=hub.token("seat"))).status_code == 200


async def test_a_bulk_action_does_each_order_by_itself(hub: Harness) -> None:
    orders = [await new_order(hub) for _ in range(4)]
    await act(hub, orders[1]["id"], "accept")  # is past it already
    unknown = uuid7()
    body = {
        "action": "accept",
        "orders": [
            {"id": orders[0]["id"]},
            {"id": orders[1]["id"]},
            {"id": orders[2]["id"], "version": 7},
            {"id": orders[3]["id"], "version": 1},
            {"id": unknown},
        ],
        "body": {"note": "一起接单"},
    }
    headers = hub.admin | {"Idempotency-Key": f"bulk-{unknown}"}
    answer = await hub.http.post("/v1/work-orders/bulk", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    told = [(item["status"], item.get("state") or item["code"]) for item in answer.json()["items"]]
    assert told == [
        (200, "accepted"),
        (409, "invalid_transition"),
        (412, "stale"),
        (200, "accepted"),
        (404, "not_found"),
    ]
    assert answer.json()["items"][1]["present"]["status"] == "accepted"
    # sent again: what was done answers as then, and is not done twice; what was refused is tried again
    again = await hub.http.post("/v1/work-orders/bulk", json=body, headers=headers)
    assert again.json() == answer.json()
    assert (await order_of(hub, orders[0]["appeal_ids"][0]))["version"] == 2
    # row scope is that of single orders
    stranger = await hub.http.post("/v1/work-orders/bulk", json=body, headers=handler(hub, "460100-roads"))
    assert {item["status"] for item in stranger.json()["items"]} == {404}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "dance", "orders": [{"id": "x"}]}, "/action"),
        ({"action": "complete", "orders": [{"id": "x"}], "body": {"result": "好"}}, "/body/solved"),
        ({"action": "accept", "orders": []}, "/orders"),
        ({"action": "accept", "orders": [{"id": "x"}, {"id": "x"}]}, "/orders/1/id"),
        ({"action": "accept", "orders": [{"id": str(n)} for n in range(201)]}, "/orders"),
    ],
)
async def test_a_bulk_action_of_nonsense_is_refused_whole(hub: Harness, body: dict[str, Any], pointer: str) -> None:
    answer = await hub.http.post("/v1/work-orders/bulk", json=body, headers=hub.admin)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
