"""The rates of a month through feedback's and evaluate's real doors, against counts made by hand."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from shared.clock import ZONE
from shared.events.catalog.clocks import ClockCorrected, ClockSet, ClockState, ClockTurnedRed
from shared.events.catalog.ratings import Answer, Feedback, FeedbackClosed, FeedbackExclusionDecided, FeedbackOpened
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

GOOD: dict[str, object] = {"contacted": True, "solved": True, "satisfaction": 5}


class RATE:
    """Equal to a rate with these three, whatever its interval."""

    def __init__(self, value: float | None, above: int, below: int) -> None:
        self.expected = {"rate": value, "numerator": above, "denominator": below}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and {name: other.get(name) for name in self.expected} == self.expected

    def __repr__(self) -> str:
        return str(self.expected)


BAD: dict[str, object] = {"contacted": True, "solved": False, "satisfaction": 1}


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "feedback", "evaluate") as fresh:
        yield fresh


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "evaluate") as fresh:
        yield fresh


async def get(hub: Harness, path: str, headers: dict[str, str] | None = None) -> Any:
    answer = await hub.http.get(path, headers=headers or hub.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def unit(hub: Harness, code: str, period: str = "2026-11") -> Any:
    items = (await get(hub, f"/v1/evaluations/{period}"))["items"]
    return next((item for item in items if item["id"] == code), None)


async def rate(hub: Harness, case: Case, number: int, body: dict[str, object]) -> None:
    answer = await hub.http.post(f"/v1/ratings/{case.tokens[number - 1]}", json=body)
    assert answer.status_code == 200, answer.text


def clock_set(hub: Harness, case: Case, lamp: str) -> ClockSet:
    """sla's snapshot with the complete clock of round 1 showing `lamp`."""
    due = hub.clock.now()
    complete = ClockState(
        clock="complete",
        round=1,
        started_at=due - timedelta(days=7),
        due_at=due,
        yellow_at=due - timedelta(days=2),
        lamp=lamp,
        used_s=7 * 86_400,
        allowed_s=7 * 86_400,
        unit_of_time="natural",
    )
    return ClockSet(
        work_order_id=case.order_id,
        appeal_ids=[case.id],
        unit=case.unit,
        region_code="460105001",
        handling_class="general",
        lamp=lamp,
        level=1,
        clocks=[complete],
    )


async def red(hub: Harness, case: Case, *, sequence: int = 1) -> None:
    due = hub.clock.now()
    after = clock_set(hub, case, "red")
    event = ClockTurnedRed(actor="system:sla", clock="complete", round=1, due_at=due, after=after)
    await hub.emit(event, key=case.order_id, sequence=sequence)


async def corrected(hub: Harness, case: Case, *, levels: list[int], lamp: str, sequence: int = 2) -> None:
    after = clock_set(hub, case, lamp)
    event = ClockCorrected(actor="system:sla", clock="complete", round=1, levels=levels, after=after)
    await hub.emit(event, key=case.order_id, sequence=sequence)


async def test_a_month_equals_the_hand_count_of_docs(hub: Harness) -> None:
    """The worked example of docs/evaluation.md."""
    a, b, c = Case(hub, channel="phone"), Case(hub), Case(hub)
    for case in (a, b, c):
        await case.received()
        await case.dispatched()
        await case.completed()
    await hub.settle()
    body = {"outcome": "reached", **GOOD}
    assert (await hub.http.post(f"/v1/callbacks/{a.id}/attempts", json=body, headers=hub.admin)).status_code == 200
    await rate(hub, b, 1, BAD)
    await red(hub, b)
    await hub.settle()
    assert (await unit(hub, "u1"))["counts"]["closed"] == 1, "b is handled again: it is in no month yet"
    await b.reopened()
    await b.completed()
    await hub.settle()
    await rate(hub, b, 2, {"contacted": True, "solved": True, "satisfaction": 4})
    await hub.advance(15 * 86400)
    item = await unit(hub, "u1")
    counts = {name: n for name, n in item["counts"].items() if n}
    assert counts == {
        "closed": 3,
        "asked": 2,
        "contacted": 2,
        "solved": 2,
        "answered": 2,
        "satisfied": 2,
        "second_handled": 1,
        "false_completions_suspected": 1,
        "completed": 3,
        "late": 1,
        "dispatched": 3,
    }
    rates = {name: found["rate"] for name, found in item["rates"].items()}
    assert rates == {
        "response": 1.0,
        "solution": 1.0,
        "satisfaction": 1.0,
        "second_handling": 0.5,
        "on_time": 0.6667,
        "return": 0.0,
        "repeat": 0.0,
        "tag_coverage": 0.0,
        "tag_accuracy": None,
    }
    assert (item["score"], item["rank"]) == (99.5, None), "fewer than 20 asked: shown, unranked"
    assert item["name"] == "单位u1"


