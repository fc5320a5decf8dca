"""docs/adding-a-service.md proven by doing it: the command in a copy of the checkout, and the tests that it wrote."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import new_service

CHECKOUT = Path(__file__).parents[3]
COPIED = ("services", "shared", "deploy", "tools", "cities", "docs", "tests", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*_cache", ".sushu", "node_modules")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which `rain` was added."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=LEFT_OUT)
        else:
            shutil.copy(source, copy / name)
    done = run(copy, "tools.new_service", "rain")
    assert done.returncode == 0, done.stderr
    return copy


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_new_service_is_tested_and_its_tests_are_green(checkout: Path) -> None:
    done = run(checkout, "pytest", "tests/unit/rain", "tests/integration/rain", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        ["ruff", "check", "services/rain", "tests/unit/rain", "tests/integration/rain"],
        ["ruff", "format", "--check", "services/rain", "tests/unit/rain", "tests/integration/rain"],
        ["tools.generate", "--check"],
        ["tools.check", "imports", "domain", "routes"],
        ["pytest", "tests/deploy/test_database_roles.py", "-p", "no:cacheprovider"],
    ],
)
def test_the_new_service_passes_the_checks(checkout: Path, check: list[str]) -> None:
    done = run(checkout, *check)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_new_service_is_part_of_the_local_stack(checkout: Path) -> None:
    program = "from deploy.local.routes import local_services; print(*local_services())"
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "rain"


def test_what_makes_it_useful_is_under_thirty_lines(checkout: Path) -> None:
    lines: set[tuple[str, int]] = set()
    for name in ("handlers.py", "consumer.py", "domain.py"):
        source = (checkout / "services" / "rain" / name).read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom) and not words(node):
                inner = min((child.lineno for child in getattr(node, "body", [])), default=(node.end_lineno or 0) + 1)
                lines |= {(name, number) for number in range(node.lineno, inner)}
    assert len(lines) < 30


def words(node: ast.stmt) -> bool:
    """A docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize(
    ("name", "segment", "why"),
    [
        ("Rain", "rain", "lower-case"),
        ("rain-watch", "rain", "lower-case"),
        ("class", "x1", "lower-case"),
        ("bus", "x1", "lower-case"),
        ("intake", "x1", "is there already"),
        ("rain", "appeals", "belongs to intake"),
        ("rain", "Ü", "path segment"),
    ],
)
def test_a_name_that_cannot_work_is_refused_before_anything_is_written(name: str, segment: str, why: str) -> None:
    with pytest.raises(new_service.Refused, match=why):
        new_service.write(name, segment, CHECKOUT)
    assert not (CHECKOUT / "services" / "rain").exists()


def test_a_planned_service_gets_the_segment_that_the_table_keeps_for_it() -> None:
    assert new_service.segment_of("insight", CHECKOUT) == "hot-events"
    assert new_service.segment_of("rain", CHECKOUT) == "rain"
