"""Whose case it is, whatever happens on the way: refusals, offers taken back, receipts that repeat or come in disorder,
keys and directories that change."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import Response

from shared.db.database import plain_url
from shared.federation.keys import FILE, add_key
from shared.testing.harness import Harness
from tests.integration.federation.towns import (
    LOOP,
    Atlas,
    Stranger,
    appeal,
    call,
    dispatched,
    get,
    post,
    reached,
    serving_app,
    towns,
    until,
)

HAIKOU, SANYA, DANZHOU = "460100", "460200", "460400"
AT = "2026-11-02T10:00:00+08:00"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    levels = {HAIKOU: (2, None), SANYA: (2, None), DANZHOU: (2, None)}
    return Atlas(folder, levels, [{"platforms": [HAIKOU, SANYA, DANZHOU], "until": "2030-12-31"}])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str, atlas: Atlas) -> AsyncIterator[Harness]:
    async with towns(server_url, atlas, {HAIKOU: LOOP}) as found:
        yield found[HAIKOU]


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(atlas: Atlas) -> AsyncIterator[Stranger]:
    found = Stranger()
    async with serving_app(found, atlas.urls[SANYA]):
        yield found


async def offered(hub: Harness, stranger: Stranger) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case that was offered to the stranger: the posted appeal, the offer."""
    posted = await appeal(hub, "460204")
    await dispatched(hub, posted["id"])

    async def came() -> Any:
        return next((one for one in stranger.offers() if one["case"]["reference_no"] == posted["reference_no"]), None)

    return posted, await until(came, "the offer")


async def receipt(
    hub: Harness, atlas: Atlas, offer: dict[str, Any], seq: int, state: str, **more: Any
) -> httpx.Response:
    body = {"handoff_id": offer["handoff_id"], "seq": seq, "state": state, "at": AT} | more
    path = f"/v1/handoffs/{offer['handoff_id']}/receipts"
    return await call(hub, atlas, SANYA, HAIKOU, "POST", path, json.dumps(body).encode())


async def order_of(hub: Harness, posted: dict[str, Any]) -> Any:
    case = await get(hub, f"/v1/appeals/{posted['id']}")
    return await get(hub, f"/v1/work-orders/{case['work_orders'][0]['id']}")


