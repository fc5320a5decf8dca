"""python -m tests.simulation [schedules=N] [seed=N] [processes=N] [trace=1] [mutation=SENTENCE|all]

Plays schedules and says which break a rule. The last line is one JSON object; the exit code is 1 when a rule was
broken. A failing seed is played again, and told step by step, with `seed=N schedules=1 trace=1`. `mutation=all` tells
for each mutation of the runtime which schedule was the first to notice, and by which rules of the judge.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from shared.testing import postgres
from tests.simulation.judge import rules
from tests.simulation.mutations import MUTATIONS, applied
from tests.simulation.players import results
from tests.simulation.simulator import simulator

CARELESS = ("fsync = off", "full_page_writes = off", "autovacuum = off", "max_wal_size = '512MB'")
"""for a server whose data nobody wants; what a crash of the server itself loses is no matter of the simulation"""
MEMORY = Path("/dev/shm")


@contextmanager
def _server() -> Iterator[str]:
    """URL of a server of our own, in memory where there is a place for it, or of the one that the environment names."""
    given = os.environ.get("SUSHU_TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    place = MEMORY if not given and os.access(MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="sushu-simulation-", dir=place) as folder,
        postgres.server(Path(folder) / "data") as url,
    ):
        if not given:
            asyncio.run(_careless(url))
        yield url


async def _careless(url: str) -> None:
    connection = await asyncpg.connect(url)
    for setting in CARELESS:
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


def main(arguments: Sequence[str]) -> int:
    """Play what the arguments ask for."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    unknown = [argument for argument in arguments if "=" not in argument]
    count, first = int(given.pop("schedules", "1000")), int(given.pop("seed", "1"))
    processes, trace = int(given.pop("processes", "1")), given.pop("trace", "") == "1"
    mutation = given.pop("mutation", "")
    if unknown or given or mutation not in ("", "all", *MUTATIONS):
        print(f"{__doc__}\nSentences of `mutation`:\n  " + "\n  ".join(MUTATIONS), file=sys.stderr)
        return 2
    if mutation == "all":
        return _mutants(range(first, first + count))
    failures: dict[int, list[str]] = {}
    done = steps = deadlocks = 0
    with _server() as url:
        began = time.monotonic()
        shown = began
        for seed, length, circles, breaches in results(url, first, count, processes, trace, mutation):
            done, steps, deadlocks = done + 1, steps + length, deadlocks + circles
            if breaches:
                failures[seed] = breaches
                print(f"seed {seed}: {'; '.join(breaches[:3])}")
                print(f"    replay: python -m tests.simulation seed={seed} schedules=1 trace=1", flush=True)
            if time.monotonic() > shown + 60:
                shown = time.monotonic()
                print(f"{done} schedules, {done / (shown - began):.1f}/s, {len(failures)} failed", flush=True)
        seconds = time.monotonic() - began
    print(
        json.dumps(
            {
                "schedules": done,
                "seeds": [first, first + count - 1],
                "failed": sorted(failures),
                "seconds": round(seconds, 1),
                "schedules_per_second": round(done / seconds, 1),
                "processes": processes,
                "steps_per_schedule": round(steps / max(1, done)),
                "deadlocks": deadlocks,
            }
        )
    )
    return 1 if failures else 0


def _mutants(seeds: Sequence[int]) -> int:
    missed = 0
    with _server() as url, simulator(url) as simulating:
        for sentence in MUTATIONS:
            with applied(sentence, simulating.server):
                found = next((p for seed in seeds if (p := simulating.play(seed)).breaches), None)
            missed += found is None
            words = "NOT NOTICED | " if found is None else f"{found.seed} | {', '.join(rules(found.breaches))}"
            print(f"| {sentence} | {words} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its server and its players end with it
    sys.exit(main(sys.argv[1:]))
