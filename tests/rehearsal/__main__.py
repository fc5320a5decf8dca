"""python -m tests.rehearsal [n=10000] [days=365] [start=2026-01-01] [seed=1] [stacks=1]

Whole lives of n mixed cases in a simulated year, on a stack as `make run` starts it, with the turned clock: steps of
one hour, through HTTP alone. At the end every deadline, lamp and supervision level of every order is compared with a
calculation that knows nothing of the services. A year is mostly waiting for one answer after the other, so `stacks`
of them can live it side by side, each with its share of the cases. Ctrl-C ends the year early, and what was played is
compared all the same. The last line is one JSON object; the exit code is 1 on a difference.
"""

import json
import signal
import sys
from collections.abc import Sequence
from datetime import datetime

from shared.clock import ZONE
from tests.bench.stack import machine
from tests.rehearsal.stacks import side_by_side
from tools.seed.cost import load_average

SHOWN = 40


def main(arguments: Sequence[str]) -> int:
    """Rehearse what the arguments ask for."""
    given = dict(argument.split("=", 1) for argument in arguments)
    start = datetime.fromisoformat(given.get("start", "2026-01-01")).replace(tzinfo=ZONE)
    cases, days, seed = int(given.get("n", "10000")), int(given.get("days", "365")), int(given.get("seed", "1"))
    stacks = int(given.get("stacks", "1"))
    figures = side_by_side(cases, days, start, seed, stacks)
    differences = figures.pop("differences")
    for difference in differences[:SHOWN]:
        print(difference)
    print(
        json.dumps(
            {"rehearsal": "year", **machine(), "load_average": load_average(), "stacks": stacks, **figures}
            | {"differences": len(differences)},
            ensure_ascii=False,
        )
    )
    return 1 if differences else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the stacks end with it
    sys.exit(main(sys.argv[1:]))
