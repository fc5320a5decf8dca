"""Incentives: tag accuracy × handling efficiency, by versioned formulas of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio

from shared.testing.harness import Harness
from tests.integration.evaluate.test_publication import deliver, journalling, post
from tests.truth.lives import World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    """Two months, the first published."""
    async with journalling(server_url) as fresh:
        await deliver(fresh, World(seed=8, cases=700, months=("2026-09", "2026-10"), units=5).events())
        fresh.clock.set(datetime(2026, 11, 3, tzinfo=UTC))
        await post(fresh, "/v1/evaluations/2026-09/publish")
        yield fresh


async def get(hub: Harness, path: str, **headers: Any) -> Any:
    answer = await hub.http.get(path, headers=headers or hub.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


def product(line: dict[str, Any]) -> float:
    rates = {name: rate["numerator"] / rate["denominator"] for name, rate in line["rates"].items()}
    return float(100 * rates["tag_accuracy"] * min(rates["on_time"], rates["solution"]))


async def test_an_incentive_is_tag_accuracy_times_the_weaker_of_solved_and_in_time(hub: Harness) -> None:
    for period in ("2026-09", "2026-10"):
        told = await get(hub, f"/v1/evaluations/{period}/incentives")
        assert told["expression"] == "100 * tag_accuracy * min(on_time, solution)"
        ranked = [line for line in told["items"] if line["rank"] is not None]
        assert len(ranked) >= 2
        for line in told["items"]:
            if line["score"] is not None:
                assert abs(line["score"] - product(line)) < 0.0051
            enough = line["asked"] >= 20 and line["tags_judged"] >= 20
            assert (line["rank"] is not None, line["small_sample"]) == (enough, not enough)
        assert [line["rank"] for line in ranked] == sorted(line["rank"] for line in ranked)


async def test_judged_tags_can_be_opened_one_by_one(hub: Harness) -> None:
    line = (await get(hub, "/v1/evaluations/2026-10/incentives"))["items"][0]
    accuracy = line["rates"]["tag_accuracy"]
    for count, number in (("tags_right", accuracy["numerator"]), ("tags_judged", accuracy["denominator"])):
        opened = await get(hub, f"/v1/evaluations/2026-10/cases?unit={line['id']}&count={count}&limit=200")
        assert len(opened["items"]) == number
        assert all(row["tag"] for row in opened["items"])


async def test_who_sees_one_unit_sees_its_incentive_only(hub: Harness) -> None:
    own = await get(hub, "/v1/evaluations/2026-10/incentives", **hub.token("handler", units=["460100-u001"]))
    assert [line["id"] for line in own["items"]] == ["460100-u001"]


async def test_a_new_incentive_is_tried_first_and_leaves_score_and_published_months_alone(hub: Harness) -> None:
    before = await get(hub, "/v1/evaluations/2026-09/incentives")
    scores = {line["id"]: line["score"] for line in (await get(hub, "/v1/rankings/2026-10"))["items"]}
    body = {"version": "i1", "effective_from": "2026-11", "purpose": "incentive", "expression": "100 * tag_coverage"}
    tried = await post(hub, "/v1/formulas/trial", body)
    assert tried["present"] == "default"
    present = {line["id"]: line["score"] for line in (await get(hub, "/v1/evaluations/2026-10/incentives"))["items"]}
    assert {item["id"]: item["old_score"] for item in tried["items"]} == present
    await post(hub, "/v1/formulas", body, status=201)
    score = {"version": "s1", "effective_from": "2026-11", "expression": "100 * solution"}
    await post(hub, "/v1/formulas", score, status=201)
    assert (await get(hub, "/v1/evaluations/2026-11/incentives"))["formula"] == "i1"
    assert (await get(hub, "/v1/rankings/2026-11"))["formula"] == "s1"
    assert {line["id"]: line["score"] for line in (await get(hub, "/v1/rankings/2026-10"))["items"]} == scores
    assert await get(hub, "/v1/evaluations/2026-09/incentives") == before