async def test_a_refusal_returns_the_case_to_the_own_centre(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    posted, offer = await offered(hub, stranger)
    assert (await receipt(hub, atlas, offer, 1, "refused", reason="电话13876540912称不属本市")).status_code == 200
    await reached(hub, posted["id"], "refused")
    await hub.settle()
    order = await order_of(hub, posted)
    assert (order["status"], order["handoff"]["state"]) == ("dispatched", "refused")
    assert "13876540912" not in order["handoff"]["reason"]
    assert "不属本市" in order["handoff"]["reason"]
    unit = next(item["code"] for item in (await get(hub, "/v1/units"))["items"] if item["code"] != order["lead"])
    moved = await post(hub, f"/v1/work-orders/{order['id']}/transfer", lead=unit, reason="由本市先行处理")
    assert moved["lead"] == unit
    assert (await receipt(hub, atlas, offer, 2, "accepted")).json()["state"] == "refused"  # too late


async def test_an_offer_that_was_taken_back_cannot_be_accepted(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    posted, offer = await offered(hub, stranger)
    order = await order_of(hub, posted)
    unit = next(item["code"] for item in (await get(hub, "/v1/units"))["items"] if item["code"] != order["lead"])
    await post(hub, f"/v1/work-orders/{order['id']}/transfer", lead=unit, reason="诉求人就在本市")

    async def too_late() -> bool:
        answer = await receipt(hub, atlas, offer, 1, "accepted")
        return answer.status_code == 409 and answer.json()["code"] == "handoff_withdrawn"

    await until(too_late, "the withdrawal")
    await hub.settle()
    assert (await order_of(hub, posted))["lead"] == unit
    told = [event.type for event in await hub.events("dispatch.handoffs.v1", key=offer["handoff_id"])]
    assert told == ["handoff.offered", "handoff.withdrawn"]


async def asked(hub: Harness, stranger: Stranger) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A part of a case of our own that the stranger is asked for: the order, the part, the offer."""
    posted = await appeal(hub, "460106")
    order = await dispatched(hub, posted["id"])
    await post(hub, f"/v1/work-orders/{order['id']}/accept")
    await hub.settle()
    part = {"platform": SANYA, "task": "清理下游河道", "region_code": "460204"}
    after = await post(hub, f"/v1/work-orders/{order['id']}/split", parts=[part])

    async def came() -> Any:
        return next((one for one in stranger.offers() if one["case"].get("joint")), None)

    offer = await until(came, "the offer")
    assert (offer["case"]["joint"]["task"], offer["case"]["region_code"]) == ("清理下游河道", "460204")
    assert "contact" not in offer
    return order, after["sub_orders"][-1], offer


async def test_a_part_that_is_refused_returns_to_the_lead(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    order, part, offer = await asked(hub, stranger)
    for _ in range(2):
        assert (await receipt(hub, atlas, offer, 1, "refused", reason="无此河段")).status_code == 200
    await hub.settle()
    after = await get(hub, f"/v1/work-orders/{order['id']}")
    assert (after["status"], after["sub_orders"][0]["status"]) == ("accepted", "returned")
    assert "complete" in after["actions"]
    ended = await get(hub, f"/v1/work-orders/{part['id']}")
    assert (ended["status"], ended["handoff"]["state"]) == ("cancelled", "refused")
    assert ended["handoff"]["reason"] == "无此河段"


async def test_a_part_that_was_recalled_cannot_be_accepted(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    order, part, offer = await asked(hub, stranger)
    await post(hub, f"/v1/work-orders/{part['id']}/recall", reason="不必了")

    async def too_late() -> bool:
        answer = await receipt(hub, atlas, offer, 1, "accepted")
        return answer.status_code == 409 and answer.json()["code"] == "handoff_withdrawn"

    await until(too_late, "the withdrawal")
    await hub.settle()
    assert (await get(hub, f"/v1/work-orders/{order['id']}"))["sub_orders"][0]["status"] == "cancelled"


async def test_a_part_that_ends_there_without_an_answer_is_the_leads_again(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    order, part, offer = await asked(hub, stranger)

    async def taken() -> bool:
        return bool((await receipt(hub, atlas, offer, 1, "accepted")).json()["state"] == "accepted")

    await until(taken, "the acceptance")
    assert (await receipt(hub, atlas, offer, 2, "completed", status="declined", final=True)).status_code == 200
    await hub.settle()
    assert (await get(hub, f"/v1/work-orders/{part['id']}"))["status"] == "cancelled"
    after = await get(hub, f"/v1/work-orders/{order['id']}")
    assert (after["sub_orders"][0]["status"], "complete" in after["actions"]) == ("cancelled", True)
    told = [event.type for event in await hub.events("dispatch.handoffs.v1", key=offer["handoff_id"])]
    assert told == ["handoff.offered", "handoff.accepted", "handoff.completed", "handoff.acknowledged"]


async def test_an_answer_that_crosses_the_recall_of_a_part_changes_nothing(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    order, part, offer = await asked(hub, stranger)

    async def taken() -> bool:
        return bool((await receipt(hub, atlas, offer, 1, "accepted")).json()["state"] == "accepted")

    await until(taken, "the acceptance")
    await post(hub, f"/v1/work-orders/{part['id']}/recall", reason="不必了")

    async def recalled() -> Any:
        return next((body for body in stranger.got if body.get("state") == "withdrawn"), None)

    assert (await until(recalled, "the recall"))["reason"] == "不必了"
    answer = await receipt(hub, atlas, offer, 2, "completed", status="completed", result="已清理", final=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "handoff_withdrawn")
    await hub.settle()
    assert (await get(hub, f"/v1/work-orders/{part['id']}"))["status"] == "cancelled"
    assert (await get(hub, f"/v1/work-orders/{order['id']}"))["sub_orders"][0]["status"] == "cancelled"


async def test_receipts_that_repeat_or_come_in_disorder_change_nothing(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    posted, offer = await offered(hub, stranger)
    clocks = [{"clock": "complete", "used_s": 60, "allowed_s": 3600, "due_at": AT}]
    rating = {"contacted": True, "solved": True, "satisfaction": 4}
    sent: list[tuple[int, str, dict[str, Any]]] = [
        (3, "completed", {"status": "answered", "result": "已清运", "rating": rating, "final": True}),
        (1, "accepted", {}),
        (2, "accepted", {"status": "in_progress", "clocks": clocks}),
        (3, "completed", {"status": "answered", "result": "别的结果"}),
    ]
    for seq, state, more in (*sent, *sent):
        assert (await receipt(hub, atlas, offer, seq, state, **more)).status_code == 200
    await reached(hub, posted["id"], "acknowledged")
    await hub.settle()
    shown = (await get(hub, f"/v1/appeals/{posted['id']}"))["handoff"]
    assert (shown["result"], shown["status"], shown["seq"]) == ("已清运", "answered", 3)
    assert (await order_of(hub, posted))["status"] == "handed_off"
    told = [event.type for event in await hub.events("dispatch.handoffs.v1", key=offer["handoff_id"])]
    assert told == ["handoff.offered", "handoff.accepted", "handoff.completed", "handoff.acknowledged"]

    async def acknowledged() -> bool:
        told = [body["handoff_id"] for body in stranger.got if body.get("state") == "acknowledged"]
        return offer["handoff_id"] in told

    await until(acknowledged, "the acknowledgement")


async def test_an_acceptance_counts_once_the_sender_has_let_go(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    posted, offer = await offered(hub, stranger)
    answers = []
    for _ in range(100):
        answers.append((await receipt(hub, atlas, offer, 1, "accepted")).json()["state"])
        case = await get(hub, f"/v1/work-orders/{(await order_of(hub, posted))['id']}")
        if answers[-1] == "accepted":
            assert case["status"] == "handed_off"
            break
        await asyncio.sleep(0.02)
    assert answers[-1] == "accepted"
    assert set(answers[:-1]) <= {"offered"}
    assert await until(lambda: told(stranger, offer), "the confirmation") == ["confirmed"]


async def told(stranger: Stranger, offer: dict[str, Any]) -> list[str]:
    """What the stranger heard of an offer after it."""
    return [body["state"] for body in stranger.got if body["handoff_id"] == offer["handoff_id"] and "state" in body]


async def test_an_acceptance_that_crosses_the_withdrawal_is_answered_with_it(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    posted, offer = await offered(hub, stranger)
    order = await order_of(hub, posted)
    unit = next(item["code"] for item in (await get(hub, "/v1/units"))["items"] if item["code"] != order["lead"])

    async def waits() -> bool:
        return bool((await hub.query("SELECT count(*) AS n FROM pg_locks WHERE NOT granted"))[0]["n"])

    holder: Any = await asyncpg.connect(plain_url(hub.settings.database_url))
    try:
        async with holder.transaction():  # dispatch can decide nothing until both wait for it
            await holder.execute("SELECT FROM dispatch.work_orders WHERE id = $1 FOR UPDATE", order["id"])
            words = {"lead": unit, "reason": "诉求人就在本市"}
            moving = asyncio.create_task(post(hub, f"/v1/work-orders/{order['id']}/transfer", **words))
            await until(waits, "the transfer to wait")
            assert (await receipt(hub, atlas, offer, 1, "accepted")).json()["state"] == "offered"
    finally:
        await holder.close()
    assert (await moving)["lead"] == unit
    assert await until(lambda: told(stranger, offer), "the withdrawal") == ["withdrawn"]


async def test_a_platform_in_trouble_gets_the_offer_again_and_it_is_the_same(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    far = {"Location": "http://127.0.0.1:9/v1/handoffs"}
    stranger.answers = [
        Response(status_code=401),
        Response(status_code=503),
        Response(status_code=307, headers=far),
        Response(b"x" * 200_000, 201),
    ]
    posted, _ = await offered(hub, stranger)

    async def again() -> bool:
        return len(stranger.offers()) >= 5

    await until(again, "the fifth try", 30)
    tries = [{name: value for name, value in body.items() if name != "contact"} for body in stranger.offers()]
    assert all(one == tries[0] for one in tries)
    assert len({body["contact"] for body in stranger.offers()}) > 1
    await asyncio.sleep(0.5)
    assert len(stranger.offers()) == 5  # acknowledged
    assert (await get(hub, f"/v1/appeals/{posted['id']}"))["handoff"]["state"] == "offered"


async def test_what_the_other_platform_will_never_take_comes_back(
    hub: Harness, atlas: Atlas, stranger: Stranger
) -> None:
    stranger.answers = [Response(json.dumps({"code": "path_refused"}), 403)]
    posted, _ = await offered(hub, stranger)
    await reached(hub, posted["id"], "refused")
    assert "403 path_refused" in (await order_of(hub, posted))["handoff"]["reason"]


async def test_keys_and_directory_change_without_a_restart(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    await offered(hub, stranger)
    assert stranger.keyids[-1] == f"{HAIKOU}#1"
    add_key(atlas.key_dir(HAIKOU) / FILE)
    await offered(hub, stranger)
    assert stranger.keyids[-1] == f"{HAIKOU}#1"  # not published yet
    atlas.publish(HAIKOU)
    atlas.write()
    await offered(hub, stranger)
    assert stranger.keyids[-1] == f"{HAIKOU}#2"
    add_key(atlas.key_dir(SANYA) / FILE)
    atlas.publish(SANYA)
    atlas.write()
    for number in (1, 2):  # both of the other side are believed
        found = await call(hub, atlas, SANYA, HAIKOU, "GET", "/v1/handoffs/none", number=number)
        assert (found.status_code, found.json()["code"]) == (404, "not_found")
    good = atlas.path.read_text()
    atlas.path.write_text("platforms: nonsense")

    async def noticed() -> bool:
        return bool((await get(hub, "/v1/platforms"))["trouble"])

    await until(noticed, "the trouble")
    assert {item["code"] for item in (await get(hub, "/v1/platforms"))["items"]} == {HAIKOU, SANYA, DANZHOU}
    await offered(hub, stranger)  # by the last good one
    assert (await hub.http.get("/ops/intake/health/ready")).status_code == 200
    atlas.path.write_text(good.replace(HAIKOU, HAIKOU))

    async def mended() -> bool:
        return not (await get(hub, "/v1/platforms"))["trouble"]

    await until(mended, "the good directory")


async def test_half_an_hour_without_a_receipt_is_escalated(hub: Harness, atlas: Atlas, stranger: Stranger) -> None:
    posted, offer = await offered(hub, stranger)
    heard, _ = await offered(hub, stranger)
    second = stranger.offers()[-1]
    assert (await receipt(hub, atlas, second, 1, "accepted")).status_code == 200
    await reached(hub, heard["id"], "accepted")
    order = await order_of(hub, posted)
    clocks = await get(hub, f"/v1/clocks/{order['id']}")
    (clock,) = [one for one in clocks["items"] if one["clock"] == "handoff"]
    assert clock["allowed_s"] == timedelta(minutes=30).total_seconds()
    await hub.advance(1801)
    raised = [item for item in (await get(hub, "/v1/supervisions", limit=200))["items"] if item["clock"] == "handoff"]
    assert order["id"] in {item["work_order_id"] for item in raised}
    assert (await order_of(hub, heard))["id"] not in {item["work_order_id"] for item in raised}
    assert any("移交回执" in event.data.after.words for event in await hub.events("sla.notices.v1"))
    assert (await receipt(hub, atlas, offer, 1, "accepted")).status_code == 200
    await reached(hub, posted["id"], "accepted")
