"""bench-loop: whole lives of appeals through HTTP, as people and units lead them.

    make bench-loop [transport=kafka] [n=3000] [rate=100] [users=64] [warm=3000] [history=1000000 folder=/tmp/seeded]
                    [seconds=4] [pairs=5]

One life is create, read until it is dispatched, accept, contact, complete, fetch the rating link, rate, read back:
eight requests when nothing has to be waited for (quality.md counts seven; the link must be fetched before one rates).
Two parts: `capacity`, where `users` people live one life after the other, and `open`, where lives begin at `rate` per
second whatever the answers do. `warm` lives come first and are not counted (as many as are measured): a hub is seldom
measured in its first seconds, and pages of a large history are read from the disk once. Reads that come too early are
repeated and counted. `seconds` sets `n` to so many seconds of `rate`. With a history the capacity part runs on an empty
hub too, before (`empty=no`: not), for the growth. `pairs`: both hubs are alive, and the capacity part runs on one and
the other in turn, so many times, while the other one rests: for machines whose own speed changes within minutes.
The last line is one JSON object.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from shared.service.process import run_async
from tests.bench import load
from tests.bench.growth import growth
from tests.bench.history import arguments_of, count, with_history
from tests.bench.stack import TOKEN, Stack, machine, running
from tools.seed.cost import load_average

LOOK_AGAIN_S = 0.1
GIVE_UP_S = 20.0


class Failed(Exception):
    """A request of a life was not answered as it should be."""


@dataclass
class Lives:
    """What happened: seconds per whole life, per step, and what went wrong."""

    client: load.Client
    seconds: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)
    requests: int = 0
    again: int = 0
    to_review: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    async def live(self, body: bytes, planned: float) -> None:
        """One life from `planned` (seconds of `time.time()`) on."""
        try:
            appeal = await self._ask("create", "POST", "/v1/appeals", body, 201)
            case = await self._until("dispatched", f"/v1/appeals/{appeal['id']}", _is_settled)
            if case["status"] == "in_review":  # a person has to look at it first: not this bench's matter
                self.to_review += 1
                return
            order = case["work_orders"][0]["id"]
            await self._ask("accept", "POST", f"/v1/work-orders/{order}/accept", b"{}", 200)
            await self._ask("contact", "POST", f"/v1/work-orders/{order}/contact", b"{}", 200)
            done = b'{"result": "\xe5\xb7\xb2\xe4\xbf\xae\xe5\xa4\x8d", "solved": true}'
            await self._ask("complete", "POST", f"/v1/work-orders/{order}/complete", done, 200)
            track = f"/v1/track?reference_no={appeal['reference_no']}&query_code={appeal['query_code']}"
            link = (await self._until("rateable", track, lambda seen: bool(seen.get("rating_url"))))["rating_url"]
            token = link.rstrip("/").rsplit("/", 1)[1]
            answer = b'{"contacted": true, "solved": true, "satisfaction": 5}'
            await self._ask("rate", "POST", f"/v1/ratings/{token}", answer, 200)
            await self._until("answered", f"/v1/appeals/{appeal['id']}", lambda case: case["status"] == "answered")
            self.seconds.append(time.time() - planned)
        except Failed as failure:
            self.errors[str(failure)] = self.errors.get(str(failure), 0) + 1

    async def _ask(self, step: str, method: str, path: str, body: bytes, expected: int) -> dict[str, Any]:
        start = time.time()
        status, answer = await self.client.request(method, path, body)
        self.requests += 1
        self.steps.setdefault(step, []).append(time.time() - start)
        if status != expected:
            code = orjson.loads(answer).get("code") if answer[:1] == b"{" else ""
            raise Failed(f"{step} {status} {code}".strip())
        found: dict[str, Any] = orjson.loads(answer)
        return found

    async def _until(self, step: str, path: str, good: Any) -> dict[str, Any]:
        start = time.time()
        while True:
            seen = await self._ask(step, "GET", path, b"", 200)
            if good(seen):
                return seen
            if time.time() > start + GIVE_UP_S:
                raise Failed(f"{step} not within {GIVE_UP_S:.0f} s, status {seen.get('status')}")
            self.again += 1
            await asyncio.sleep(LOOK_AGAIN_S)

    def told(self, wall: float) -> dict[str, object]:
        """The figures of `wall` seconds."""
        return {
            "lives": len(self.seconds),
            "lives_per_s": round(len(self.seconds) / wall, 1),
            "requests_per_s": round(self.requests / wall, 1),
            "read_again": self.again,
            "to_review": self.to_review,
            "errors": self.errors,
            "life_ms": _quantiles(self.seconds),
            "step_ms": {step: _quantiles(taken) for step, taken in self.steps.items()},
        }


def _is_settled(case: dict[str, Any]) -> bool:
    orders = case["work_orders"]
    return case["status"] == "in_review" or (bool(orders) and orders[0]["status"] == "dispatched")


def _quantiles(seconds: list[float]) -> dict[str, int]:
    return {
        name: round(load.percentile(seconds, share) * 1000)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def bodies_of(count: int, seed: int) -> list[bytes]:
    """Appeals of citizens who rate by link."""
    items = load.appeals(count, seed=seed, prefix="loop")
    return [orjson.dumps(item | {"channel": "web"}) for item in items]


async def capacity(port: int, bodies: list[bytes], users: int) -> dict[str, object]:
    """`users` people at once, each begins a new life when the last one is over."""
    client = load.Client(port, TOKEN, connections=users)
    lives = Lives(client)
    waiting = list(reversed(bodies))

    async def user() -> None:
        while waiting:
            await lives.live(waiting.pop(), time.time())

    start = time.time()
    await asyncio.gather(*(user() for _ in range(users)))
    wall = time.time() - start
    await client.close()
    return lives.told(wall)


async def at_rate(port: int, bodies: list[bytes], rate: float, connections: int = 128) -> dict[str, object]:
    """Lives that begin at their planned instants."""
    client = load.Client(port, TOKEN, connections=connections)
    lives = Lives(client)
    start = time.time() + 0.2
    tasks = []
    for number, body in enumerate(bodies):
        planned = start + number / rate
        await asyncio.sleep(max(0.0, planned - time.time()))
        tasks.append(asyncio.create_task(lives.live(body, planned)))
    await asyncio.gather(*tasks)
    wall = time.time() - start
    await client.close()
    return lives.told(wall)


def measure(stack: Stack, lives: int, rate: float, users: int, warm: int) -> dict[str, Any]:
    """Both parts on a running stack; CPU of the capacity part. Without a `rate` the capacity part alone."""
    run = time.time_ns()  # other citizens in each run: what one says twice is joined to the first order
    run_async(capacity(stack.port, bodies_of(warm, seed=run), users))
    history = asyncio.run(count(stack))
    cpu = stack.cpu_ms()
    found: dict[str, Any] = {"history": history, "rate": rate, "warm": warm}

    async def part(name: str, work: Any) -> None:
        found[name] = await work

    run_async(part("capacity", capacity(stack.port, bodies_of(lives, seed=run + 1), users)))
    used = {name: round((after - cpu.get(name, 0.0)) / lives, 2) for name, after in stack.cpu_ms().items()}
    if rate:
        run_async(part("open", at_rate(stack.port, bodies_of(lives, seed=run + 2), rate)))
    return found | {"cpu_ms_per_life": used, "rss_mb": stack.rss_mb()}


def in_pairs(transport: str, history: int, folder: Path | None, lives: int, users: int, warm: int, pairs: int) -> Any:
    """Lives per second of an empty hub and of one with a history, measured in turn, and their ratio."""
    rates: list[tuple[float, float]] = []
    with running(transport) as empty, with_history(transport, history, folder) as full:
        for stack in (empty, full):
            run_async(capacity(stack.port, bodies_of(warm, seed=time.time_ns()), users))
        cases = asyncio.run(count(full))
        for _ in range(pairs):
            with full.resting():
                alone = _rate(empty, lives, users)
            with empty.resting():
                rates.append((alone, _rate(full, lives, users)))
    of_empty, of_full = (pairs / sum(1 / rate for rate in side) for side in zip(*rates, strict=True))
    each = [{"empty": one, "history": other, "ratio": round(other / one, 2)} for one, other in rates]
    return {"history": cases, "warm": warm, "lives": lives, "pairs": each, "ratio": round(of_full / of_empty, 3)}


def _rate(stack: Stack, lives: int, users: int) -> float:
    found: dict[str, Any] = {}

    async def part() -> None:
        found.update(await capacity(stack.port, bodies_of(lives, seed=time.time_ns()), users))

    run_async(part())
    if found["errors"]:
        raise SystemExit(f"not a figure: {found['errors']}")
    return float(found["lives_per_s"])


def main(argv: list[str]) -> dict[str, object]:
    transport, history, folder, rest = arguments_of(argv)
    rate, users = float(rest.get("rate", "100")), int(rest.get("users", "64"))
    lives = int(rest.get("n", float(rest["seconds"]) * rate if "seconds" in rest else 3000))
    warm = int(rest.get("warm", lives))
    if pairs := int(rest.get("pairs", "0")):
        figures = in_pairs(transport, history, folder, lives, users, warm, pairs)
        return {"bench": "loop", **machine(), "transport": transport, "load_average": load_average(), **figures}
    empty: dict[str, Any] | None = None
    if history and rest.get("empty") != "no":
        with running(transport) as stack:
            empty = measure(stack, lives, 0, users, warm)
    with with_history(transport, history, folder) as stack:
        figures = measure(stack, lives, rate, users, warm)
    if empty is not None:
        rates = (empty["capacity"]["lives_per_s"], figures["capacity"]["lives_per_s"])
        figures["growth"] = growth("history", (empty["history"], figures["history"]), "lives_per_s", rates)
        figures["empty"] = empty
    return {"bench": "loop", **machine(), "transport": transport, "load_average": load_average(), **figures}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), ensure_ascii=False))
