"""bench-ingest: NDJSON batch → every appeal classified, dispatched (or owned, in review) and its clocks armed.

    make bench-ingest [transport=kafka] [n=3000]

Everything is on this machine: stack, PostgreSQL, Kafka and the load. The last line is one JSON object.
"""

import asyncio
import json
import sys
import time

from tests.bench import ceiling, load
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, machine, running

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


def measure(transport: str, count: int) -> dict[str, object]:
    with running(transport) as stack:
        warm, _ = asyncio.run(post(stack.port, load.appeals(200, seed=99, prefix="warm")))
        journey = Journey(stack)
        journey.until(warm, ["label.classified", "clock.started"], 60)
        cpu = stack.cpu_ms()
        start = time.perf_counter()
        ids, errors = asyncio.run(post(stack.port, load.appeals(count)))
        taken = time.perf_counter() - start
        missing = journey.until(
            ids, ["label.classified", "work_order.dispatched|work_order.opened", "clock.started"], 300
        )
        whole = time.perf_counter() - start
        used = {name: round((after - cpu.get(name, 0.0)) / count, 2) for name, after in stack.cpu_ms().items()}
        rss = stack.rss_mb()
        bare = ceiling.measure(stack, count, count + len(warm))
    return {
        "bench": "ingest",
        **machine(),
        "transport": transport,
        "history": len(warm),
        "appeals": count,
        "appeals_per_s": round(count / whole, 1),
        "ceiling_per_s": round(bare, 1),
        "of_ceiling": round(count / whole / bare, 2),
        "accepted_per_s": round(len(ids) / taken, 1),
        "errors": errors,
        "not_finished": len(missing),
        "cpu_ms_per_appeal": used,
        "rss_mb": rss,
    }


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    found = measure(arguments.get("transport", "embedded"), int(arguments.get("n", "3000")))
    print(json.dumps(found, ensure_ascii=False))
