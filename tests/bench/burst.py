"""bench-burst: creations in spikes, planned per second, at a large history (the shape of DIGIT CCRS times five).

    make bench-burst [transport=kafka] [history=1000000 folder=/tmp/seeded] [seconds=60]

5, 75, 5, 125, 10, 175 and 50 creations a second, `seconds` each, through the gateway. Open model: a request is sent
at its planned instant whatever earlier ones do, and its latency counts from there. The backlog is gone when every
appeal has its order (dispatched, or opened in review), judged by the event feed. The last line is one JSON object.
"""

import asyncio
import json
import sys
import time

import orjson

from tests.bench import load
from tests.bench.growth import growth
from tests.bench.history import arguments_of, count, query, with_history
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, Stack, machine
from tools.seed.cost import load_average

SHAPE = (5, 75, 5, 125, 10, 175, 50)
GROWTH = (75, 175)
"""the spikes that are compared"""
CONNECTIONS = 64
PATIENCE_S = 120.0
OWNED = ("work_order.dispatched", "work_order.opened", "work_order.appeal_joined")


async def send(port: int, seconds: int) -> list[tuple[int, list[load.Result]]]:
    """Each step's rate and its results; the next step begins at its planned instant, whatever is still unanswered."""
    client = load.Client(port, TOKEN, connections=CONNECTIONS)
    run = time.time_ns()  # other citizens in each run: what one says twice is joined to the first order
    steps: list[tuple[int, asyncio.Task[list[load.Result]]]] = []
    prepared = [
        [orjson.dumps(item) for item in load.appeals(rate * seconds, seed=run + step, prefix="burst")]
        for step, rate in enumerate(SHAPE)
    ]
    start = time.time() + 0.5
    for step, (rate, bodies) in enumerate(zip(SHAPE, prepared, strict=True)):
        await asyncio.sleep(max(0.0, start + step * seconds - 0.2 - time.time()))
        steps.append((rate, asyncio.create_task(load.at_rate(client, "/v1/appeals", bodies, rate))))
    results = [(rate, await task) for rate, task in steps]
    await client.close()
    return results


def measure(stack: Stack, seconds: int) -> dict[str, object]:
    """Run the shape once."""
    asyncio.run(_warm_up(stack.port))
    journey = Journey(
        stack, after=str(asyncio.run(query(stack, "SELECT coalesce(max(position), 0) FROM journal.head")))
    )
    history = asyncio.run(count(stack))
    cpu = stack.cpu_ms()
    steps = asyncio.run(send(stack.port, seconds))
    last = max(one.planned for _, results in steps for one in results)
    created = [json.loads(one.body)["id"] for _, results in steps for one in results if one.status == 201]
    missing = journey.until(created, ["|".join(OWNED)], PATIENCE_S)
    owned = [
        min(moments)
        for appeal in created
        if (moments := [at for kind, at in journey.of_appeal.get(appeal, {}).items() if kind in OWNED])
    ]
    every = [(one.done - one.planned) * 1000 for _, results in steps for one in results]
    used = {name: after - cpu.get(name, 0.0) for name, after in stack.cpu_ms().items()}
    return {
        "history": history,
        "seconds": seconds,
        "rate": SHAPE,
        "sent": len(every),
        "errors": sum(one.status != 201 for _, results in steps for one in results),
        "statuses": sorted({one.status for _, results in steps for one in results}),
        "create_ms": _percentiles(every),
        "steps": [
            {"rate": rate, "create_ms": _percentiles([(one.done - one.planned) * 1000 for one in results])}
            for rate, results in steps
        ],
        "growth": growth("creations_per_s", GROWTH, "p95_ms", (_p95(steps, GROWTH[0]), _p95(steps, GROWTH[1]))),
        "backlog_gone_s": round(max(owned, default=last) - last, 1) if not missing else None,
        "not_dispatched": len(missing),
        "cpu_ms_per_appeal": {name: round(spent / max(1, len(created)), 2) for name, spent in used.items()},
        "rss_mb": stack.rss_mb(),
    }


async def _warm_up(port: int) -> None:
    client = load.Client(port, TOKEN, connections=8)
    bodies = [orjson.dumps(item) for item in load.appeals(60, seed=time.time_ns(), prefix="warm")]
    await load.at_rate(client, "/v1/appeals", bodies, 20)
    await client.close()


def _p95(steps: list[tuple[int, list[load.Result]]], wanted: int) -> float:
    return load.percentile(
        [(one.done - one.planned) * 1000 for rate, step in steps if rate == wanted for one in step], 0.95
    )


def _percentiles(values: list[float]) -> dict[str, int]:
    return {name: round(load.percentile(values, share)) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def main() -> None:
    transport, history, folder, rest = arguments_of(sys.argv[1:])
    with with_history(transport, history, folder) as stack:
        figures = measure(stack, int(rest.get("seconds", "60")))
    print(
        json.dumps(
            {"bench": "burst", **machine(), "transport": transport, "load_average": load_average(), **figures},
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
