"""bench-latency: planned send of a POST → the moment `work_order.dispatched` (or `opened`, in review) is written.

    make bench-latency [transport=kafka] [seconds=30] [history=1000000 folder=/tmp/seeded]

Open model: appeals are sent at their planned instant, whatever the answers do; at 20/s and at 100/s. The moment of the
event is the millisecond in its UUIDv7, taken in the transaction that commits it. The last line is one JSON object.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from tests.bench import load
from tests.bench.growth import growth
from tests.bench.history import arguments_of, count, query, with_history
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, machine
from tools.seed.cost import load_average

RATES = (20, 100)


async def send(port: int, rate: float, seconds: int, seed: int) -> list[load.Result]:
    client = load.Client(port, TOKEN, connections=32)
    bodies = [orjson.dumps(item) for item in load.appeals(int(rate * seconds), seed=seed, prefix=f"rate{rate}")]
    results = await load.at_rate(client, "/v1/appeals", bodies, rate)
    await client.close()
    return results


def measure(transport: str, seconds: int, history: int = 0, folder: Path | None = None) -> dict[str, object]:
    figures: dict[str, Any] = {}
    run = time.time_ns()  # other citizens in each run: what one says twice is joined to the first order
    with with_history(transport, history, folder) as stack:
        asyncio.run(send(stack.port, 20, 5, run))
        cases = asyncio.run(count(stack))
        head = asyncio.run(query(stack, "SELECT coalesce(max(position), 0) FROM journal.head"))
        journey = Journey(stack, after=str(head))
        for number, rate in enumerate(RATES, 1):
            cpu = stack.cpu_ms()
            results = asyncio.run(send(stack.port, rate, seconds, run + number))
            planned = {json.loads(one.body)["id"]: one.planned for one in results if one.status == 201}
            missing = journey.until(planned, ["work_order.dispatched|work_order.opened"], 60)
            owned = []
            for appeal, instant in planned.items():
                times = journey.of_appeal.get(appeal, {})
                moments = [times[kind] for kind in ("work_order.dispatched", "work_order.opened") if kind in times]
                if moments:
                    owned.append((min(moments) - instant) * 1000)
            create = [(one.done - one.planned) * 1000 for one in results if one.status == 201]
            figures[f"{rate}/s"] = {
                "sent": len(results),
                "errors": sum(one.status != 201 for one in results),
                "not_dispatched": len(missing),
                "create_ms": {"p50": round(load.percentile(create, 0.5)), "p99": round(load.percentile(create, 0.99))},
                "dispatched_ms": {
                    "p50": round(load.percentile(owned, 0.5)),
                    "p95": round(load.percentile(owned, 0.95)),
                    "p99": round(load.percentile(owned, 0.99)),
                },
                "cpu_ms_per_appeal": {
                    name: round((after - cpu.get(name, 0.0)) / len(results), 2)
                    for name, after in stack.cpu_ms().items()
                },
            }
        rss = stack.rss_mb()
    first, last = (figures[f"{rate}/s"]["dispatched_ms"]["p50"] for rate in (RATES[0], RATES[-1]))
    return {
        "bench": "latency",
        **machine(),
        "transport": transport,
        "load_average": load_average(),
        "history": cases,
        "seconds": seconds,
        "rates": figures,
        "growth": growth("appeals_per_s", (RATES[0], RATES[-1]), "dispatched_p50_ms", (first, last)),
        "rss_mb": rss,
    }


if __name__ == "__main__":
    chosen, wanted, kept, rest = arguments_of(sys.argv[1:])
    print(json.dumps(measure(chosen, int(rest.get("seconds", "30")), wanted, kept), ensure_ascii=False))
