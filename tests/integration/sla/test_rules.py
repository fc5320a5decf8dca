"""Policies and calendars as data: versions with a day from which they hold."""

import asyncio
import copy
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from shared.clock import rfc3339
from shared.testing.harness import Harness
from tests.integration.sla.orders import Order


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "sla") as running:
        yield running


async def _policy(hub: Harness) -> dict[str, Any]:
    answer = await hub.http.get("/v1/sla/policies", headers=hub.admin)
    return copy.deepcopy(next(item["policy"] for item in answer.json()["items"] if item["in_force"]))


async def test_a_new_policy_holds_from_its_day_on(hub: Harness) -> None:
    data = await _policy(hub)
    data["version"] = "shorter-1"
    data["classes"]["livelihood"]["complete"] = {"natural": "PT12H"}
    data["effective_from"] = rfc3339(hub.clock.now() + timedelta(hours=1))
    answer = await hub.http.post("/v1/sla/policies", json=data, headers=hub.admin)
    assert answer.status_code == 201, answer.text
    await _until_known(hub, "policies", "shorter-1")
    before = Order(hub, channel="web")
    await before.dispatched()
    await hub.advance(3600)
    after = Order(hub, channel="web")
    await after.dispatched()
    await hub.settle()
    # an order that is open then is timed by it too, from its original start
    assert (await before.clocks())["complete", 1]["allowed_s"] == 12 * 3600
    assert (await after.clocks())["complete", 1]["allowed_s"] == 12 * 3600
    assert (await after.clocks())["complete", 1]["policy"] == "shorter-1"
    again = await hub.http.post("/v1/sla/policies", json=data | {"effective_from": None}, headers=hub.admin)
    assert (again.status_code, again.json()["code"]) == (409, "version_exists")


async def test_a_published_year_is_no_longer_provisional(hub: Harness) -> None:
    data = {
        "version": "state-council-2027-test",
        "years": [2027],
        "holidays": {"2027-01-01": "元旦", "2027-01-02": "元旦", "2027-01-03": "元旦"},
        "workdays": {"2027-01-09": "元旦"},
    }
    headers = hub.admin | {"Idempotency-Key": "calendar-2027"}
    answer = await hub.http.post("/v1/sla/calendars", json=data, headers=headers)
    assert answer.status_code == 201, answer.text
    repeated = await hub.http.post("/v1/sla/calendars", json=data, headers=headers)
    assert (repeated.status_code, repeated.json()) == (200, answer.json())
    await _until_known(hub, "calendars", "state-council-2027-test")
    listed = (await hub.http.get("/v1/sla/calendars", headers=hub.admin)).json()["items"]
    assert 2027 in next(item for item in listed if item["in_force"])["published_years"]
    assert "2026-10-01" in next(item for item in listed if item["in_force"])["holidays"]


async def _until_known(hub: Harness, what: str, version: str) -> None:

    async with asyncio.timeout(5):
        while True:
            answer = await hub.http.get(f"/v1/sla/{what}", headers=hub.admin)
            if any(item["version"] == version for item in answer.json()["items"]):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"classes": {}}, "/classes/urgent"),
        ({"version": 5}, "/version"),
        ({"effective_from": "2020-01-01T00:00:00+08:00"}, "/effective_from"),
        ({"effective_from": "2027-01-01T00:00:00"}, "/effective_from"),
        ({"rules": [{"when": {"class": "none"}}]}, "/rules/0/when/class"),
        ({"classes/urgent/complete": None}, "/classes/urgent/complete"),
        ({"classes/urgent/complete": {"natural": "-PT2H"}}, "/classes/urgent/complete/natural"),
        ({"classes/general/accept": {"working": "P-1D"}}, "/classes/general/accept/working"),
        ({"classes/general/accept": {"natural": "PT0S"}}, "/classes/general/accept"),
    ],
)
async def test_a_policy_with_a_fault_is_refused_with_its_place(
    hub: Harness, change: dict[str, Any], pointer: str
) -> None:
    data = await _policy(hub) | {"version": "wrong"}
    for path, value in change.items():
        *way, name = path.split("/")
        place = data
        for step in way:
            place = place[step]
        place[name] = value
        if value is None:
            del place[name]
    doors = (
        {"policies": data}
        if change.keys() & {"version", "effective_from"}
        else {"policies": data, "what-if": {"policy": data}}
    )
    for door, body in doors.items():
        answer = await hub.http.post(f"/v1/sla/{door}", json=body, headers=hub.admin)
        assert answer.status_code == 422, f"{door}: {answer.text}"
        places = [error["pointer"] for error in answer.json()["errors"]]
        assert any(place.endswith(pointer) for place in places), f"{door}: {places}"


@pytest.mark.parametrize(
    "change",
    [
        {"workdays": {"2027-01-01": "元旦"}},
        {"holidays": {"2028-01-01": "元旦"}},
        {"holidays": {"2027-02-30": "元旦"}},
        {"workdays": {"2027-01-04": "元旦"}},
    ],
)
async def test_a_calendar_that_contradicts_itself_is_refused(hub: Harness, change: dict[str, Any]) -> None:
    data = {"version": "wrong", "years": [2027], "holidays": {"2027-01-01": "元旦"}, "workdays": {}} | change
    answer = await hub.http.post("/v1/sla/calendars", json=data, headers=hub.admin)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"years": [2029], "holidays": {"2029-01-01": "元旦"}}, "/years"),  # 2028 is missing
        ({"years": [2028, 2030], "holidays": {"2028-01-01": "元旦", "2030-01-01": "元旦"}}, "/years"),
        ({"years": [2027], "holidays": {}}, "/years"),
        ({"years": [2027], "unit": "u-a"}, "/years"),
        ({"holidays": {"2027-01-05": "停办"}, "workdays": {"2027-01-05": "加班"}}, "/workdays/2027-01-05"),
        ({"days": [{"day": "2027-01-05", "rule": "休"}, {"day": "2027-01-05", "rule": "休"}]}, "/days/1"),
        ({"hours": [["09:00", "12:00"], ["11:00", "17:30"]]}, "/hours"),
        ({"hours": [["09:00", "nine"]]}, "/hours/0"),
        ({"effective_from": "2027-01-05T09:00:00", "holidays": {"2027-01-05": "停办"}}, "/effective_from"),
        ({}, "/"),
    ],
)
async def test_a_calendar_with_a_gap_or_two_rules_for_a_day_is_refused(
    hub: Harness, change: dict[str, Any], pointer: str
) -> None:
    for path, body in (("calendars", {"version": "bad"} | change), ("what-if", {"calendar": change})):
        answer = await hub.http.post(f"/v1/sla/{path}", json=body, headers=hub.admin)
        assert answer.status_code == 422, answer.text
        places = [error["pointer"] for error in answer.json()["errors"]]
        assert any(place.endswith(pointer) for place in places), places


async def test_only_leaders_change_rules_and_handlers_see_their_own(hub: Harness) -> None:
    data = await _policy(hub) | {"version": "mine"}
    for role in ("seat", "handler", "supervisor", "auditor"):
        answer = await hub.http.post("/v1/sla/policies", json=data, headers=hub.token(role, units=["u"]))
        assert answer.status_code == 403
    assert (await hub.http.get("/v1/supervisions")).status_code == 401
    answer = await hub.http.post("/v1/supervisions/unknown/acknowledge", headers=hub.admin)
    assert answer.status_code == 404
