"""Plays a year on a stack of its own, or on several, and compares what came of it with the calculation."""

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from shared.clock import rfc3339
from shared.service.process import run_async
from tests.bench.load import Client
from tests.bench.stack import TOKEN, Stack, running
from tests.rehearsal.comparison import compare
from tests.rehearsal.year import Share, Year

CONNECTIONS = 32
STORIES = 5
"""differences of which the whole course of their order is told"""
BEFORE = timedelta(minutes=10)
"""the stack starts so long before the first case"""
SAME = ("days", "start", "seed")
"""figures that are the same on all stacks"""
LONGEST = ("play_s", "compare_s")
"""figures of which the whole has the largest"""


def say(words: str) -> None:
    """Tells the terminal at once."""
    print(words, flush=True)


def side_by_side(cases: int, days: int, start: datetime, seed: int, stacks: int) -> dict[str, Any]:
    """One year on so many stacks at once, each in a process and on a core of its own; their figures as one."""
    if stacks == 1:
        return rehearse(cases, days, start, seed, tell=say)
    began = time.monotonic()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # each ends its own year by it
    with multiprocessing.get_context("spawn").Pool(stacks) as pool:
        shares = [(cases, days, start, seed, (number, stacks), say) for number in range(stacks)]
        figures = pool.starmap(_on_its_core, shares, chunksize=1)
    return _as_one(figures) | {"seconds": round(time.monotonic() - began, 1)}


def _on_its_core(
    cases: int, days: int, start: datetime, seed: int, share: Share, tell: Callable[[str], None]
) -> dict[str, Any]:
    """`rehearse`, with its servers, on one core: to wake a server on another costs more than to wait for its turn."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[share[0] % len(cores)]})
    return rehearse(cases, days, start, seed, share, tell)


def _as_one(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first, *others = figures
    whole = dict(first)
    for one in others:
        for name, value in one.items():
            if name in LONGEST:
                whole[name] = max(whole[name], value)
            elif isinstance(value, dict):
                whole[name] = {
                    key: round(whole[name].get(key, 0) + value.get(key, 0), 1) for key in whole[name] | value
                }
            elif name not in SAME:
                whole[name] = whole[name] + value
    return whole


def rehearse(
    cases: int,
    days: int,
    start: datetime,
    seed: int = 1,
    share: Share = (0, 1),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Play and compare on a fresh stack; the figures, `differences` in words among them."""
    found: dict[str, Any] = {}

    async def play(stack: Stack) -> None:
        await _no_waiting_for_the_disk(stack.facts["database_url"])
        client = Client(stack.port, TOKEN, connections=CONNECTIONS)
        year = Year(client, start, days * 24, cases, seed, share)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, setattr, year, "enough", True)
        began = time.monotonic()
        end = await year.play(tell)
        played = time.monotonic() - began
        verdict = compare(year.ledger, await year.supervisions(), end)
        await client.close()
        found.update(
            n=year.played,
            days=round((end - start) / timedelta(days=1), 1),
            start=start.date().isoformat(),
            seed=seed,
            orders=verdict.orders,
            events=year.ledger.events,
            calls=dict(year.calls),
            turns=year.turns,
            timers=year.fired,
            clocks=verdict.clocks,
            deadlines_moved=verdict.deadlines_moved,
            lamps=verdict.lamps,
            escalations=verdict.escalations,
            by_clock=dict(verdict.by_clock),
            by_level=dict(verdict.by_level),
            taken_back=verdict.corrections,
            notices=verdict.notices,
            climbed=verdict.climbed,
            play_s=round(played, 1),
            compare_s=round(time.monotonic() - began - played, 1),
            spent_s={what: round(seconds, 1) for what, seconds in year.seconds.items()},
            differences=[*_unproven(year), *verdict.differences],
        )
        for difference in verdict.differences[:STORIES]:
            for line in _story(year, difference):
                tell(line)

    began = time.monotonic()
    with running("embedded", SUSHU_SIM_CLOCK="1", SUSHU_SIM_START=rfc3339(start - BEFORE)) as stack:
        run_async(play(stack))
        found["cpu_s"] = {name: round(used / 1000) for name, used in stack.cpu_ms().items()}
    return found | {"seconds": round(time.monotonic() - began, 1)}


async def _no_waiting_for_the_disk(database_url: str) -> None:
    """The year's database is thrown away at its end; what a lost power leaves of it is judged by `make test-chaos`."""
    connection: Any = await asyncpg.connect(database_url)
    try:
        await connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


def _story(year: Year, difference: str) -> Iterator[str]:
    """All that was read of the order that a difference begins with, in its order of time."""
    order = year.ledger.orders.get(difference.partition(":")[0])
    if order is not None:
        yield f"--- {difference}"
        for entry in sorted((*order.orders, *order.feedback, *order.said), key=lambda entry: entry.at):
            yield f"{entry.at.isoformat()} {entry.type} {json.dumps(entry.data, ensure_ascii=False, default=str)}"
        yield f"clocks at the end: {json.dumps(order.clocks, ensure_ascii=False, default=str)}"


def _unproven(year: Year) -> list[str]:
    """What people did and the events that must tell of it, at the same instants: nothing lost, nothing invented."""
    did = Counter(year.acts)
    types = {kind for kind, _ in did}
    told = Counter(
        (entry.type, entry.at)
        for order in year.ledger.orders.values()
        for entry in (*order.orders, *order.feedback)
        if entry.type in types
    )
    missing = did - told
    return [f"{kind} at {at}: done {did[kind, at]} times, told {told[kind, at]} times" for kind, at in sorted(missing)]
