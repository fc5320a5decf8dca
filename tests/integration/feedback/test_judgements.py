"""剔除 and 虚假办结 at the centre: decided, reviewed one level up, told, counted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from shared.clock import ZONE
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

BAD = {"contacted": True, "solved": False, "satisfaction": 1, "words": "灯还是不亮，打我13800138000"}
FAIR = {"contacted": True, "solved": True, "satisfaction": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "feedback") as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: Harness) -> Harness:
    shared_hub.clock.set(max(shared_hub.clock.now(), datetime(2026, 11, 2, 10, 0, tzinfo=ZONE)))
    return shared_hub


async def rated(hub: Harness, body: dict[str, Any], **facts: Any) -> Case:
    case = Case(hub, **facts)
    await case.ready_to_rate()
    assert (await hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=body)).status_code == 200
    return case


async def post(hub: Harness, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
    answer = await hub.http.post(path, json=body, headers=headers)
    return answer.status_code, answer.json()


async def told(hub: Harness, case: Case) -> list[tuple[str, Any]]:
    await hub.settle()
    events = await hub.events("feedback.ratings.v1", key=case.id)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    return [(e.type.removeprefix("feedback."), e.data) for e in events]


async def test_the_centre_confirms_a_false_completion_and_a_leader_reviews_it(hub: Harness) -> None:
    case = await rated(hub, BAD, unit="u21")
    own, centre = hub.token("handler", units=["u21"]), hub.token("supervisor", sub="wang")
    listed = (await hub.http.get("/v1/callbacks/false-completions?state=suspected", headers=own)).json()["items"]
    assert [(item["appeal_id"], item["round"], item["result"]) for item in listed] == [(case.id, 1, "已更换灯泡")]
    assert "13800138000" not in listed[0]["words"]
    url = f"/v1/callbacks/{case.id}/false-completions/1"
    yes, no = {"confirmed": True, "reason": "现场核实仍不亮"}, {"confirmed": False, "reason": "复核：当日已亮"}
    assert (await post(hub, f"{url}/decision", yes, own))[0] == 403
    assert (await post(hub, f"{url}/review", {"reason": "不服"}, own))[1]["code"] == "not_decided"
    twice = await asyncio.gather(*(post(hub, f"{url}/decision", yes, centre) for _ in range(2)))
    assert sorted(code for code, _ in twice) == [200, 409], "two people at once: one decision"
    assert (await post(hub, f"{url[:-1]}2/decision", yes, centre))[1]["code"] == "nothing_suspected"
    stranger = hub.token("handler", units=["u22"])
    assert (await post(hub, f"{url}/review", {"reason": "不服"}, stranger))[0] == 404
    assert (await post(hub, f"{url}/review", {"reason": "不服"}, hub.token("seat")))[1]["code"] == "not_against_you"
    assert (await post(hub, f"{url}/review", {"reason": "当日已修好", "evidence": "照片"}, own))[0] == 200
    assert (await post(hub, f"{url}/review/decision", no, centre))[0] == 403
    same = hub.token("leader", sub="wang")
    assert (await post(hub, f"{url}/review/decision", no, same))[1]["code"] == "same_person"
    status, decided = await post(hub, f"{url}/review/decision", no, hub.token("leader", sub="li"))
    assert (status, decided["state"], decided["review"]["state"]) == (200, "denied", "overturned")
    events = await told(hub, case)
    assert [name for name, _ in events][2:] == [
        "false_completion_decided",
        "review_requested",
        "false_completion_decided",
    ]
    first, last = events[2][1], events[-1][1]
    assert (first.confirmed, first.review, first.after.false_completions[0].state) == (True, False, "confirmed")
    assert (last.confirmed, last.review, last.after.false_completions[0].state) == (False, True, "denied")
    assert last.after.false_completions[0].decided_at == first.after.false_completions[0].decided_at
    assert (await hub.http.get("/ops/feedback/audit/verify", headers=hub.admin)).json()["intact"] is True


async def test_each_contradicted_round_is_judged_by_itself(hub: Harness) -> None:
    case = await rated(hub, BAD, unit="u23")
    await case.reopened()
    await case.completed()
    await hub.settle()
    await hub.http.post(f"/v1/ratings/{case.tokens[1]}", json=BAD)
    centre = hub.token("supervisor")
    for number, confirmed in ((1, False), (2, True)):
        url = f"/v1/callbacks/{case.id}/false-completions/{number}/decision"
        assert (await post(hub, url, {"confirmed": confirmed, "reason": "核实"}, centre))[0] == 200
    after = (await told(hub, case))[-1][1].after
    assert [(one.order_round, one.state) for one in after.false_completions] == [(1, "denied"), (2, "confirmed")]
    assert after.status == "awaiting_decision", "judging the unit closes no case"


async def test_an_exclusion_is_reviewed_for_the_side_that_lost(hub: Harness) -> None:
    own, centre = hub.token("handler", units=["u24"]), hub.token("supervisor", sub="wang")
    leader, seat = hub.token("leader", sub="li"), hub.token("seat")
    for granted, loser, other in ((True, seat, own), (False, own, seat)):
        case = await rated(hub, FAIR, unit="u24")
        _, wish = await post(hub, "/v1/exclusions", {"appeal_id": case.id, "reason": "恶意评价"}, own)
        url = f"/v1/exclusions/{wish['id']}"
        await post(hub, f"{url}/decision", {"granted": granted, "reason": "核实"}, centre)
        assert (await post(hub, f"{url}/review", {"reason": "不服"}, other))[1]["code"] == "not_against_you"
        status, asked = await post(hub, f"{url}/review", {"reason": "不服"}, loser)
        assert (status, asked["review"]["state"]) == (200, "requested")
        status, final = await post(hub, f"{url}/review/decision", {"granted": not granted, "reason": "改判"}, leader)
        assert (status, final["review"]["state"]) == (200, "overturned")
        events = await told(hub, case)
        assert [name for name, _ in events][-3:] == ["exclusion_decided", "review_requested", "exclusion_decided"]
        assert events[-1][1].after.exclusion == ("refused" if granted else "granted")
    listed = await hub.http.get("/v1/exclusions?review=overturned", headers=own)
    assert {item["review"]["decided_by"] for item in listed.json()["items"]} == {"user:li"}


async def test_a_review_is_too_late_after_five_working_days(hub: Harness) -> None:
    case = await rated(hub, BAD, unit="u25")
    url = f"/v1/callbacks/{case.id}/false-completions/1"
    await post(hub, f"{url}/decision", {"confirmed": True, "reason": "核实"}, hub.token("supervisor"))
    await hub.advance(14 * 86_400)
    late = await post(hub, f"{url}/review", {"reason": "不服"}, hub.token("handler", units=["u25"]))
    assert (late[0], late[1]["code"]) == (409, "too_late")


async def test_statistics_tell_who_asks_and_who_grants(hub: Harness) -> None:
    hub.clock.set(datetime(2027, 1, 4, 10, 0, tzinfo=ZONE))
    plan = [("u31", "wang", True), ("u31", "wang", True), ("u31", "zhao", False), ("u32", "zhao", True)]
    ids = []
    for unit, decider, granted in plan:
        case = await rated(hub, FAIR, unit=unit)
        own = hub.token("handler", units=[unit])
        _, wish = await post(hub, "/v1/exclusions", {"appeal_id": case.id, "reason": "恶意评价"}, own)
        ids.append(wish["id"])
        url = f"/v1/exclusions/{wish['id']}/decision"
        await post(hub, url, {"granted": granted, "reason": "核实"}, hub.token("supervisor", sub=decider))
    waiting = await rated(hub, FAIR, unit="u32")
    await post(
        hub, "/v1/exclusions", {"appeal_id": waiting.id, "reason": "恶意评价"}, hub.token("handler", units=["u32"])
    )
    await post(hub, f"/v1/exclusions/{ids[2]}/review", {"reason": "不服"}, hub.token("handler", units=["u31"]))
    verdict = {"granted": True, "reason": "改判"}
    await post(hub, f"/v1/exclusions/{ids[2]}/review/decision", verdict, hub.token("leader", sub="li"))
    path = "/v1/exclusions/statistics?period=2027-01"
    assert (await hub.http.get(path, headers=hub.token("handler", units=["u31"]))).status_code == 403
    found = (await hub.http.get(path, headers=hub.token("auditor"))).json()
    assert [(u["unit"], u["asked"], u["waiting"], u["granted"], u["refused"]) for u in found["units"]] == [
        ("u31", 3, 0, 3, 0),
        ("u32", 2, 1, 1, 0),
    ]
    deciders = {d["decided_by"]: (d["decided"], d["granted"], d["refused"], d["overturned"]) for d in found["deciders"]}
    assert deciders == {"user:wang": (2, 2, 0, 0), "user:zhao": (2, 1, 1, 1)}, "an overturned refusal was a refusal"
    assert (await hub.http.get("/v1/exclusions/statistics?period=2027-13", headers=hub.admin)).status_code == 422
    nothing = (await hub.http.get("/v1/exclusions/statistics?period=2020-02", headers=hub.admin)).json()
    assert (nothing["units"], nothing["deciders"]) == ([], [])


async def test_a_false_completion_of_the_release_before_can_be_judged(hub: Harness) -> None:
    case = await rated(hub, BAD, unit="u26")
    async with hub.runners["feedback"].service.database.transaction() as uow:  # as that release left it
        await uow.pg.execute(
            "UPDATE feedback.cases SET state = (state::jsonb - 'false_completions')::text WHERE appeal_id = $1", case.id
        )
    url = f"/v1/callbacks/{case.id}/false-completions/1/decision"
    status, decided = await post(hub, url, {"confirmed": True, "reason": "核实"}, hub.token("supervisor"))
    assert (status, decided["state"]) == (200, "confirmed")
