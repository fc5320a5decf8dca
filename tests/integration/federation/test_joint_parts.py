"""A case of several platforms: one leads it, the others are asked for parts (domain.md, Dispatch 5 and 6)."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

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
    towns,
    until,
)

PROVINCE, HAIKOU, SANYA = "460000", "460100", "460200"
PHONE, NAME = "13876540912", "欧阳若兰"
RIVER = f"我叫{NAME}，电话{PHONE}，河水发黑发臭，从上游一直流到下游，希望处理。"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    return Atlas(folder, {PROVINCE: (1, None), HAIKOU: (2, PROVINCE), SANYA: (2, PROVINCE)})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hubs(server_url: str, atlas: Atlas) -> AsyncIterator[dict[str, Harness]]:
    async with towns(server_url, atlas, {PROVINCE: ("intake", "dispatch"), HAIKOU: LOOP, SANYA: LOOP}) as found:
        yield found


async def led(hub: Harness) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case of the own territory whose lead has accepted it: the posted appeal, its order."""
    posted = await appeal(hub, "460106", RIVER, reporter={"name": NAME, "phone": PHONE})
    order = await dispatched(hub, posted["id"])
    await post(hub, f"/v1/work-orders/{order['id']}/accept")
    await hub.settle()
    return posted, order


async def asked(hub: Harness, order: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A part of it that the other city is asked for."""
    part = {"platform": SANYA, "task": f"清理下游河道，联系电话{PHONE}", "allowed_s": 3600} | more
    after = await post(hub, f"/v1/work-orders/{order['id']}/split", parts=[part])
    found: dict[str, Any] = after["sub_orders"][-1]
    return found


async def part_at(hub: Harness, part: dict[str, Any], *states: str) -> dict[str, Any]:
    """The hand-over of a part once it is in one of these states."""

    async def there() -> Any:
        order = await get(hub, f"/v1/work-orders/{part['id']}")
        case = await get(hub, f"/v1/appeals/{order['appeal_ids'][0]}")
        found: dict[str, Any] = next((one for one in case["parts"] if one["work_order_id"] == part["id"]), {})
        return found if found.get("state") in states else None

    return dict(await until(there, " or ".join(states)))


async def known_part(hub: Harness, order: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part as its lead knows it."""
    await hub.settle()
    parts = (await get(hub, f"/v1/work-orders/{order['id']}"))["sub_orders"]
    return dict(next(one for one in parts if one["id"] == part["id"]))


async def due(hub: Harness, order_id: str) -> datetime:
    async def there() -> Any:
        items = (await hub.http.get(f"/v1/clocks/{order_id}", headers=hub.admin)).json().get("items", [])
        return next((one["due_at"] for one in items if one["clock"] == "complete"), None)

    return datetime.fromisoformat(await until(there, "the clock"))


async def test_one_lead_one_answer_one_rating(hubs: dict[str, Harness], atlas: Atlas) -> None:
    here, way, there = hubs[HAIKOU], hubs[PROVINCE], hubs[SANYA]
    posted, order = await led(here)
    part = await asked(here, order)
    assert (part["platform"], part["status"]) == (SANYA, "open")
    handoff = await part_at(here, part, "accepted")
    assert handoff["path"] == [HAIKOU, PROVINCE, SANYA]
    assert (await get(here, f"/v1/appeals/{posted['id']}"))["status"] == "in_progress", "the lead keeps the case"

    arrived = await until(lambda: case_by(there, handoff["id"]), "the part")
    theirs = await dispatched(there, arrived["id"])
    assert "清理下游河道" in theirs["task"]
    for hub in (here, way, there):  # who leads speaks with the citizen: nobody else gets anything of him
        for table in ("intake.handoffs", "intake.peer_messages", "bus.log"):
            rows = await hub.query(f"SELECT t::text AS line FROM {table} t")
            assert not any(PHONE in row["line"] or NAME in row["line"] for row in rows), table
    assert await due(there, theirs["id"]) == await due(here, part["id"]), "its own deadline"
    assert await due(there, theirs["id"]) < await due(here, order["id"]), "inside the whole's"

    early = await here.http.post(
        f"/v1/work-orders/{order['id']}/complete", json={"result": "已处理", "solved": True}, headers=here.admin
    )
    assert early.status_code == 409, early.text
    await post(there, f"/v1/work-orders/{theirs['id']}/accept")

    async def told() -> bool:
        return bool((await part_at(here, part, "accepted"))["status"] == "in_progress")

    await until(told, "the mirrored status")
    seen = {clock["clock"]: clock for clock in (await part_at(here, part, "accepted"))["clocks"]}
    assert datetime.fromisoformat(seen["complete"]["due_at"]) == await due(there, theirs["id"]), "both see what is left"
    assert seen["complete"]["allowed_s"] == 3600
    await post(there, f"/v1/work-orders/{theirs['id']}/complete", result="下游已清理", solved=True)
    done = await part_at(here, part, "acknowledged")
    assert (done["status"], done["result"]) == ("completed", "下游已清理")
    assert (await known_part(here, order, part))["status"] == "completed"
    assert (await get(here, f"/v1/work-orders/{part['id']}"))["result"] == "下游已清理"
    for hub in (way, there):

        async def acknowledged(hub: Harness = hub) -> bool:
            rows = await hub.query("SELECT state FROM intake.handoffs WHERE id = $1", handoff["id"])
            return bool(rows[0]["state"] == "acknowledged")

        await until(acknowledged, "the acknowledgement")

    await post(here, f"/v1/work-orders/{order['id']}/complete", result="全河段已治理", solved=True)
    track = {"reference_no": posted["reference_no"], "query_code": posted["query_code"]}

    async def answered() -> Any:
        answer = (await here.http.get("/v1/track", params=track)).json()
        return answer if "rating_url" in answer else None

    answer = await until(answered, "the way to rate")
    assert answer["answers"] == ["全河段已治理"], "one answer"
    await there.settle()
    cases = await there.query("SELECT count(*) AS n FROM feedback.cases WHERE state IS NOT NULL")
    assert cases[0]["n"] == 0, "nobody asks him about a part"
    rated = await here.http.post(
        answer["rating_url"].partition(atlas.urls[HAIKOU])[2],
        json={"contacted": True, "solved": True, "satisfaction": 5},
    )
    assert rated.status_code == 200, rated.text
    for hub, services in ((here, LOOP), (there, LOOP), (way, ("intake", "dispatch"))):
        await hub.settle()
        for service in services:
            letters = await hub.query(f"SELECT * FROM {service}.dead_letters")
            assert not letters, [dict(letter) for letter in letters]


async def test_a_part_that_is_recalled_ends_at_the_other_platform(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    _, order = await led(here)
    part = await asked(here, order)
    handoff = await part_at(here, part, "accepted")
    arrived = await until(lambda: case_by(there, handoff["id"]), "the part")
    theirs = await dispatched(there, arrived["id"])
    gone = await post(here, f"/v1/work-orders/{part['id']}/recall", reason="上游已截污，不必再清理")
    assert gone["status"] == "cancelled"
    assert (await known_part(here, order, part))["status"] == "cancelled"

    async def ended() -> bool:
        return bool((await get(there, f"/v1/work-orders/{theirs['id']}"))["status"] == "cancelled")

    await until(ended, "the end at the other platform")
    assert (await get(there, f"/v1/appeals/{arrived['id']}"))["status"] == "withdrawn"
    for hub in hubs.values():
        states = await hub.query("SELECT state FROM intake.handoffs WHERE id = $1", handoff["id"])
        assert states[0]["state"] == "withdrawn"

        async def sent(hub: Harness = hub) -> bool:
            return bool((await hub.query("SELECT count(*) AS n FROM intake.peer_messages"))[0]["n"] == 0)

        await until(sent, "the last receipt")
    assert "complete" in (await get(here, f"/v1/work-orders/{order['id']}"))["actions"]


async def test_parts_at_other_platforms_end_with_the_whole(hubs: dict[str, Harness]) -> None:
    here, there = hubs[HAIKOU], hubs[SANYA]
    posted, order = await led(here)
    part = await asked(here, order)
    handoff = await part_at(here, part, "accepted")
    arrived = await until(lambda: case_by(there, handoff["id"]), "the part")
    await post(here, f"/v1/appeals/{posted['id']}/withdraw", reason="已自行解决")

    async def ended() -> bool:
        return bool((await get(there, f"/v1/appeals/{arrived['id']}"))["status"] == "withdrawn")

    await until(ended, "the end at the other platform")


@pytest.mark.parametrize(
    ("part", "status", "pointer"),
    [
        ({"platform": "110000", "task": "x"}, 422, "/parts/0/platform"),
        ({"platform": HAIKOU, "task": "x"}, 422, "/parts/0/platform"),
        ({"platform": SANYA, "task": "x", "region_code": "460106"}, 422, "/parts/0/region_code"),
        ({"platform": SANYA, "unit": "460100-roads", "task": "x"}, 422, "/parts/0"),
        ({"task": "x"}, 422, "/parts/0"),
        ({"platform": SANYA, "task": "x", "allowed_s": 300 * 86400}, 409, None),
    ],
)
async def test_what_no_platform_can_be_asked_for_is_refused(
    hubs: dict[str, Harness], part: dict[str, Any], status: int, pointer: str | None
) -> None:
    here = hubs[HAIKOU]
    _, order = await led(here)
    answer = await here.http.post(f"/v1/work-orders/{order['id']}/split", json={"parts": [part]}, headers=here.admin)
    assert answer.status_code == status, answer.text
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer
