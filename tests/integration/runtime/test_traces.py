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


async def test_a_trace_follows_each_case_through_all_services(server_url: str) -> None:
    async with Harness.fresh(server_url, "intake", "classify", "dispatch", "sla", "feedback") as hub:
        traces = callers()
        texts = ["中山路路灯不亮", "楼下烧烤店半夜噪音扰民", "小区停水两天", "工地扬尘严重", "公交车不按时到站"]
        answers = await asyncio.gather(
            *(
                hub.http.post("/v1/appeals", json={"channel": "web", "text": text}, headers=hub.admin | trace)
                for text, trace in zip(texts, traces, strict=True)
            )
        )
        await hub.settle()
        caller_of = {answer.json()["id"]: trace["traceparent"] for answer, trace in zip(answers, traces, strict=True)}
        labels = await hub.events("classify.labels.v1")
        orders = await hub.events("dispatch.work-orders.v1")
        appeal_of = {event.key: event.data.after.appeal_ids[0] for event in orders}
        clocks = await hub.events("sla.clocks.v1")
        assert {event.key for event in labels} == set(caller_of)
        assert set(appeal_of.values()) == set(caller_of)
        assert {event.key for event in clocks} == set(appeal_of)
        assert [event.traceparent for event in labels] == [caller_of[event.key] for event in labels]
        later = [*orders, *clocks]
        assert [event.traceparent for event in later] == [caller_of[appeal_of[event.key]] for event in later]
        order = next(event for event in orders if event.data.after.status == "dispatched")
        for act, body in (("accept", {}), ("complete", {"result": "已修复", "solved": True})):
            last = callers(1)[0]
            done = await hub.http.post(f"/v1/work-orders/{order.key}/{act}", json=body, headers=hub.admin | last)
            assert done.status_code == 200
        asked = await told(hub, "feedback.ratings.v1", [appeal_of[order.key]])
        assert asked == [last]
