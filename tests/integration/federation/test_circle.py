"""A case goes from one platform to another and its end comes back: offer, receipts, rating (domain.md, Dispatch 6)."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

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

PROVINCE, HAIKOU, SANYA, TIANYA = "460000", "460100", "460200", "460204"
PHONE, NAME = "13876540912", "欧阳若兰"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    levels = {PROVINCE: (1, None), HAIKOU: (2, PROVINCE), SANYA: (2, PROVINCE), TIANYA: (3, SANYA)}
    return Atlas(folder, levels)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hubs(server_url: str, atlas: Atlas) -> AsyncIterator[dict[str, Harness]]:
    outside = atlas.write(atlas.folder / "outside.yaml", without=[TIANYA])  # as the others know the city
    copies = {PROVINCE: outside, HAIKOU: outside}
    handling = ("intake", "classify", "dispatch", "feedback")
    services = {PROVINCE: ("intake", "dispatch"), HAIKOU: LOOP, SANYA: handling, TIANYA: handling}
    async with towns(server_url, atlas, services, copies) as found:
        yield found


async def test_the_whole_circle_by_the_common_ancestor(hubs: dict[str, Harness], atlas: Atlas) -> None:
    here, way, there = hubs[HAIKOU], hubs[PROVINCE], hubs[SANYA]
    text = f"我叫{NAME}，电话{PHONE}，崖州区海边路段垃圾无人清理，气味难闻。"
    posted = await appeal(here, "460205", text, reporter={"name": NAME, "phone": PHONE})
    order = await dispatched(here, posted["id"])
    assert order["handoff"]["platform"] == SANYA
    await reached(here, posted["id"], "accepted")
    case = await get(here, f"/v1/appeals/{posted['id']}")
    assert case["status"] == "handed_off"
    handoff_id = case["handoff"]["id"]
    assert case["handoff"]["path"] == [HAIKOU, PROVINCE, SANYA]

    arrived = await until(lambda: case_by(there, handoff_id), "the case")
    assert (arrived["channel"], arrived["received_at"][:16]) == ("platform", posted["received_at"][:16])
    assert PHONE not in str(arrived)
    assert arrived["handoff"]["sender"] == HAIKOU
    assert {clock["clock"] for clock in arrived["handoff"]["clocks"]} >= {"complete", "first_contact"}
    for town in (way, here):  # nobody on the way, no event and no message in the clear holds the contact data
        for table in ("intake.handoffs", "intake.peer_messages", "bus.log"):
            rows = await town.query(f"SELECT t::text AS line FROM {table} t")
            assert not any(PHONE in row["line"] or NAME in row["line"] for row in rows), table
    sealed = await there.query("SELECT contact FROM intake.handoffs WHERE id = $1", handoff_id)
    assert sealed[0]["contact"] is None

    theirs = await dispatched(there, arrived["id"])
    for action, body in (("accept", {}), ("contact", {}), ("complete", {"result": "已清运垃圾", "solved": True})):
        await post(there, f"/v1/work-orders/{theirs['id']}/{action}", **body)
    await reached(here, posted["id"], "completed")
    track = {"reference_no": posted["reference_no"], "query_code": posted["query_code"]}

    async def asked() -> str | None:
        answer = (await here.http.get("/v1/track", params=track)).json()
        return str(answer["rating_url"]) if "rating_url" in answer else None

    rating = await until(asked, "the way to rate")
    assert rating.startswith(f"{atlas.urls[SANYA]}/v1/ratings/")
    async with httpx.AsyncClient(trust_env=False) as citizen:
        answer = await citizen.post(rating, json={"contacted": True, "solved": True, "satisfaction": 5})
        assert answer.status_code == 200, answer.text
    for town, appeal_id in ((here, posted["id"]), (there, arrived["id"])):
        await reached(town, appeal_id, "acknowledged")
    case = await get(here, f"/v1/appeals/{posted['id']}")
    assert case["handoff"]["rating"] == {"contacted": True, "solved": True, "satisfaction": 5, "round": 1}
    assert case["handoff"]["result"] == "已清运垃圾"
    assert "已清运垃圾" in (await here.http.get("/v1/track", params=track)).json()["answers"]
    for hub in (here, way, there):
        assert (await hub.query("SELECT count(*) AS n FROM intake.peer_messages"))[0]["n"] == 0
        states = await hub.query("SELECT state FROM intake.handoffs WHERE id = $1", handoff_id)
        assert states[0]["state"] == "acknowledged"
    told = [event.type for event in await here.events("dispatch.handoffs.v1", key=handoff_id)]
    assert told == ["handoff.offered", "handoff.accepted", "handoff.completed", "handoff.acknowledged"]


async def test_a_case_that_goes_on_to_a_county_is_told_of_all_the_way_back(
    hubs: dict[str, Harness], atlas: Atlas
) -> None:
    here, city, county = hubs[HAIKOU], hubs[SANYA], hubs[TIANYA]
    posted = await appeal(here, TIANYA, "马路上的路灯坏了三天，晚上很黑，请派人来修。")
    await dispatched(here, posted["id"])
    await reached(here, posted["id"], "accepted")
    first = (await get(here, f"/v1/appeals/{posted['id']}"))["handoff"]["id"]
    passing = await until(lambda: case_by(city, first), "the case at the city")
    await dispatched(city, passing["id"])

    async def went_on() -> str | None:
        case = await get(city, f"/v1/appeals/{passing['id']}")
        return str(case["handoff"]["id"]) if case["status"] == "handed_off" else None

    second = await until(went_on, "the case to go on")
    assert second != first
    arrived = await until(lambda: case_by(county, second), "the case at the county")
    order = await dispatched(county, arrived["id"])
    for action, body in (("accept", {}), ("complete", {"result": "路灯已修好", "solved": True})):
        await post(county, f"/v1/work-orders/{order['id']}/{action}", **body)
    await reached(here, posted["id"], "completed")
    track = {"reference_no": posted["reference_no"], "query_code": posted["query_code"]}

    async def asked() -> str | None:
        (row,) = await city.query("SELECT mirror FROM intake.handoffs WHERE id = $1", second)
        link = json.loads(row["mirror"]).get("rating_link")
        return str(json.loads(atlas.own_keys(SANYA).open(base64.b64decode(link)))["url"]) if link else None

    rating = await until(asked, "the way to rate")
    assert rating.startswith(f"{atlas.urls[TIANYA]}/v1/ratings/")
    # an address that is not in his directory is shown to no citizen
    assert "rating_url" not in (await here.http.get("/v1/track", params=track)).json()
    async with httpx.AsyncClient(trust_env=False) as citizen:
        given = await citizen.post(rating, json={"contacted": True, "solved": True, "satisfaction": 4})
        assert given.status_code == 200, given.text
    for town, appeal_id in ((county, arrived["id"]), (city, passing["id"]), (here, posted["id"])):
        await reached(town, appeal_id, "acknowledged")
    shown = (await get(here, f"/v1/appeals/{posted['id']}"))["handoff"]
    assert (shown["result"], shown["rating"]["satisfaction"], shown["status"]) == ("路灯已修好", 4, "answered")
    for town in (here, city, county):  # the way to rate is the citizen's alone
        rows = await town.query("SELECT told, mirror FROM intake.handoffs")
        assert not any("/v1/ratings/" in f"{row['told']}{row['mirror']}" for row in rows)


async def test_a_citizen_withdraws_a_case_that_went_on_and_on(hubs: dict[str, Harness]) -> None:
    here, way, city, county = hubs[HAIKOU], hubs[PROVINCE], hubs[SANYA], hubs[TIANYA]
    posted = await appeal(here, TIANYA, "马路上的路灯坏了三天，晚上很黑，请派人来修。")
    await dispatched(here, posted["id"])
    await reached(here, posted["id"], "accepted")
    first = (await get(here, f"/v1/appeals/{posted['id']}"))["handoff"]["id"]
    passing = await until(lambda: case_by(city, first), "the case at the city")
    await dispatched(city, passing["id"])
    await reached(city, passing["id"], "accepted")

    async def went_on() -> str | None:
        case = await get(city, f"/v1/appeals/{passing['id']}")
        return str(case["handoff"]["id"]) if case["status"] == "handed_off" else None

    second = await until(went_on, "the case to go on")
    arrived = await until(lambda: case_by(county, second), "the case at the county")
    order = await dispatched(county, arrived["id"])

    gone = await post(here, f"/v1/appeals/{posted['id']}/withdraw", reason="路灯已经亮了")
    assert gone["status"] == "withdrawn"
    again = await here.http.post(f"/v1/appeals/{posted['id']}/withdraw", json={}, headers=here.admin)
    assert again.status_code == 409

    async def everywhere() -> bool:
        cases = [await get(city, f"/v1/appeals/{passing['id']}"), await get(county, f"/v1/appeals/{arrived['id']}")]
        return {case["status"] for case in cases} == {"withdrawn"}

    await until(everywhere, "the withdrawal")
    await county.settle()
    theirs = await get(county, f"/v1/work-orders/{order['id']}")
    assert (theirs["status"], theirs["actions"]) == ("cancelled", [])
    for hub, known in ((here, [first]), (way, [first]), (city, [first, second]), (county, [second])):
        await hub.settle()
        rows = await hub.query("SELECT id, state FROM intake.handoffs WHERE id = ANY($1)", known)
        assert {row["id"]: row["state"] for row in rows} == dict.fromkeys(known, "withdrawn")
        assert (await hub.query("SELECT count(*) AS n FROM intake.peer_messages"))[0]["n"] == 0
    assert "路灯已经亮了" in str(await county.events("intake.appeals.v1", key=arrived["id"]))


async def test_what_the_other_platform_has_answered_is_not_withdrawn(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    posted = await appeal(here, "460205", "崖州区海边路段垃圾无人清理，气味难闻。")
    await dispatched(here, posted["id"])
    await reached(here, posted["id"], "accepted")
    handoff_id = (await get(here, f"/v1/appeals/{posted['id']}"))["handoff"]["id"]
    arrived = await until(lambda: case_by(there, handoff_id), "the case")
    order = await dispatched(there, arrived["id"])
    await post(there, f"/v1/work-orders/{order['id']}/accept")
    await post(there, f"/v1/work-orders/{order['id']}/complete", result="已清运垃圾", solved=True)
    await reached(here, posted["id"], "completed")
    late = await here.http.post(f"/v1/appeals/{posted['id']}/withdraw", json={}, headers=here.admin)
    assert (late.status_code, late.json()["code"]) == (409, "invalid_transition")
    assert (await get(here, f"/v1/appeals/{posted['id']}"))["status"] == "handed_off"
