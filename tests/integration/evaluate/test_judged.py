"""What the centre judges about ratings arrives in the counts; what feedback sees in them arrives before the centre."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest_asyncio

from shared.clock import ZONE
from shared.events.catalog.work_orders import WorkOrderCompleted
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

BAD = {"contacted": True, "solved": False, "satisfaction": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "feedback", "evaluate") as fresh:
        fresh.clock.set(datetime(2026, 11, 2, 10, 0, tzinfo=ZONE))
        yield fresh


async def get(hub: Harness, path: str) -> Any:
    await hub.settle()
    answer = await hub.http.get(path, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def counted(hub: Harness, unit: str, period: str) -> int:
    items = (await get(hub, f"/v1/evaluations/{period}"))["items"]
    return next((int(item["counts"]["false_completions"]) for item in items if item["id"] == unit), 0)


async def judge(hub: Harness, case: Case, confirmed: bool, path: str = "decision", who: str = "wang") -> None:
    answer = await hub.http.post(
        f"/v1/callbacks/{case.id}/false-completions/1/{path}",
        json={"confirmed": confirmed, "reason": "核实"},
        headers=hub.token("leader", sub=who),
    )
    assert answer.status_code == 200, answer.text


async def test_a_completion_that_two_citizens_contradicted_counts_once_in_the_month_of_the_decision(
    hub: Harness,
) -> None:
    cases = [Case(hub, unit="u1") for _ in range(3)]
    for case in cases[:2]:
        case.order_id = cases[0].order_id
        await case.received()
    await cases[2].received()
    await cases[2].completed()
    after = cases[0].order("completed", solved=True, appeal_ids=[case.id for case in cases[:2]], result="已修")
    await hub.emit(WorkOrderCompleted(actor="unit:u1", after=after), key=after.id, sequence=1)
    await hub.settle()
    for case in cases:
        assert (await hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=BAD)).status_code == 200
    assert await counted(hub, "u1", "2026-11") == 0, "a suspicion is not counted"
    await judge(hub, cases[0], True)
    await judge(hub, cases[2], False)
    assert await counted(hub, "u1", "2026-11") == 1
    await hub.advance(30 * 86_400)
    await judge(hub, cases[1], True)
    assert (await counted(hub, "u1", "2026-11"), await counted(hub, "u1", "2026-12")) == (1, 0), "one completion"
    path = "/v1/evaluations/2026-11/cases?unit=u1&count=false_completions"
    assert [row["appeal_id"] for row in (await get(hub, path))["items"]] == [cases[0].id]


async def test_a_review_takes_a_false_completion_out_of_the_month_in_which_it_stood(hub: Harness) -> None:
    period = f"{hub.clock.now().astimezone(ZONE):%Y-%m}"
    case = Case(hub, unit="u2")
    await case.ready_to_rate()
    await hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=BAD)
    await judge(hub, case, True)
    assert await counted(hub, "u2", period) == 1
    own = hub.token("handler", units=["u2"])
    url = f"/v1/callbacks/{case.id}/false-completions/1/review"
    assert (await hub.http.post(url, json={"reason": "已修好"}, headers=own)).status_code == 200
    await judge(hub, case, False, "review/decision", "li")
    assert await counted(hub, "u2", period) == 0


async def test_ratings_from_one_device_are_shown_to_the_centre_with_their_appeals(hub: Harness) -> None:
    period = f"{hub.clock.now().astimezone(ZONE):%Y-%m}"
    cases = [Case(hub, unit="u3", pseudonym=f"p{n}") for n in range(5)]
    for case in cases:
        await case.ready_to_rate()
        body = {"contacted": True, "solved": True, "satisfaction": 5}
        await hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=body, headers={"User-Agent": "Clerk/1.0"})
    await hub.advance(86_400)
    found = (await get(hub, f"/v1/evaluations/{period}/signs"))["items"]
    (sign,) = [one for one in found if one["unit"] == "u3"]
    assert (sign["sign"], sign["number"], sign["of"]) == ("one_device", 5, 5)
    assert sign["appeals"] == [case.id for case in cases]
