"""Runs every test: first those that break whole stacks under load, alone; then the rest in two lanes side by side.

python -m tools.lanes [pytest options]

Most tests wait more than they compute, so two cores do both lanes in little more than the longer one's time: one lane
starts whole stacks, the other has what is left. The first is shown as it goes, the second when it has ended; the last
line counts all. Exit code 1 when anything failed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALONE = ("chaos", "federation")
"""folders of `tests` that judge how soon a stack recovers, with all that the machine has"""
STACKS = ("bench", "rehearsal", "simulation", "system")
"""folders whose tests start stacks"""
COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")
CLOSING = re.compile(r"^(=+ )?\d+ (passed|failed|errors?|skipped)\b.* in [\d.]+s")
NOTHING = 5
"""pytest's exit code when the options chose no test"""


def main(options: Sequence[str]) -> int:
    """Run both lanes; `options` go to both."""
    known = (*ALONE, *STACKS, "__pycache__")
    others = sorted(path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name not in known)
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as quiet, tempfile.TemporaryDirectory() as folder:
        before = _start(ALONE, options, Path(folder) / "alone", subprocess.PIPE)
        codes = [_follow(before, counts)]
        second = _start(others, options, Path(folder) / "second", quiet.fileno())
        first = _start(STACKS, options, Path(folder) / "first", subprocess.PIPE)
        codes += [_follow(first, counts), second.wait()]
        print(f"\n--- {', '.join(others)}", flush=True)
        quiet.seek(0)
        for line in quiet:
            _show(line, counts)
    said = ", ".join(f"{counts[what]} {what}" for what in ("failed", "errors", "passed", "skipped") if counts[what])
    print(f"\n{said or 'no test ran'} in {time.monotonic() - began:.2f}s", flush=True)
    return 0 if {*codes} <= {0, NOTHING} and counts["passed"] else 1


def _start(folders: Sequence[str], options: Sequence[str], basetemp: Path, out: int) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--basetemp={basetemp}",
        *options,
        *(f"tests/{name}" for name in folders),
    ]
    return subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True, encoding="utf-8", env=os.environ
    )


def _follow(lane: "subprocess.Popen[str]", counts: Counter[str]) -> int:
    """Show a lane as it goes; its exit code."""
    assert lane.stdout is not None
    for line in lane.stdout:
        _show(line, counts)
    return lane.wait()


def _show(line: str, counts: Counter[str]) -> None:
    print(line, end="", flush=True)
    if CLOSING.match(line):
        for number, what in COUNTS.findall(line):
            counts["errors" if what.startswith("error") else what] += int(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