async def test_an_excluded_rating_leaves_both_sides(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    await rate(hub, case, 1, {"contacted": False, "solved": True, "satisfaction": 3})
    wish = {"appeal_id": case.id, "reason": "恶意评价"}
    asked = (await hub.http.post("/v1/exclusions", json=wish, headers=hub.admin)).json()
    await hub.settle()
    assert (await unit(hub, "u1"))["rates"]["response"] == RATE(0.0, 0, 1)
    verdict = {"granted": True, "reason": "属实"}
    await hub.http.post(f"/v1/exclusions/{asked['id']}/decision", json=verdict, headers=hub.admin)
    await hub.settle()
    item = await unit(hub, "u1")
    assert item["rates"]["response"] == RATE(None, 0, 0)
    assert (item["counts"]["closed"], item["counts"]["excluded"], item["score"]) == (1, 1, None)


async def test_a_corrected_deadline_is_on_time_and_returns_belong_to_who_returned(hub: Harness) -> None:
    case = Case(hub, unit="u2")
    await case.received()
    await case.dispatched()
    await case.returned()
    case.unit = "u3"
    await case.dispatched()
    await case.completed()
    await red(hub, case)
    await corrected(hub, case, levels=[1], lamp="green")
    await hub.settle()
    await rate(hub, case, 1, GOOD)
    await hub.settle()
    assert (await unit(hub, "u2"))["rates"]["return"] == RATE(1.0, 1, 1)
    assert (await unit(hub, "u3"))["rates"]["return"] == RATE(0.0, 0, 1)
    assert (await unit(hub, "u3"))["rates"]["on_time"] == RATE(1.0, 1, 1)


async def test_an_order_stays_late_when_only_a_level_is_taken_back_or_it_turns_red_again(hub: Harness) -> None:
    level_only, red_again, unordered = Case(hub, unit="u6"), Case(hub, unit="u7"), Case(hub, unit="u8")
    for case in (level_only, red_again, unordered):
        await case.ready_to_rate()
    await red(hub, level_only)
    await corrected(hub, level_only, levels=[2], lamp="red")
    await red(hub, red_again)
    await corrected(hub, red_again, levels=[1], lamp="yellow")
    await red(hub, red_again, sequence=3)
    await corrected(hub, unordered, levels=[1], lamp="green")
    await red(hub, unordered)
    for case in (level_only, red_again, unordered):
        await rate(hub, case, 1, GOOD)
    await hub.settle()
    found = [(await unit(hub, code))["rates"]["on_time"]["numerator"] for code in ("u6", "u7", "u8")]
    assert found == [0, 0, 1]


async def test_a_repeat_after_closing_counts_for_the_unit_of_the_closed_case(hub: Harness) -> None:
    first, again = Case(hub, unit="u4"), Case(hub, unit="u5")
    await first.ready_to_rate()
    await rate(hub, first, 1, GOOD)
    await again.received()
    await again.dispatched(repeat_of=first.id)
    await again.dispatched(repeat_of=first.id)
    await hub.settle()
    assert (await unit(hub, "u4"))["rates"]["repeat"] == RATE(1.0, 1, 1)


async def test_a_month_begins_at_midnight_of_the_zone(hub: Harness) -> None:
    hub.clock.set(datetime(2026, 11, 30, 23, 59, tzinfo=ZONE))
    before, after = Case(hub), Case(hub)
    await before.ready_to_rate()
    await after.ready_to_rate()
    await rate(hub, before, 1, GOOD)
    hub.clock.advance(60)
    await rate(hub, after, 1, GOOD)
    await hub.settle()
    assert (await unit(hub, "u1", "2026-11"))["counts"]["closed"] == 1
    assert (await unit(hub, "u1", "2026-12"))["counts"]["closed"] == 1


def closed(number: int, answer: Answer | None, bad: int, at: datetime, exclusion: str | None = None) -> Feedback:
    return Feedback(
        appeal_id=f"a{number}",
        work_order_id=f"o{number // 2}",
        unit=f"u{number // 2 % 7}",
        region_code="460105001",
        matter="m",
        round=1,
        method="link",
        status="closed",
        outcome="answered" if answer else "expired",
        reached=answer is not None,
        answers=[answer] if answer else [],
        bad_ratings=bad,
        exclusion=exclusion,
        opened_at=at,
        closed_at=at,
    )


async def test_repeated_and_shuffled_events_give_the_same_month(hub: Harness) -> None:
    chance = Random(3)
    now = hub.clock.now()
    deliveries: list[tuple[Any, str, int, str]] = []
    expected: dict[str, dict[str, int]] = {}
    for number in range(400):
        asked, excluded = chance.random() < 0.8, chance.random() < 0.1
        solved, satisfaction = chance.random() < 0.7, chance.choice([None, 1, 2, 3, 4, 5])
        answer = Answer(round=1, contacted=True, solved=solved, satisfaction=satisfaction, at=now)
        after = closed(number, answer if asked else None, chance.choice([0, 1]), now)
        events: list[Any] = [FeedbackOpened(actor="x", after=after_open(after)), FeedbackClosed(actor="x", after=after)]
        if asked and excluded:
            decided = closed(number, answer, after.bad_ratings, now, "granted")
            events.append(FeedbackExclusionDecided(actor="x", after=decided, exclusion_id="e", granted=True))
        counted = expected.setdefault(after.unit, {"closed": 0, "asked": 0, "solved": 0, "answered": 0, "satisfied": 0})
        counted["closed"] += 1
        if asked and not excluded:
            counted["asked"] += 1
            counted["solved"] += solved
            counted["answered"] += satisfaction is not None
            counted["satisfied"] += (satisfaction or 0) >= 3
        for sequence, event in enumerate(events, 1):
            event_id = f"{number:08d}-0000-7000-8000-{sequence:012d}"
            deliveries += [(event, after.appeal_id, sequence, event_id)] * chance.choice([1, 1, 2, 3])
    chance.shuffle(deliveries)
    for event, key, sequence, event_id in deliveries:
        await hub.emit(event, key=key, sequence=sequence, event_id=event_id)
    await hub.settle()
    items = (await get(hub, "/v1/evaluations/2026-11"))["items"]
    found = {item["id"]: {name: item["counts"][name] for name in expected[item["id"]]} for item in items}
    assert found == expected
    assert sum(item["counts"]["completed"] for item in items) == 200, "an order with two appeals counts once"
    ranking = (await get(hub, "/v1/rankings/2026-11"))["items"]
    assert [line["rank"] for line in ranking] == sorted(line["rank"] for line in ranking)
    scores = [line["score"] for line in ranking]
    assert scores == sorted(scores, reverse=True)


def after_open(after: Feedback) -> Feedback:
    return msgspec.structs.replace(after, status="open", outcome=None, closed_at=None, answers=[], reached=False)


async def test_levels_roll_up_by_the_units_region(hub: Harness) -> None:
    for code, region in (("s1", "460105001"), ("s2", "460105002"), ("d1", "460106"), ("c1", "460100")):
        case = Case(hub, unit=code)
        await case.received()
        await case.dispatched(lead_region=region)
        await case.completed()
        await hub.settle()
        await rate(hub, case, 1, GOOD)
    await hub.settle()

    async def closed_by(level: str) -> dict[str, int]:
        items = (await get(hub, f"/v1/evaluations/2026-11?level={level}"))["items"]
        return {item["id"]: item["counts"]["closed"] for item in items}

    assert await closed_by("unit") == {"c1": 1, "d1": 1, "s1": 1, "s2": 1}
    assert await closed_by("street") == {"460105001": 1, "460105002": 1}
    assert await closed_by("district") == {"460105": 2, "460106": 1}
    assert await closed_by("city") == {"460100": 4}
    own = await get(hub, "/v1/evaluations/2026-11", hub.token("handler", units=["s1"]))
    assert [item["id"] for item in own["items"]] == ["s1"]
    first = await get(hub, "/v1/evaluations/2026-11?limit=3")
    rest = await get(hub, f"/v1/evaluations/2026-11?limit=3&after={first['next']}")
    assert [i["id"] for i in first["items"] + rest["items"]] == ["c1", "d1", "s1", "s2"]
    assert rest["next"] is None


async def scores_of(hub: Harness) -> list[str]:
    """The versions of the score."""
    return [one["version"] for one in (await get(hub, "/v1/formulas"))["items"] if one["purpose"] == "score"]


async def test_a_formula_scores_from_its_month_on_and_is_never_changed(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    await rate(hub, case, 1, {"contacted": False, "solved": True, "satisfaction": 3})
    await hub.settle()
    assert (await unit(hub, "u1"))["score"] == 90.0
    body = {"version": "v2", "effective_from": "2026-11", "weights": {"response": 0.5, "solution": 0.5}, "min_asked": 1}
    leader = hub.token("leader")
    assert (await hub.http.post("/v1/formulas", json=body, headers=hub.token("auditor"))).status_code == 403
    added = await hub.http.post("/v1/formulas", json=body, headers=leader)
    assert added.status_code == 201
    assert added.json()["expression"] == "100 * (0.5 * response + 0.5 * solution)"
    again = await hub.http.post("/v1/formulas", json=body | {"cap": 5}, headers=leader)
    assert (again.status_code, again.json()["code"]) == (409, "formula_exists")
    item = await unit(hub, "u1")
    assert (item["score"], item["rank"]) == (50.0, 1)
    assert (await get(hub, "/v1/evaluations/2026-11"))["formula"] == "v2"
    assert [f["version"] for f in (await get(hub, "/v1/formulas"))["items"] if f["purpose"] == "score"] == [
        "default",
        "v2",
    ]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"weights": {"kindness": 1.0}}, "/weights"),
        ({"weights": {"response": 0.5}}, "/weights"),
        ({"deductions": {"import os": 1.0}}, "/deductions"),
        ({"weights": {}, "expression": "solution ** 9999"}, "/expression"),
        ({"expression": "solution"}, "/weights"),
        ({"weights": {}, "expression": "response / late"}, "/expression"),
        ({"effective_from": "2026-10"}, "/effective_from"),
        ({"effective_from": "soon"}, "/effective_from"),
        ({"min_asked": 0}, "/min_asked"),
    ],
)
async def test_a_wrong_formula_is_refused_with_its_place(
    shared_hub: Harness, wrong: dict[str, object], pointer: str
) -> None:
    body = {"version": "v9", "effective_from": "2026-12", "weights": {"response": 1.0}, **wrong}
    answer = await shared_hub.http.post("/v1/formulas", json=body, headers=shared_hub.admin)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("period", ["2026", "2026-13", "0000-01", "now"])
