"""bench-ingest: NDJSON batch → every appeal classified, dispatched (or owned, in review) and its clocks armed.

    make bench-ingest [transport=kafka] [n=3000]

A quarter of `n` goes before as a measurement of its own, for the growth. Everything is on this machine: stack,
PostgreSQL, Kafka and the load. The last line is one JSON object.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass

from tests.bench import ceiling, load
from tests.bench.growth import growth
from tests.bench.history import count
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, Stack, machine, running
from tools.seed.cost import load_average

CHUNK = 1000


async def post(port: int, items: list[dict[str, object]]) -> tuple[list[str], int]:
    client = load.Client(port, TOKEN, connections=2)
    ids: list[str] = []
    errors = 0
    for start in range(0, len(items), CHUNK):
        body = load.lines(items[start : start + CHUNK])
        status, answer = await client.request("POST", "/v1/appeals/batch", body, "application/x-ndjson")
        if status != 200:
            errors += CHUNK
            continue
        for line in answer.splitlines():
            result = json.loads(line)
            if result["status"] in (200, 201):
                ids.append(result["id"])
            else:
                errors += 1
    await client.close()
    return ids, errors


@dataclass(frozen=True)
class Fed:
    """One batch: appeals a second until the last one is finished, and until the last one is accepted."""

    per_s: float
    accepted_per_s: float
    errors: int
    missing: int


def feed(stack: Stack, journey: Journey, items: list[dict[str, object]]) -> Fed:
    """Send them and wait until all have their label, their order and their clocks."""
    start = time.perf_counter()
    ids, errors = asyncio.run(post(stack.port, items))
    taken = time.perf_counter() - start
    missing = journey.until(ids, ["label.classified", "work_order.dispatched|work_order.opened", "clock.started"], 300)
    whole = time.perf_counter() - start
    return Fed(len(items) / whole, len(ids) / taken, errors, len(missing))


def measure(transport: str, wanted: int) -> dict[str, object]:
    few = max(1, wanted // 4)
    run = time.time_ns()  # other citizens in each run: what one says twice is joined to the first order
    with running(transport) as stack:
        journey = Journey(stack)
        feed(stack, journey, load.appeals(200, seed=run, prefix="warm"))
        small = feed(stack, journey, load.appeals(few, seed=run + 1, prefix="few"))
        before = asyncio.run(count(stack))
        cpu = stack.cpu_ms()
        fed = feed(stack, journey, load.appeals(wanted, seed=run + 2))
        used = {name: round((after - cpu.get(name, 0.0)) / wanted, 2) for name, after in stack.cpu_ms().items()}
        rss = stack.rss_mb()
        bare = ceiling.measure(stack, wanted, wanted + few + 200)
    return {
        "bench": "ingest",
        **machine(),
        "transport": transport,
        "load_average": load_average(),
        "history": before,
        "appeals": wanted,
        "appeals_per_s": round(fed.per_s, 1),
        "ceiling_per_s": round(bare, 1),
        "of_ceiling": round(fed.per_s / bare, 2),
        "accepted_per_s": round(fed.accepted_per_s, 1),
        "errors": fed.errors,
        "not_finished": fed.missing,
        "growth": growth("appeals", (few, wanted), "appeals_per_s", (small.per_s, fed.per_s)),
        "cpu_ms_per_appeal": used,
        "rss_mb": rss,
    }


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    found = measure(arguments.get("transport", "embedded"), int(arguments.get("n", "3000")))
    print(json.dumps(found, ensure_ascii=False))
