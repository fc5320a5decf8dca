"""python -m tests.simulation [schedules=N] [seed=N] [processes=N] [trace=1] [mutation=SENTENCE|all]

Plays schedules and says which break a rule. The last line is one JSON object; the exit code is 1 when a rule was
broken. A failing seed is played again, and told step by step, with `seed=N schedules=1 trace=1`. `mutation=all` tells
for each mutation of the runtime which schedule was the first to notice, and by which rules of the judge.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from shared.testing import postgres
from tests.simulation.judge import rules
from tests.simulation.mutations import MUTATIONS, applied
from tests.simulation.simulator import Played, simulator

Result = tuple[int, int, int, list[str]]
"""seed, steps, deadlocks, breaches"""


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
    with (
        tempfile.TemporaryDirectory(prefix="sushu-simulation-") as folder,
        postgres.server(Path(folder) / "data") as url,
    ):
        began = time.monotonic()
        shown = began
        for seed, length, circles, breaches in _results(url, first, count, processes, trace, mutation):
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
    with (
        tempfile.TemporaryDirectory(prefix="sushu-simulation-") as folder,
        postgres.server(Path(folder) / "data") as url,
        simulator(url) as simulating,
    ):
        for sentence in MUTATIONS:
            with applied(sentence, simulating.server):
                found = next((p for seed in seeds if (p := simulating.play(seed)).breaches), None)
            missed += found is None
            words = "NOT NOTICED | " if found is None else f"{found.seed} | {', '.join(rules(found.breaches))}"
            print(f"| {sentence} | {words} |", flush=True)
    return 1 if missed else 0


def _results(url: str, first: int, count: int, processes: int, trace: bool, mutation: str) -> Iterator[Result]:
    if processes == 1:
        yield from _play(url, range(first, first + count), trace, mutation)
        return
    spawn = multiprocessing.get_context("spawn")  # a forked child would share this one's connections
    results: multiprocessing.Queue[Result | None] = spawn.Queue()
    players = [
        spawn.Process(target=_player, args=(url, range(first + n, first + count, processes), mutation, results))
        for n in range(processes)
    ]
    for player in players:
        player.start()
    playing = len(players)
    while playing:
        result = results.get()
        if result is None:
            playing -= 1
        else:
            yield result
    for player in players:
        player.join()
        if player.exitcode:
            raise RuntimeError(f"a player ended with {player.exitcode}")


def _player(url: str, seeds: Sequence[int], mutation: str, results: "multiprocessing.Queue[Result | None]") -> None:
    try:
        for result in _play(url, seeds, False, mutation):
            results.put(result)
    finally:
        results.put(None)


def _play(url: str, seeds: Sequence[int], trace: bool, mutation: str) -> Iterator[Result]:
    with simulator(url) as simulating, applied(mutation, simulating.server) if mutation else nullcontext():
        for seed in seeds:
            played = simulating.play(seed, listen=trace)
            if trace:
                print(played.story())
            yield _result(played)


def _result(played: Played) -> Result:
    words = [f"{breach.rule}: {breach.what}" for breach in played.breaches]
    return played.seed, len(played.trace), played.deadlocks, words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
