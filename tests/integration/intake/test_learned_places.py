"""Roads and estates learned from confirmed cases: used after three that agree, bounded, undone by a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.intake.learned_places import LearnedPlaces
from shared.regions import CityDivisions, DivisionDirectory
from shared.regions.directory import OWN_COLUMNS
from shared.testing.harness import Harness
from tests.integration.intake.test_case_view import receive

HOME, QIONGSHAN = "460100", "460107"
ESTATE = "青竹雅苑"


def learner(hub: Harness, city: Path, used: list[DivisionDirectory]) -> LearnedPlaces:
    """One beside intake's own, which says what it would use."""
    database = hub.runners["intake"].service.database
    return LearnedPlaces(database, CityDivisions(city, hub.clock), HOME, used.append)


async def completed(hub: Harness, text: str, region: str) -> None:
    """A case whose place its client gave, and whose order is done."""
    appeal_id = (await receive(hub, text=text, location={"region_code": region}))["id"]
    await hub.query("UPDATE intake.cases SET status = 'completed' WHERE appeal_id = $1::uuid", appeal_id)


async def test_a_name_is_used_when_three_confirmed_cases_agree_until_a_person_refuses_it(
    hub: Harness, tmp_path: Path
) -> None:
    used: list[DivisionDirectory] = []
    learned = LearnedPlaces(
        hub.runners["intake"].service.database, CityDivisions(tmp_path, hub.clock), HOME, used.append
    )
    soon = datetime.now(UTC) + timedelta(minutes=1)
    for n in range(2):
        await completed(hub, f"反映{ESTATE}的路灯第{n}次坏了", QIONGSHAN)
    await receive(hub, text=f"{ESTATE}停水", location={"region_code": "460108"})  # not completed: says nothing
    assert await learned.learn(soon) >= 2
    assert await learned.learn(soon) == 0
    await learned.follow()
    assert used == []
    await completed(hub, f"住在{ESTATE}，电梯坏了", QIONGSHAN)
    await learned.learn(soon)
    await learned.follow()
    assert used[-1].resolve(f"{ESTATE}又停电了", HOME).region_code == QIONGSHAN

    listed = (await hub.http.get("/v1/appeals/places?limit=200", headers=hub.admin)).json()["items"]
    (row,) = [row for row in listed if row["name"] == ESTATE]
    assert (row["region_code"], row["seen"], row["of"], row["in_use"]) == (QIONGSHAN, 3, 3, True)
    path = f"/v1/appeals/places/{ESTATE}"
    refused = await hub.http.post(f"{path}/refuse", headers=hub.admin)
    assert (refused.status_code, refused.json()["in_use"]) == (200, False)
    await learned.follow()
    assert used[-1].resolve(f"{ESTATE}又停电了", HOME).confidence == 0.0
    # later cases do not bring it back, a person does
    await completed(hub, f"{ESTATE}垃圾没人清", QIONGSHAN)
    await learned.learn(soon)
    await learned.follow()
    assert used[-1].resolve(f"{ESTATE}又停电了", HOME).confidence == 0.0
    assert (await hub.http.post(f"{path}/undo", headers=hub.admin)).json()["in_use"] is True
    assert (await hub.http.post("/v1/appeals/places/无此名/undo", headers=hub.admin)).status_code == 404
    assert (await hub.http.post(f"{path}/refuse", headers=hub.token("seat"))).status_code == 403


async def test_a_citys_new_division_is_known_without_a_restart_and_a_wrong_list_changes_nothing(
    hub: Harness, tmp_path: Path
) -> None:
    used: list[DivisionDirectory] = []
    own = tmp_path / "regions.csv"
    learned = LearnedPlaces(
        hub.runners["intake"].service.database, CityDivisions(tmp_path, hub.clock), HOME, used.append
    )
    header = ",".join(OWN_COLUMNS)
    own.write_text(f"{header}\n460107900,江东新区,4,{QIONGSHAN},,,2026-06-01,,\n", encoding="utf-8")
    await learned.follow()
    assert used[-1].resolve("江东新区停电", HOME).region_code == "460107900"
    count = len(used)
    own.write_text(f"{header}\n460107900,江东新区\n", encoding="utf-8")
    await learned.follow()
    await learned.follow()
    assert len(used) == count, "the last sound list stays"
    own.write_text(f"{header}\n460107900,江东新区,4,{QIONGSHAN},,,2026-06-01,2026-06-30,460107001\n", encoding="utf-8")
    await learned.follow()
    assert used[-1].current("460107900") == "460107001"
