"""Several unhappy citizens on one order: each is heard, the order is opened once per round (domain.md, Feedback)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from shared.bus.records import Record
from shared.events.event import encode
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.system.test_domain_rules import ALL, act, call, completed, feedback_of, order_of, posted, reviewed, tracked

BAD = {"contacted": True, "solved": False, "satisfaction": 1}
GOOD = {"contacted": True, "solved": True, "satisfaction": 5}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, *ALL) as found:
        found.clock.set(datetime(2026, 11, 2, 1, 30, tzinfo=UTC))
        yield found


class Trio:
    """Three citizens who wait for one order."""

    def __init__(self, hub: Harness, answers: list[dict[str, Any]], order: dict[str, Any]) -> None:
        self.hub = hub
        self.answers = answers
        self.order = order

    @classmethod
    async def with_a_completed_order(cls, hub: Harness, number: int) -> "Trio":
        answers = [await posted(hub, reporter={"phone": f"139{number:04d}{n:04d}"}) for n in range(3)]
        first = answers[0]["id"]
        await reviewed(hub, first, **{"class": "general"})
        for other in answers[1:]:
            await call(hub, "POST", f"/v1/appeals/{other['id']}/link", {"to": first, "relation": "same_event"})
        await hub.settle()
        order = await order_of(hub, first)
        assert len(order["appeal_ids"]) == 3
        await completed(hub, order)
        return cls(hub, answers, order)

    async def rate(self, *bodies: dict[str, Any] | None) -> list[int]:
        """All at once, each twice as if the citizen had tapped twice; None keeps silent."""
        links = [
            ((await tracked(self.hub, answer))["rating_url"], body)
            for answer, body in zip(self.answers, bodies, strict=True)
            if body is not None
        ]
        taps = await asyncio.gather(*(self.hub.http.post(url, json=body) for url, body in links * 2))
        await self.hub.settle()
        return sorted(tap.status_code for tap in taps)

    async def now(self) -> tuple[str, int]:
        found = await call(self.hub, "GET", f"/v1/work-orders/{self.order['id']}")
        return found["status"], found["round"]

    async def complete(self) -> None:
        await act(self.hub, self.order, "complete", {"result": "路灯已再次修复", "solved": True})

    async def reopened(self) -> int:
        events = await self.hub.events("dispatch.work-orders.v1", key=self.order["id"])
        return [event.type for event in events].count("work_order.reopened")

    async def supervised(self) -> list[tuple[str, int, int]]:
        rows = (await call(self.hub, "GET", "/v1/supervisions", params={"limit": 200}))["items"]
        return sorted((r["clock"], r["round"], r["level"]) for r in rows if r["work_order_id"] == self.order["id"])


async def test_three_who_are_unhappy_at_once_open_the_order_once_and_all_are_asked_again(hub: Harness) -> None:
    trio = await Trio.with_a_completed_order(hub, 7001)
    assert await trio.rate(BAD, BAD, BAD) == [200] * 3 + [409] * 3
    assert (await trio.now(), await trio.reopened()) == (("reopened", 2), 1)
    assert await trio.supervised() == [("rating", 2, 1)]
    await hub.advance(60)
    await trio.complete()
    assert [(await feedback_of(hub, a["id"]))["round"] for a in trio.answers] == [2, 2, 2]
    assert await trio.rate(BAD, BAD, BAD) == [200] * 3 + [409] * 3
    assert (await trio.now(), await trio.reopened()) == (("completed", 2), 1), "from here on only the centre decides"
    assert await trio.supervised() == [("rating", 2, 1), ("rating", 2, 3)]
    for number, answer in enumerate(trio.answers, 1):
        assert (await feedback_of(hub, answer["id"]))["status"] == "awaiting_decision"
        await call(hub, "POST", f"/v1/callbacks/{answer['id']}/decision", {"reason": "现场核实"})
        await hub.settle()
        assert (await trio.now())[0] == ("closed" if number == 3 else "completed")
    suspected = await call(hub, "GET", "/v1/callbacks/false-completions?state=suspected&limit=200")
    ours = [item for item in suspected["items"] if item["work_order_id"] == trio.order["id"]]
    assert len(ours) == 6, "each citizen contradicted each of both completions"


async def test_who_is_unhappy_later_opens_a_round_of_his_own_or_joins_the_open_one(hub: Harness) -> None:
    trio = await Trio.with_a_completed_order(hub, 7002)
    await hub.advance(60)
    await trio.rate(BAD, None, None)
    await hub.advance(60)
    await trio.rate(None, BAD, None)
    assert (await trio.now(), await trio.reopened()) == (("reopened", 2), 1), "joins"
    await hub.advance(60)
    await trio.complete()
    await hub.advance(60)
    await trio.rate(GOOD, None, BAD)
    assert (await trio.now(), await trio.reopened()) == (("reopened", 3), 2), (
        "his first bad rating, after that handling"
    )
    assert await trio.supervised() == [("rating", 2, 1), ("rating", 3, 1)]
    await hub.advance(60)
    await trio.complete()
    await trio.rate(None, GOOD, GOOD)
    assert await trio.now() == ("closed", 3)


@pytest.mark.parametrize("known", [True, False], ids=["with the same ids", "with ids that are forgotten"])
async def test_everything_delivered_once_more_and_backwards_changes_nothing(hub: Harness, known: bool) -> None:
    trio = await Trio.with_a_completed_order(hub, 7003 + known)
    await trio.rate(BAD, BAD, BAD)
    await hub.advance(60)
    await trio.complete()
    before = (await trio.now(), await trio.reopened(), await trio.supervised())
    keys = {trio.order["id"], *(answer["id"] for answer in trio.answers)}
    for topic in ("intake.appeals.v1", "dispatch.work-orders.v1", "feedback.ratings.v1", "sla.clocks.v1"):
        for message in reversed([message for message in await hub.events(topic) if message.key in keys]):
            headers, value = encode(message if known else replace(message, id=uuid7()))
            await hub.publish(Record(topic, message.key, headers, value))
    await hub.settle()
    assert (await trio.now(), await trio.supervised()) == (before[0], before[2])
    events = await hub.events("dispatch.work-orders.v1", key=trio.order["id"])
    assert len({event.sequence for event in events if event.type == "work_order.reopened"}) == 1
    assert await trio.rate(GOOD, GOOD, GOOD) == [200] * 3 + [409] * 3
    assert await trio.now() == ("closed", 2)
