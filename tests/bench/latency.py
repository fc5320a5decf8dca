"""bench-latency: planned send of a POST → the moment `work_order.dispatched` (or `opened`, in review) is written.

    make bench-latency [transport=kafka] [seconds=30]

Open model: appeals are sent at their planned instant, whatever the answers do; at 20/s and at 100/s. The moment of the
event is the millisecond in its UUIDv7, taken in the transaction that commits it. The last line is one JSON object.
"""

import asyncio
import json
import sys

import orjson

from tests.bench import load
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, machine, running

RATES = (20, 100)


async def send(port: int, rate: float, seconds: int, seed: int) -> list[load.Result]:
    client = load.Client(port, TOKEN, connections=32)
    bodies = [orjson.dumps(item) for item in load.appeals(int(rate * seconds), seed=seed, prefix=f"rate{rate}")]
    results = await load.at_rate(client, "/v1/appeals", bodies, rate)
    await client.close()
    return results


def measure(transport: str, seconds: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    with running(transport) as stack:
        asyncio.run(send(stack.port, 20, 5, 98))
        journey = Journey(stack)
        for number, rate in enumerate(RATES):
            cpu = stack.cpu_ms()
            results = asyncio.run(send(stack.port, rate, seconds, number))
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
    return {"bench": "latency", **machine(), "transport": transport, "seconds": seconds, "rates": figures}


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    found = measure(arguments.get("transport", "embedded"), int(arguments.get("seconds", "30")))
    print(json.dumps(found, ensure_ascii=False))