async def test_a_wrong_period_is_refused(shared_hub: Harness, period: str) -> None:
    answer = await shared_hub.http.get(f"/v1/evaluations/{period}", headers=shared_hub.admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_refused_expression_names_its_place(shared_hub: Harness) -> None:
    body = {"version": "v9", "effective_from": "2026-12", "expression": "100 * solution.__class__"}
    for path in ("/v1/formulas", "/v1/formulas/trial"):
        answer = await shared_hub.http.post(path, json=body, headers=shared_hub.admin)
        assert answer.status_code == 422
        told = answer.json()
        assert (told["code"], told["position"]) == ("invalid_formula", 15)
        assert told["errors"][0]["detail"].startswith("position 15: '.' has no meaning here: there are no attributes")


async def test_a_formula_is_tried_on_last_month_beside_the_present_one(hub: Harness) -> None:
    for code, solved in (("u1", True), ("u2", False)):
        case = Case(hub, unit=code)
        await case.ready_to_rate()
        await rate(hub, case, 1, {"contacted": True, "solved": solved, "satisfaction": 5 if solved else 3})
        if not solved:
            await hub.settle()
            await case.reopened()
            await case.completed()
            await hub.settle()
            await rate(hub, case, 2, {"contacted": False, "solved": True, "satisfaction": 3})
    await hub.settle()
    hub.clock.set(datetime(2026, 12, 3, tzinfo=ZONE))
    body = {"version": "v3", "effective_from": "2027-01", "expression": "60 * response + 40 * solution", "min_asked": 1}
    tried = await hub.http.post("/v1/formulas/trial", json=body, headers=hub.admin)
    assert tried.status_code == 200, tried.text
    told = tried.json()
    assert (told["period"], told["present"]) == ("2026-11", "default")
    assert {item["id"]: (item["old_score"], item["new_score"], item["new_rank"]) for item in told["items"]} == {
        "u1": (100.0, 100.0, 1),
        "u2": (90.0, 40.0, 2),
    }
    assert [item["old_rank"] for item in told["items"]] == [None, None], "fewer than 20 asked"
    assert [f["version"] for f in (await get(hub, "/v1/formulas"))["items"] if f["purpose"] == "score"] == [
        "default"
    ], "nothing is stored"
    added = await hub.http.post("/v1/formulas", json=body, headers=hub.admin)
    assert added.json()["trial"] == told
