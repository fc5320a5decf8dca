"""Plays seeds, alone or in several processes, each with a database of its own."""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from tests.simulation.mutations import applied
from tests.simulation.simulator import Played, simulator

Result = tuple[int, int, int, list[str]]
"""seed, steps, deadlocks, breaches"""


def results(url: str, first: int, count: int, processes: int, trace: bool, mutation: str) -> Iterator[Result]:
    """Play seeds, in so many processes beside each other."""
    if processes == 1:
        yield from _play(url, range(first, first + count), trace, mutation)
        return
    spawn = multiprocessing.get_context("spawn")  # a forked child would share this one's connections
    told: multiprocessing.Queue[Result | None] = spawn.Queue()
    players = [
        spawn.Process(
            target=_player, args=(n, url, range(first + n, first + count, processes), mutation, told), daemon=True
        )
        for n in range(processes)
    ]
    for player in players:
        player.start()
    playing = len(players)
    while playing:
        result = told.get()
        if result is None:
            playing -= 1
        else:
            yield result
    for player in players:
        player.join()
        if player.exitcode:
            raise RuntimeError(f"a player ended with {player.exitcode}")


def _player(
    number: int, url: str, seeds: Sequence[int], mutation: str, told: "multiprocessing.Queue[Result | None]"
) -> None:
    with contextlib.suppress(AttributeError):  # Linux alone lets a process choose its core
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        for result in _play(url, seeds, False, mutation):
            told.put(result)
    finally:
        told.put(None)


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
