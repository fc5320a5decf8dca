"""A call centre at work: twenty seats, some of which vanish in the middle of a call, until nobody is left to call.

`CALL_CENTRE_TASKS=5000` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.clock import ZONE
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

TASKS = int(os.environ.get("CALL_CENTRE_TASKS", "150"))
SEATS = 20
SHIFTS = [10, 14]
"""hours of the day at which a half-day's work begins, in the citizens' zone"""


class Centre:
    """The seats' side, and the book in which every call is written down."""

    def __init__(self, hub: Harness) -> None:
        self.hub = hub
        self.dice = random.Random(20261122)
        self.on_the_line: dict[str, str] = {}
        """who speaks with whom just now"""
        self.calls: list[tuple[str, datetime, str]] = []
        self.vanished = 0

    async def seat(self, name: str) -> None:
        """Takes calls until there are none; may vanish with what it holds."""
        headers = self.hub.token("seat", sub=name)
        while True:
            answer = await self.hub.http.post("/v1/callbacks/lease", json={"limit": 3}, headers=headers)
            assert answer.status_code == 200, answer.text
            held = [item["id"] for item in answer.json()["items"]]
            if not held:
                return
            for task in held:
                assert task not in self.on_the_line, f"{task} is called by {self.on_the_line[task]} and {name}"
                self.on_the_line[task] = name
            for task in held:
                await asyncio.sleep(0)
                if self.dice.random() < 0.03:
                    self.vanished += 1
                    return  # the others that it holds stay with it until its lease ends
                outcome = self.dice.choices(["reached", "no_answer", "refused"], [5, 4, 1])[0]
                body: dict[str, Any] = {"outcome": outcome}
                if outcome == "reached":
                    body |= {"contacted": True, "solved": True, "satisfaction": 5}
                made = await self.hub.http.post(f"/v1/callbacks/{task}/attempts", json=body, headers=headers)
                assert made.status_code == 200, made.text
                self.calls.append((task, self.hub.clock.now(), outcome))
                del self.on_the_line[task]

    async def leases_end(self) -> None:
        """A quarter of an hour of real time passes."""
        async with self.hub.runners["feedback"].service.database.transaction() as uow:
            await uow.pg.execute("UPDATE feedback.cases SET leased_until = leased_until - interval '16 minutes'")
        self.on_the_line.clear()

    async def shift(self) -> None:
        """A half-day: seats come and go until nobody may be called any more."""
        number = 0
        while True:
            before = len(self.calls), self.vanished
            await asyncio.gather(*(self.seat(f"seat-{number}-{n}") for n in range(SEATS)))
            number += 1
            await self.leases_end()
            if (len(self.calls), self.vanished) == before:
                return


async def test_every_citizen_is_called_by_one_seat_at_a_time_in_hours_until_it_is_settled(server_url: str) -> None:
    async with Harness.fresh(server_url, "feedback", pool_size=8) as hub:
        hub.clock.set(datetime(2026, 11, 2, 9, 30, tzinfo=ZONE).astimezone(UTC))
        cases = [Case(hub, channel="phone") for _ in range(TASKS)]
        for case in cases:
            await case.received()
            await case.completed()
        await hub.settle(120)
        centre = Centre(hub)
        day = hub.clock.now().astimezone(ZONE).replace(hour=0, minute=0)
        for number in range(8):
            hub.clock.set(day + timedelta(days=number // 2, hours=SHIFTS[number % 2]))
            await centre.shift()
        hub.clock.set(day + timedelta(days=5, hours=22))  # at night nobody is given out, and nothing is called
        night = await hub.http.post("/v1/callbacks/lease", json={"limit": 50}, headers=hub.token("seat"))
        assert night.json()["items"] == []
        states = await hub.query("SELECT appeal_id, status, state FROM feedback.cases")
        assert {row["status"] for row in states} == {"closed"}, "nobody is forgotten"
    by_task: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for task, at, outcome in centre.calls:
        by_task[task].append((at, outcome))
    assert set(by_task) == {case.id for case in cases}
    assert centre.vanished > 0
    tries = Counter(len(calls) for calls in by_task.values())
    assert set(tries) <= {1, 2, 3}
    assert tries[3] > 0
    for calls in by_task.values():
        assert [outcome for _, outcome in calls[:-1]] == ["no_answer"] * (len(calls) - 1)
        halves = {(at.astimezone(ZONE).date(), at.astimezone(ZONE).hour < 13) for at, _ in calls}
        assert len(halves) == len(calls), "each attempt on another half-day"
        assert all(9 <= at.astimezone(ZONE).hour < 21 for at, _ in calls)
