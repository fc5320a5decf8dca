"""A call centre at work: twenty seats, some of which vanish in the middle of a call, until nobody is left to call.

Of ten citizens one is deaf and one came in sign language: they have a link, too, and some answer by it while a seat
is at their case. Two of the seats know sign language.

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
SIGNERS = 2
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
        self.cases: dict[str, Case] = {}
        self.by_link: set[str] = set()
        """who answered by the link, mostly while a seat was at the case"""

    async def seat(self, name: str, media: list[str]) -> None:
        """Takes calls until there are none; may vanish with what it holds."""
        headers = self.hub.token("seat", sub=name)
        while True:
            wish = {"limit": 3, "media": media}
            answer = await self.hub.http.post("/v1/callbacks/lease", json=wish, headers=headers)
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
                made, tapped = await asyncio.gather(
                    self.hub.http.post(f"/v1/callbacks/{task}/attempts", json=body, headers=headers), self.tap(task)
                )
                if tapped:
                    self.by_link.add(task)
                if made.status_code != 200:
                    assert tapped, made.text
                    assert made.json()["code"] == "not_being_asked"
                    del self.on_the_line[task]
                    continue
                self.calls.append((task, self.hub.clock.now(), outcome))
                del self.on_the_line[task]

    async def tap(self, task: str) -> bool:
        """One in three of those who have a link answers by it at the same moment; whether he was first."""
        case = self.cases[task]
        if (case.channel == "phone" and not case.groups) or self.dice.random() > 1 / 3:
            return False
        body = {"contacted": True, "solved": True, "satisfaction": 4}
        answer = await self.hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=body)
        assert answer.status_code in (200, 409, 410), answer.text
        return answer.status_code == 200

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
            await asyncio.gather(
                *(
                    self.seat(f"seat-{number}-{n}", ["sign_video"] if n < SIGNERS else ["phone", "text"])
                    for n in range(SEATS)
                )
            )
            number += 1
            await self.leases_end()
            if (len(self.calls), self.vanished) == before:
                return


async def test_every_citizen_is_called_by_one_seat_at_a_time_in_hours_until_it_is_settled(server_url: str) -> None:
    async with Harness.fresh(server_url, "feedback", pool_size=8) as hub:
        hub.clock.set(datetime(2026, 11, 2, 9, 30, tzinfo=ZONE).astimezone(UTC))
        kinds: list[dict[str, Any]] = [{"channel": "phone"}] * 8
        kinds += [{"channel": "phone", "groups": ("deaf",)}, {"channel": "sign_video"}]
        cases = [Case(hub, **kinds[n % 10]) for n in range(TASKS)]
        for case in cases:
            await case.received()
            await case.completed()
        await hub.settle(120)
        centre = Centre(hub)
        centre.cases = {case.id: case for case in cases}
        day = hub.clock.now().astimezone(ZONE).replace(hour=0, minute=0)
        for number in range(8):
            hub.clock.set(day + timedelta(days=number // 2, hours=SHIFTS[number % 2]))
            await centre.shift()
        hub.clock.set(day + timedelta(days=5, hours=22))  # at night nobody is given out, and nothing is called
        night = await hub.http.post("/v1/callbacks/lease", json={"limit": 50}, headers=hub.token("seat"))
        assert night.json()["items"] == []
        await hub.advance(12 * 86_400)  # links that nobody used end
        states = await hub.query("SELECT appeal_id, status, state FROM feedback.cases")
        assert {row["status"] for row in states} == {"closed"}, "nobody is forgotten"
    by_task: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for task, at, outcome in centre.calls:
        by_task[task].append((at, outcome))
    assert set(by_task) | centre.by_link == {case.id for case in cases}
    assert centre.vanished > 0
    assert centre.by_link
    tries = Counter(len(calls) for calls in by_task.values())
    assert set(tries) <= {1, 2, 3}
    assert tries[3] > 0
    for calls in by_task.values():
        assert [outcome for _, outcome in calls[:-1]] == ["no_answer"] * (len(calls) - 1)
        halves = {(at.astimezone(ZONE).date(), at.astimezone(ZONE).hour < 13) for at, _ in calls}
        assert len(halves) == len(calls), "each attempt on another half-day"
        assert all(9 <= at.astimezone(ZONE).hour < 21 for at, _ in calls)
