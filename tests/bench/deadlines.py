"""bench-deadlines: a hundred thousand deadlines through `python -m services.sla deadlines`, all of them recounted.

    make bench-deadlines [n=100000] [seed=1]

Random cases of 2019 to 2027, as the tests' (`tests/unit/sla/cases.py`): both kinds, hours and days, suspensions, many
around holidays, 调休 days, leap days and the edges of office hours. The time is that of the whole process, its start
included. Every answer is compared with the walk over minutes. The last line is one JSON object; status 1 when an
answer differs or there are fewer than 20,000 a second.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import orjson

from tests.bench.stack import ROOT, tell
from tests.unit.sla.cases import case_of

BAR_PER_S = 20_000


def run(count: int, seed: int) -> dict[str, Any]:
    """Ask for all of them, compare all of them."""
    chance = random.Random(seed)
    cases = [case_of(chance) for _ in range(count)]
    with tempfile.TemporaryFile() as asked:
        asked.writelines(case.line(number) + b"\n" for number, case in enumerate(cases))
        asked.seek(0)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "services.sla", "deadlines"],
            cwd=ROOT,
            stdin=asked,
            stdout=subprocess.PIPE,
            check=True,
        )
        took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    answers = done.stdout.splitlines()
    different = sum(
        orjson.loads(answer) != case.expected(number)
        for number, (answer, case) in enumerate(zip(answers, cases, strict=False))
    )
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cases": count,
        "seconds": round(took_s, 2),
        "per_s": round(count / took_s),
        "cpu_ms_per_1000": round(cpu_s * 1e6 / count, 1),
        "different": different + abs(len(answers) - count),
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    found = run(int(given.get("n", "100000")), int(given.get("seed", "1")))
    held = not found["different"] and found["per_s"] >= BAR_PER_S
    tell("deadlines", found, held=held)


if __name__ == "__main__":
    main()
