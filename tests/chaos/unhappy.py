"""`make test-unhappy [n=20] [seed=N]`: three unhappy citizens on each of n orders while the
services between rating and second handling are killed with SIGKILL all the time.

Every citizen taps twice; some rate while the order is open again, some after its second completion. Judged from the
journal's feed: one answer per citizen and round, one reopening per round, none without a rating of its own, every bad
answer followed by a completion or a decision, every supervision once. One JSON line at the end, status 1 on a fault.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx

from tests.bench.stack import TOKEN, Stack, running, tell

KILLED = ("feedback", "dispatch", "sla")
PATIENCE_S = 240.0
SPREAD_S = 15.0
"""within so much time citizens think about an answer, so that services die before, in and after each"""
BAD = {"contacted": True, "solved": False, "satisfaction": 1, "words": "还是没有解决"}
GOOD = {"contacted": True, "solved": True, "satisfaction": 5}


class Fire:
    """The stack under fire, and how to get an answer out of it all the same."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.http = httpx.AsyncClient(
            base_url=stack.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10, trust_env=False
        )

    async def burn(self) -> None:
        """kill -9 of one service after the other, until cancelled; the stack starts them again."""
        while True:
            name = self.chance.choice(KILLED)
            (pid,) = self._pids(name) or [0]
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.kills[name] += 1
            for _ in range(100):  # killed again before it had begun, nothing would ever move
                await asyncio.sleep(0.3)
                if self._pids(name) not in ([], [pid]):
                    break
            await asyncio.sleep(self.chance.uniform(1, 4))

    def _pids(self, name: str) -> list[int]:
        found = self.stack.facts["pids"].get(name) or []
        return [int(pid) for pid in (found if isinstance(found, list) else [found])][:1]

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """An answer that is one: asked again, with the same key, while processes are away."""
        headers = {"Idempotency-Key": f"{self.chance.getrandbits(96):x}"} if body is not None else {}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = await self.http.request(method, path, json=body, headers=headers)
                if answer.status_code < 500:
                    return answer
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.3)
        raise TimeoutError(f"{method} {path} got no answer")

    async def until(self, path: str, holds: Any) -> Any:
        """The body of a GET once it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = await self.ask("GET", path)
            if answer.status_code == 200 and (found := holds(answer.json())):
                return found
            await asyncio.sleep(0.3)
        raise TimeoutError(f"{path} did not come to what was waited for: {answer.text[:300]}")


class Trio:
    """Three citizens and their order."""

    def __init__(self, fire: Fire, number: int) -> None:
        self.fire = fire
        self.number = number
        self.citizens: list[dict[str, Any]] = []
        self.order = ""
        self.taps: Counter[int] = Counter()

    async def prepare(self) -> None:
        """Three appeals, one order, its first completion."""
        fire = self.fire
        for n in range(3):
            body = {
                "channel": "web",
                "text": "金贸街道小区门口路灯坏了",
                "reporter": {"phone": f"139{self.number:05d}{n:03d}"},
            }
            self.citizens.append((await fire.ask("POST", "/v1/appeals", body)).json())
        first = self.citizens[0]["id"]
        await fire.until(f"/v1/appeals/{first}", lambda case: case["work_orders"])
        await fire.ask("POST", f"/v1/reviews/{first}", {"matter": "02010201", "class": "general"})
        for other in self.citizens[1:]:
            await fire.until(f"/v1/appeals/{other['id']}", lambda case: case["work_orders"])
            await fire.ask("POST", f"/v1/appeals/{other['id']}/link", {"to": first, "relation": "same_event"})
        self.order = await fire.until(
            f"/v1/appeals/{first}",
            lambda case: case["work_orders"][0]["status"] == "dispatched" and case["work_orders"][0]["id"],
        )
        await fire.until(f"/v1/work-orders/{self.order}", lambda order: len(order["appeal_ids"]) == 3)
        await fire.ask("POST", f"/v1/work-orders/{self.order}/accept", {})
        await self.complete()

    async def live(self) -> None:
        """From the first rating to the last."""
        fire = self.fire
        rating = [
            asyncio.create_task(self.rate(citizen, spread))
            for citizen, spread in zip(
                self.citizens, (0, 0, SPREAD_S) if self.number % 2 else [SPREAD_S] * 3, strict=True
            )
        ]
        while not all(task.done() for task in rating):
            if (await fire.ask("GET", f"/v1/work-orders/{self.order}")).json()["status"] == "reopened":
                await asyncio.sleep(fire.chance.uniform(0, 2))
                await self.complete()
            await asyncio.sleep(0.5)
        for task in rating:
            task.result()

    async def complete(self) -> None:
        await self.fire.ask("POST", f"/v1/work-orders/{self.order}/complete", {"result": "路灯已修复", "solved": True})

    async def rate(self, citizen: dict[str, Any], spread: float) -> None:
        """Badly by the first link, and by the second as he likes; each with two taps."""
        used: str | None = None
        for body in (BAD, self.fire.chance.choice((BAD, GOOD))):
            path = f"/v1/track?reference_no={citizen['reference_no']}&query_code={citizen['query_code']}"
            used = await self.fire.until(
                path, lambda told, used=used: told.get("rating_url") not in (None, used) and told["rating_url"]
            )
            await asyncio.sleep(spread * self.fire.chance.random())
            spread = SPREAD_S
            for tap in await asyncio.gather(*(self.fire.ask("POST", used, body) for _ in range(2))):
                self.taps[tap.status_code] += 1


async def faults_of(fire: Fire, trios: list[Trio]) -> list[str]:
    """What the feed says against the rules."""
    feed: list[dict[str, Any]] = []
    after = "0"
    while True:
        page = (await fire.ask("GET", f"/v1/events?after={after}&limit=1000")).json()
        feed += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in feed:
        of[event["subject"]].append(event)
    faults: list[str] = []
    for trio in trios:
        told = sorted(of[trio.order], key=lambda event: int(event["sequence"]))
        done = [_at(e) for e in told if e["type"] == "work_order.completed"]
        opened = [e for e in told if e["type"] == "work_order.reopened"]
        if [e["data"]["after"]["round"] for e in opened] != list(range(2, len(opened) + 2)):
            faults.append(f"{trio.order}: rounds {[e['data']['after']['round'] for e in opened]}")
        causes = Counter(e["data"]["appeal_id"] for e in opened)
        faults += [f"{trio.order}: {appeal} opened it {n} times" for appeal, n in causes.items() if n > 1]
        for event in opened:
            if not any(finished <= _at(event) for finished in done):
                faults.append(f"{trio.order}: reopened before it was completed")
        for citizen in trio.citizens:
            answers = [e for e in of[citizen["id"]] if e["type"] == "feedback.answered"]
            rounds = [e["data"]["answer"]["round"] for e in answers]
            if rounds != [1, 2]:
                faults.append(f"{citizen['id']}: answers of rounds {rounds}")
            if answers and not any(_at(answers[0]) <= finished for finished in done[1:]):
                faults.append(f"{citizen['id']}: nobody handled his first bad rating")
        levels = Counter(
            (e["data"]["round"], e["data"]["level"])
            for e in told
            if e["type"] == "clock.escalated" and e["data"]["clock"] == "rating"
        )
        wanted = {(number, 1) for number in range(2, len(opened) + 2)}
        if not wanted <= levels.keys() or max(levels.values(), default=1) > 1:
            faults.append(f"{trio.order}: supervisions {dict(levels)}, reopened {len(opened)} times")
        if sum(trio.taps.values()) != 12 or trio.taps[200] != 6:
            faults.append(f"{trio.order}: taps {dict(trio.taps)}")
    return faults


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


async def play(stack: Stack, number: int, seed: int) -> dict[str, Any]:
    """All trios at once under fire; then quiet, then the verdict."""
    fire = Fire(stack, seed)
    trios = [Trio(fire, n) for n in range(number)]
    await asyncio.gather(*(trio.prepare() for trio in trios))
    burning = asyncio.create_task(fire.burn())
    try:
        await asyncio.gather(*(trio.live() for trio in trios))
    finally:
        burning.cancel()
    await fire.until("/health/ready", lambda body: True)
    await fire.ask("POST", "/v1/clock", {"advance_s": 1})  # until all is applied
    faults = await faults_of(fire, trios)
    await fire.http.aclose()
    return {"orders": number, "citizens": 3 * number, "kills": dict(fire.kills), "faults": faults}


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    seed = int(given.get("seed", random.randrange(10_000)))
    print(f"seed {seed}", flush=True)
    with running("kafka", SUSHU_SIM_CLOCK="1") as stack:
        result = asyncio.run(play(stack, int(given.get("n", 20)), seed))
    for line in result["faults"]:
        print(line)
    tell(
        "unhappy",
        {"transport": "kafka", "seed": seed, **result, "faults": len(result["faults"])},
        held=not result["faults"],
    )
