"""The review queue: no two seats look at one case, but for the few that measure how far persons agree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any

import pytest_asyncio

from services.classify.review_queue import is_blind
from shared.events.catalog.clocks import ClockEscalated, ClockState
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.classify.sayings import VAGUE, labels, receive
from tests.integration.intake.examples import clock_set

MATTER = {"matter": "13010201"}
OTHER = {"matter": "02010201"}


@pytest_asyncio.fixture(loop_scope="session")
async def desk(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "classify") as hub:
        yield hub


def ids(*, blind: bool) -> Iterator[str]:
    """Ids of appeals that a second person will see, or that none will."""
    while True:
        appeal_id = uuid7()
        if is_blind(appeal_id) is blind:
            yield appeal_id


async def waiting(desk: Harness, count: int, *, blind: bool = False, text: str = VAGUE) -> list[str]:
    drawn = ids(blind=blind)
    found = [await receive(desk, text, id=next(drawn)) for _ in range(count)]
    await desk.settle()
    return found


async def take(desk: Harness, seat: str, limit: int = 1, **asked: str) -> list[str]:
    body: dict[str, Any] = {"limit": limit, **asked}
    answer = await desk.http.post("/v1/reviews/lease", json=body, headers=desk.token("seat", sub=seat))
    assert answer.status_code == 200, answer.text
    return [item["appeal_id"] for item in answer.json()["items"]]


async def decide(desk: Harness, seat: str, appeal_id: str, body: dict[str, Any], role: str = "seat") -> Any:
    return await desk.http.post(f"/v1/reviews/{appeal_id}", json=body, headers=desk.token(role, sub=seat))


async def test_seats_that_ask_at_once_never_get_the_same_case(desk: Harness) -> None:
    asked = await waiting(desk, 30)
    taken = await asyncio.gather(*(take(desk, f"seat-{n}", 4) for n in range(10)))
    flat = list(chain.from_iterable(taken))
    assert len(flat) == len(set(flat))
    rest = await take(desk, "seat-last", 20)
    assert sorted(flat + rest) == sorted(asked)


async def test_a_held_case_is_decided_by_its_seat_or_by_a_supervisor(desk: Harness) -> None:
    await waiting(desk, 2)
    (mine,) = await take(desk, "wang")
    assert await take(desk, "wang") == [mine], "asking again prolongs"
    refused = await decide(desk, "li", mine, MATTER)
    assert (refused.status_code, refused.json()["code"]) == (409, "leased")
    listed = await desk.http.get("/v1/reviews", headers=desk.token("seat", sub="li"))
    held = {item["appeal_id"]: item["leased_by"] for item in listed.json()["items"]}
    assert held[mine] is not None
    assert list(held.values()).count(None) == 1
    assert (await decide(desk, "zhao", mine, MATTER, role="supervisor")).status_code == 200
    assert mine not in await take(desk, "li", 20)


async def test_a_lease_that_ran_out_goes_to_the_next(desk: Harness) -> None:
    await waiting(desk, 1)
    (case,) = await take(desk, "wang")
    assert await take(desk, "li") == []
    async with desk.runners["classify"].service.database.transaction() as uow:
        await uow.pg.execute("UPDATE classify.review_leases SET until = now() - interval '1 second'")
    assert await take(desk, "li") == [case]
    assert (await decide(desk, "wang", case, MATTER)).status_code == 409
    assert (await decide(desk, "li", case, MATTER)).status_code == 200


async def test_the_most_urgent_comes_first(desk: Harness) -> None:
    await waiting(desk, 2)
    (urgent,) = await waiting(desk, 1, text="小区停车费乱收费，收费员多收钱，旁边的路灯杆还漏电了")
    assert (await take(desk, "wang"))[0] == urgent
    assert await take(desk, "li", 1, **{"class": "urgent"}) == []


async def test_a_second_person_is_asked_blindly_and_changes_nothing(desk: Harness) -> None:
    (case,) = await waiting(desk, 1, blind=True)
    assert await take(desk, "wang") == [case]
    assert (await decide(desk, "wang", case, MATTER)).status_code == 200
    assert await take(desk, "wang") == [], "nobody judges himself"
    seat = desk.token("seat", sub="li")
    shown = (await desk.http.post("/v1/reviews/lease", json={}, headers=seat)).json()["items"][0]
    assert shown["appeal_id"] == case
    assert MATTER["matter"] not in [one["code"] for one in shown["candidates"][:1]]
    assert (await decide(desk, "li", case, OTHER)).status_code == 200
    facts = await labels(desk, case)
    assert [fact.type for fact in facts] == ["label.classified", "label.reviewed"]
    assert facts[-1].data.after.matter.code == MATTER["matter"]
    quality = (await desk.http.get("/v1/classify/quality", headers=desk.admin)).json()
    assert quality["agreement"] == {"pairs": 1, "agreed": 0, "share": 0.0}
    assert await take(desk, "zhao") == [], "two are enough"


async def test_few_cases_are_asked_twice() -> None:
    assert 0.015 < sum(is_blind(uuid7()) for _ in range(20_000)) / 20_000 < 0.025


async def test_a_seat_gets_only_cases_of_its_regions(desk: Harness) -> None:
    await waiting(desk, 1)
    elsewhere = desk.token("seat", sub="wang", regions=["460107"])
    for headers in (elsewhere, desk.token("seat", sub="wang", units=["u-1"])):
        answer = await desk.http.post("/v1/reviews/lease", json={}, headers=headers)
        assert answer.json()["items"] == []


async def test_an_overdue_review_shows_its_clock_and_is_given_first(desk: Harness) -> None:
    early, late = await waiting(desk, 2)
    now = desk.clock.now()
    review = ClockState(
        clock="review",
        round=1,
        started_at=now,
        due_at=now,
        yellow_at=now,
        lamp="red",
        level=1,
        used_s=7200,
        allowed_s=7200,
        unit_of_time="natural",
    )
    clocks = clock_set(uuid7(), [late], now, lamp="red", level=1, clocks=[review])
    escalated = ClockEscalated(
        actor="system:sla", supervision_id=uuid7(), clock="review", round=1, level=1, due_at=now, after=clocks
    )
    await desk.emit(escalated, key=clocks.work_order_id, sequence=3)
    await desk.settle()
    assert await take(desk, "li") == [late]
    assert await take(desk, "wang", 2) == [early]
    listed = (await desk.http.get("/v1/reviews", headers=desk.admin)).json()["items"]
    shown = {item["appeal_id"]: item["clock"] for item in listed}
    assert (shown[early], shown[late]["lamp"], shown[late]["level"]) == (None, "red", 1)
    assert (await decide(desk, "li", late, MATTER)).status_code == 200
    assert await desk.query("SELECT 1 FROM classify.review_clocks") == []
