"""Files of units and duties: checked line by line, also against classify's catalogue, and nothing half imported."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from shared.clock import ZONE
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import new_order, order_of

CITY = Path(__file__).parents[3] / "cities" / "demo"
DUTIES = "list,matter,region,lead,co_handlers,hours,valid_from,valid_to,note\n"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "classify", "dispatch") as running:
        await running.settle()
        yield running


async def refused(hub: Harness, path: str, data: bytes) -> list[str]:
    answer = await hub.http.post(path, content=data, headers=hub.admin)
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_the_city_as_it_is_passes_its_own_catalogue(hub: Harness) -> None:
    assert len(await hub.events("classify.catalogues.v1")) == 1
    units = await hub.http.post("/v1/units/import", content=(CITY / "units.csv").read_bytes(), headers=hub.admin)
    assert units.status_code == 201, units.text
    duties = await hub.http.post("/v1/duties/import", content=(CITY / "duties.csv").read_bytes(), headers=hub.admin)
    assert duties.status_code == 200, duties.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
async def test_every_wrong_line_of_a_duty_list_is_named_and_none_is_imported(hub: Harness, encoding: str) -> None:
    before = await hub.query("SELECT count(*) AS n FROM dispatch.duties")
    text = DUTIES + (
        "duty,0101,460106,460106-market,,,,,好的一行\n"
        "duty,99887766,460106,460106-market,,,,,没有这个事项\n"
        "duty,0101,460200,460106-market,,,,,别的城市\n"
        "duty,0102,460106,nobody,,,,,没有这个单位\n"
        "duty,0102,460106,460106-market,,,45992,,Excel 的日期\n"
        "roster,,460106,460106-market,,8点,,,不是时间\n"
        "duty,0101,460106,460100-cityadmin,,,,,与第 2 行重叠\n"
    )
    found = await refused(hub, "/v1/duties/import?activate=true", text.encode(encoding))
    assert found == [
        "/3/matter",
        "/4/region",
        "/5/lead",
        "/6/valid_from",
        "/7/hours",
        "/8/matter",
    ]
    assert await hub.query("SELECT count(*) AS n FROM dispatch.duties") == before


async def test_every_wrong_line_of_units_is_named(hub: Harness) -> None:
    text = (
        "code,name,kind,region,supervisor,matters,valid_from\n"
        "c,中心,centre,460100,,,\n"
        "a,甲局,department,,c,01,\n"
        "b,乙局,department,460100,d,01|99887766,\n"
        "d,丙局,department,460100,b,,2026/13/1\n"
        "e,丁局,department,460100,b2,,\n"
        "b2,戊局,department,460100,e,,\n"
    )
    found = await refused(hub, "/v1/units/import", text.encode("gb18030"))
    assert found == ["/3/region", "/4/matters", "/5/valid_from", "/6/supervisor", "/7/supervisor"]


async def test_a_duty_by_hand_names_a_matter_of_the_catalogue(hub: Harness) -> None:
    body = {"matter": "99", "region_code": "460106", "lead": "460106-market"}
    answer = await hub.http.post("/v1/duties", json=body, headers=hub.admin)
    assert answer.json()["errors"][0]["pointer"] == "/matter"


async def test_an_absent_units_cases_go_to_who_stands_in_and_an_import_keeps_that(server_url: str) -> None:
    async with Harness.fresh(server_url, "dispatch") as hub:
        today = hub.clock.now().astimezone(ZONE).date()
        path, keeper = "/v1/units/460106-cityadmin/absences", hub.token("supervisor")
        before = await new_order(hub)
        body = {"from": f"{today}", "to": f"{today + timedelta(days=1)}", "stand_in": "460106-market", "reason": "搬迁"}
        answer = await hub.http.post(path, json=body, headers=keeper)
        assert answer.status_code == 200, answer.text
        assert answer.json()["absences"] == [{"from": body["from"], "to": body["to"], "stand_in": "460106-market"}]
        assert (await new_order(hub))["lead"] == "460106-market"
        assert (await order_of(hub, before["appeal_ids"][0]))["lead"] == "460106-cityadmin"
        wrong: list[tuple[dict[str, str], str]] = [
            ({}, "/from"),
            ({"from": "2020-01-01", "to": "2020-01-02"}, "/to"),
            ({"from": "2027-01-02", "to": "2027-01-01"}, "/to"),
            ({"from": "2027-01-01", "to": "2027-01-02", "stand_in": "nobody"}, "/stand_in"),
            ({"from": "2027-01-01", "to": "2027-01-02", "stand_in": "460106-cityadmin"}, "/stand_in"),
        ]
        for change, pointer in wrong:
            refusal = await hub.http.post(path, json=body | change, headers=keeper)
            assert refusal.json()["errors"][0]["pointer"] == pointer, refusal.text
        assert (await hub.http.post("/v1/units/nobody/absences", json=body, headers=keeper)).status_code == 404
        assert (await hub.http.post("/v1/units/460100-12345/absences", json=body, headers=keeper)).status_code == 422
        units = (CITY / "units.csv").read_bytes()
        version = (await hub.http.post("/v1/units/import", content=units, headers=keeper)).json()["version"]
        active = await hub.http.post(f"/v1/units/import/{version}/activate", headers=keeper)
        assert active.status_code == 200, active.text
        assert (await new_order(hub))["lead"] == "460106-market"
        await hub.advance(2 * 86400)
        assert (await new_order(hub))["lead"] == "460106-cityadmin"


async def test_units_and_duties_are_prepared_for_a_catalogue_that_is_not_in_force_yet(hub: Harness) -> None:
    duty = (DUTIES + "duty,77010101,460106,460106-market,,,,,新事项\n").encode()
    assert await refused(hub, "/v1/duties/import", duty) == ["/2/matter"]
    lines = (CITY / "catalogue.csv").read_text("utf-8-sig").splitlines()
    columns = lines[0].split(",")
    row = lines[1].split(",")
    row[columns.index("code")] = "77010101"
    new = "\n".join([*lines, ",".join(row)])
    answer = await hub.http.post("/v1/catalogue/versions", content=new.encode(), headers=hub.admin)
    assert answer.status_code in (200, 201), answer.text
    await hub.settle()
    assert (await hub.http.post("/v1/duties/import", content=duty, headers=hub.admin)).status_code == 200
    version = answer.json()["version"]
    path = f"/v1/catalogue/versions/{version}/activate"
    assert (await hub.http.post(path, json={}, headers=hub.admin)).status_code == 200
    await hub.settle()
    events = await hub.events("classify.catalogues.v1", key=f"460100/{version}")
    assert [(event.type, event.sequence) for event in events] == [("catalogue.imported", 1), ("catalogue.activated", 2)]
    assert (await hub.http.post("/v1/duties/import", content=duty, headers=hub.admin)).status_code == 200
