"""Offers of other platforms that a person takes or refuses, where the city wants one to decide."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared import city
from shared.testing.harness import Harness
from tests.integration.federation.towns import (
    LOOP,
    Atlas,
    appeal,
    case_by,
    dispatched,
    get,
    post,
    reached,
    towns,
    until,
)

HAIKOU, SANYA = "460100", "460200"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    return Atlas(folder, {HAIKOU: (2, None), SANYA: (2, None)}, [{"platforms": [HAIKOU, SANYA]}])


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city like the demo one, whose centre decides about offers."""
    folder = tmp_path_factory.mktemp("city") / "careful"
    shutil.copytree(city.load("demo").folder, folder)
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text(encoding="utf-8") + "\ndispatch: {incoming: person}\n", encoding="utf-8")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hubs(server_url: str, atlas: Atlas, careful: Path) -> AsyncIterator[dict[str, Harness]]:
    async with towns(server_url, atlas, {HAIKOU: LOOP, SANYA: LOOP}, settings={SANYA: {"city": str(careful)}}) as found:
        yield found


async def waiting(hub: Harness, handoff_id: str) -> dict[str, Any]:
    """An offer as the receiver's centre finds it."""

    async def there() -> Any:
        items = (await get(hub, "/v1/platforms/offers"))["items"]
        return next((one for one in items if one["id"] == handoff_id), None)

    return dict(await until(there, "the offer"))


async def offered(hubs: dict[str, Harness]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The posted appeal, the sender's order, the offer at the receiver."""
    here, there = hubs[HAIKOU], hubs[SANYA]
    posted = await appeal(here, "460204", "海边路段垃圾无人清理，我的电话13876540912。")
    order = await dispatched(here, posted["id"])
    return posted, order, await waiting(there, order["handoff"]["id"])


async def decide(hub: Harness, offer: dict[str, Any], what: str, headers: dict[str, str], **body: Any) -> Any:
    return await hub.http.post(f"/v1/platforms/offers/{offer['id']}/{what}", json=body or None, headers=headers)


async def accept_clocks(hub: Harness, order_id: str) -> list[dict[str, Any]]:
    await hub.settle()
    return [one for one in (await get(hub, f"/v1/clocks/{order_id}"))["items"] if one["clock"] == "accept"]


async def test_a_person_refuses_and_the_case_is_the_senders_again(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    posted, order, offer = await offered(hubs)
    assert (offer["sender"], offer["region_code"], offer["actions"]) == (HAIKOU, "460204", ["accept", "refuse"])
    assert "垃圾无人清理" in offer["text"]
    assert "13876540912" not in offer["text"]
    assert (await get(here, f"/v1/appeals/{posted['id']}"))["handoff"]["state"] == "offered"
    seat = there.token("seat")
    assert (await decide(there, offer, "refuse", seat)).status_code == 422, "a refusal says why"
    refusal = await decide(there, offer, "refuse", seat, reason="海边路段属省管区域，13876540912不认")
    assert (refusal.status_code, refusal.json()["state"], refusal.json()["actions"]) == (200, "refused", [])
    again = await decide(there, offer, "accept", seat)
    assert (again.status_code, again.json()["code"]) == (409, "invalid_transition")
    assert again.json()["present"]["state"] == "refused"
    await reached(here, posted["id"], "refused")
    await here.settle()
    back = await get(here, f"/v1/work-orders/{order['id']}")
    assert (back["status"], back["lead"], back["handoff"]["state"]) == ("dispatched", order["lead"], "refused")
    assert "省管区域" in back["handoff"]["reason"]
    assert "13876540912" not in back["handoff"]["reason"]
    first, second = await accept_clocks(here, order["id"])
    assert (first["stopped_at"] is not None, second["stopped_at"]) == (True, None), "its centre gets its time anew"
    (event,) = await there.events("dispatch.handoffs.v1", key=offer["id"])
    assert (event.type, event.data.actor.partition(":")[0]) == ("handoff.refused", "user")
    assert (await there.query("SELECT count(*) AS n FROM intake.appeals"))[0]["n"] == 0


async def test_a_person_takes_it(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    posted, _, offer = await offered(hubs)
    taken = await decide(there, offer, "accept", there.token("supervisor"))
    assert (taken.status_code, taken.json()["state"]) == (200, "accepted")
    await reached(here, posted["id"], "accepted")
    arrived = await until(lambda: case_by(there, offer["id"]), "the case")
    assert (arrived["channel"], arrived["handoff"]["sender"]) == ("platform", HAIKOU)
    assert offer["id"] not in json.dumps(await get(there, "/v1/platforms/offers"))


async def test_an_offer_that_was_taken_back_is_taken_in_vain(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    _, order, offer = await offered(hubs)
    unit = next(item["code"] for item in (await get(here, "/v1/units"))["items"] if item["code"] != order["lead"])
    await post(here, f"/v1/work-orders/{order['id']}/transfer", lead=unit, reason="本市先行处理")
    await here.settle()
    assert (await decide(there, offer, "accept", there.token("seat"))).status_code == 200

    async def dropped() -> bool:
        rows = await there.query("SELECT state, appeal_id FROM intake.handoffs WHERE id = $1", offer["id"])
        return (rows[0]["state"], rows[0]["appeal_id"]) == ("withdrawn", None)

    await until(dropped, "the withdrawal")


async def test_only_the_centre_of_the_region_decides(hubs: dict[str, Harness]) -> None:
    there = hubs[SANYA]
    _, _, offer = await offered(hubs)
    elsewhere = there.token("seat", regions=["460205"])
    assert (await decide(there, offer, "accept", elsewhere)).status_code == 404
    answer = await there.http.get("/v1/platforms/offers", headers=elsewhere)
    assert offer["id"] not in answer.text
    of_a_unit = there.token("supervisor", units=["460100-roads"])
    assert (await decide(there, offer, "accept", of_a_unit)).status_code == 403
    assert (await decide(there, offer | {"id": "none"}, "accept", there.token("seat"))).status_code == 404
