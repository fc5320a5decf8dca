"""bench-start: `make run` on a prepared checkout → the first appeal dispatched, with a cold and a warm data folder.

    make bench-start [transport=kafka] [n=3] [history=1000000 folder=/tmp/seeded]

The command behind the target is started as a user would; an appeal is posted as soon as the hub says that it is
ready, and the time ends when the feed shows its order. Cold: an empty data folder, so that PostgreSQL is made,
schemas are migrated and the demo model is trained; warm: the same folder again. With `folder`, that one is
started and, for the growth, a warm new one. The last line is one JSON object.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.burst import OWNED
from tests.bench.growth import growth
from tests.bench.history import arguments_of, count, query, with_history
from tests.bench.journey import Journey
from tests.bench.stack import Stack, machine, running
from tools.seed.cost import load_average


def first_appeal(stack: Stack) -> None:
    """Post one and wait for its order. Raises `RuntimeError` when it has none after a minute."""
    after = str(asyncio.run(query(stack, "SELECT coalesce(max(position), 0) FROM journal.head")))
    journey = Journey(stack, after=after)
    # another citizen each time: what one says twice is joined to the first order
    [item] = load.appeals(1, seed=time.time_ns(), prefix="start")
    answer = journey.http.post("/v1/appeals", json=item)
    answer.raise_for_status()
    if journey.until([answer.json()["id"]], ["|".join(OWNED)], 60):
        raise RuntimeError("the first appeal has no order after a minute")


def one_start(transport: str, folder: Path) -> dict[str, object]:
    """Seconds until ready and until the first appeal's order, memory then."""
    began = time.monotonic()
    with running(transport, folder) as stack:
        ready = time.monotonic() - began
        first_appeal(stack)
        dispatched = time.monotonic() - began
        time.sleep(2)
        memory = stack.rss_mb()
        hub = sum(size for name, size in memory.items() if name not in ("postgres", "kafka", "gateway"))
        return {
            "ready_s": round(ready, 2),
            "dispatched_s": round(dispatched, 2),
            "rss_mb": memory,
            "rss_services_mb": round(hub, 1),
            "cpu_s": {name: round(spent / 1000, 1) for name, spent in stack.cpu_ms().items()},
        }


def main() -> None:
    transport, history, folder, rest = arguments_of(sys.argv[1:])
    times = int(rest.get("n", "2"))
    figures: dict[str, Any] = {}
    target = Path(tempfile.mkdtemp(prefix="sushu-start-"))
    try:
        figures["cold"] = one_start(transport, target)
        figures["warm"] = [one_start(transport, target) for _ in range(times if folder is None else 1)]
    finally:
        shutil.rmtree(target, ignore_errors=True)
        target.with_name(target.name + ".out").unlink(missing_ok=True)
    if folder is not None:
        with with_history(transport, history, folder) as stack:
            history = asyncio.run(count(stack))
        figures["given"] = [one_start(transport, folder) for _ in range(times)]
        quickest = [min(one["dispatched_s"] for one in figures[which]) for which in ("warm", "given")]
        figures["growth"] = growth("history", (1, history), "dispatched_s", (quickest[0], quickest[1]))
    print(
        json.dumps(
            {
                "bench": "start",
                **machine(),
                "transport": transport,
                "history": history,
                "load_average": load_average(),
                **figures,
            },
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
