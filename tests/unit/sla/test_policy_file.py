"""`python -m services.sla check-policy FILE`: what a city writes is refused with the line and the reason."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import services.sla

DEFAULT = (Path(services.sla.__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")
LINES = DEFAULT.splitlines()


def check(folder: Path, text: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "services.sla", "check-policy", str(file)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def line_of(text: str, number: int = 1) -> int:
    """Where `text` stands for the n-th time, from 1."""
    return [at for at, line in enumerate(LINES, start=1) if text in line][number - 1]


def test_the_default_policy_is_good(tmp_path: Path) -> None:
    status, said, _ = check(tmp_path, DEFAULT)
    assert (status, orjson.loads(said)["clocks"]) == (0, 24)


@pytest.mark.parametrize(
    ("was", "becomes", "line", "pointer", "reason"),
    [
        (
            "    complete: {natural: PT2H}\n",
            "",
            line_of("urgent:"),
            "/classes/urgent/complete",
            "has no complete clock",
        ),
        ("natural: PT10M", "natural: -PT10M", line_of("PT10M"), "/classes/urgent/accept/natural", "no duration"),
        ("natural: PT10M", "natural: PT0S", line_of("PT10M"), "/classes/urgent/accept", "longer than zero"),
        ("working: P15D", "working: P1DT2H", line_of("P15D"), "/classes/complex/complete/working", "mixes"),
        (
            "    accept: {natural: PT30M}\n",
            "    accept: {natural: PT30M}\n    accept: {natural: PT40M}\n",
            line_of("PT30M", 2) + 1,
            "/classes/livelihood/accept",
            "second time",
        ),
        ("  livelihood:\n", "  livelyhood:\n", line_of("livelihood:"), "/classes/livelyhood", "no handling class"),
        ("version: default-1", "version: ''", line_of("version:"), "/version", "non-empty"),
        ("classes:", "classes: [", line_of("classes:") + 2, "", "no YAML"),
    ],
)
def test_a_bad_policy_is_refused_with_line_and_reason(
    tmp_path: Path, was: str, becomes: str, line: int, pointer: str, reason: str
) -> None:
    assert was in DEFAULT
    status, _, said = check(tmp_path, DEFAULT.replace(was, becomes, 1))
    fault = orjson.loads(said)
    assert (status, fault["line"], fault["pointer"]) == (1, line, pointer)
    assert reason in fault["detail"]
