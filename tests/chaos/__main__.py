"""`make test-chaos [rounds=N] [transport=kafka|embedded] [seed=N] [rate=N] [only=NAME,NAME]`: the long form.

`only` plays the named disturbances in that order, e.g. only=stall:dispatch,kill:kafka, to look at a finding again.
Prints its seed, a line for every disturbance, and one JSON line at the end; exit status 1 when the judge found a fault.
"""

import asyncio
import json
import random
import signal
import sys

from shared.service.process import run_async
from tests.chaos.run import RATE, Form, chaos

ROUNDS = 3


def main(words: list[str]) -> int:
    given = dict(word.split("=", 1) for word in words)
    form = Form(
        transport=given.get("transport", "kafka"),
        rounds=int(given.get("rounds", ROUNDS)),
        seed=int(given.get("seed", random.randrange(10_000))),
        rate=float(given.get("rate", RATE)),
        short=given.get("form") == "short",
        only=tuple(given["only"].split(",")) if "only" in given else (),
    )
    result: dict[str, object] = {}

    async def play() -> None:
        me = asyncio.current_task()
        assert me is not None
        for number in (signal.SIGINT, signal.SIGTERM):  # the stack of its own must not outlive it
            asyncio.get_running_loop().add_signal_handler(number, me.cancel)
        result.update(await chaos(form, lambda line: print(line, flush=True)))

    run_async(play())
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
