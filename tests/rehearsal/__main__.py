"""python -m tests.rehearsal [n=10000] [days=365] [start=2026-01-01] [seed=1]

Whole lives of n mixed cases in a simulated year, on a stack as `make run` starts it, with the turned clock: steps of
one hour, through HTTP alone. At the end every deadline, lamp and supervision level of every order is compared with a
calculation that knows nothing of the services. Ctrl-C ends the year early, and what was played is compared all the
same. The last line is one JSON object; the exit code is 1 on a difference.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from shared.clock import ZONE, rfc3339
from shared.service.process import run_async
from tests.bench.load import Client
from tests.bench.stack import TOKEN, Stack, machine, running
from tests.rehearsal.comparison import compare
from tests.rehearsal.year import Year
from tools.seed.cost import load_average

CONNECTIONS = 32
SHOWN = 40
STORIES = 5
"""differences of which the whole course of their order is told"""
BEFORE = timedelta(minutes=10)
"""the stack starts so long before the first case"""


def rehearse(
    cases: int, days: int, start: datetime, seed: int = 1, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Play and compare on a fresh stack; the figures, `differences` in words among them."""
    found: dict[str, Any] = {}

    async def play(stack: Stack) -> None:
        await _no_waiting_for_the_disk(stack.facts["database_url"])
        client = Client(stack.port, TOKEN, connections=CONNECTIONS)
        year = Year(client, start, days * 24, cases, seed)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, setattr, year, "enough", True)
        began = time.monotonic()
        end = await year.play(tell)
        played = time.monotonic() - began
        verdict = compare(year.ledger, await year.supervisions(), end)
        await client.close()
        found.update(
            n=cases,
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


def main(arguments: Sequence[str]) -> int:
    """Rehearse what the arguments ask for."""
    given = dict(argument.split("=", 1) for argument in arguments)
    start = datetime.fromisoformat(given.get("start", "2026-01-01")).replace(tzinfo=ZONE)
    figures = rehearse(
        int(given.get("n", "10000")),
        int(given.get("days", "365")),
        start,
        int(given.get("seed", "1")),
        lambda words: print(words, flush=True),
    )
    differences = figures.pop("differences")
    for difference in differences[:SHOWN]:
        print(difference)
    print(
        json.dumps(
            {"rehearsal": "year", **machine(), "load_average": load_average(), **figures}
            | {"differences": len(differences)},
            ensure_ascii=False,
        )
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
