"""Writes that are committed together keep each its own caller's trace context in what they publish."""

import asyncio
from collections.abc import Sequence

from shared.telemetry.tracing import new_traceparent
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import new_order
from tests.integration.feedback.stories import Case


def callers(count: int = 5) -> list[dict[str, str]]:
    return [{"traceparent": new_traceparent()} for _ in range(count)]


async def told(hub: Harness, topic: str, keys: Sequence[str]) -> list[dict[str, str | None]]:
    """The trace context of the newest event of each key."""
    await hub.settle()
    newest = {event.key: event.traceparent for event in await hub.events(topic)}
    return [{"traceparent": newest[key]} for key in keys]


async def test_appeals_that_arrive_together(server_url: str) -> None:
    async with Harness.fresh(server_url, "intake") as hub:
        traces = callers()
        answers = await asyncio.gather(
            *(
                hub.http.post("/v1/appeals", json={"channel": "web", "text": "路灯不亮"}, headers=hub.admin | trace)
                for trace in traces
            )
        )
        assert [answer.headers["traceparent"] for answer in answers] == [trace["traceparent"] for trace in traces]
        ids = [answer.json()["id"] for answer in answers]
        assert await told(hub, "intake.appeals.v1", ids) == traces
        traces.reverse()
        await asyncio.gather(
            *(
                hub.http.post(f"/v1/appeals/{key}/withdraw", json={}, headers=hub.admin | trace)
                for key, trace in zip(ids, traces, strict=True)
            )
        )
        assert await told(hub, "intake.appeals.v1", ids) == traces


async def test_acts_on_orders_that_arrive_together(server_url: str) -> None:
    async with Harness.fresh(server_url, "dispatch") as hub:
        traces = callers()
        ids = [(await new_order(hub))["id"] for _ in traces]
        await asyncio.gather(
            *(
                hub.http.post(f"/v1/work-orders/{key}/accept", json={}, headers=hub.admin | trace)
                for key, trace in zip(ids, traces, strict=True)
            )
        )
        assert await told(hub, "dispatch.work-orders.v1", ids) == traces


async def test_ratings_that_arrive_together(server_url: str) -> None:
    async with Harness.fresh(server_url, "feedback") as hub:
        traces = callers()
        cases = [Case(hub) for _ in traces]
        for case in cases:
            await case.ready_to_rate()
        good = {"contacted": True, "solved": True, "satisfaction": 5}
        await asyncio.gather(
            *(
                hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=good, headers=trace)
                for case, trace in zip(cases, traces, strict=True)
            )
        )
        assert await told(hub, "feedback.ratings.v1", [case.id for case in cases]) == traces
