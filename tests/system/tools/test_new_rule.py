"""`make new-rule`: what it writes is a rule that passes its tests, is found once installed, and decides."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.dispatch.rules.loading import load_rules
from tools.new_rule import Refused, write

ROOT = Path(__file__).resolve().parents[3]


def new_rule(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.new_rule", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )


def test_a_new_rule_passes_its_tests_and_is_found_once_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "school_zone"
    done = new_rule("school_zone", "--into", str(folder))
    assert done.returncode == 0, done.stderr
    code = (folder / "src" / "sushu_rule_school_zone" / "__init__.py").read_text("utf-8")
    assert len(code.splitlines()) < 30
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=100,
        env={"PYTHONPATH": f"{folder / 'src'}:{ROOT}", "PATH": ""},
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(folder)], check=True, capture_output=True, timeout=100)
    monkeypatch.syspath_prepend(str(site))
    rules_yaml = tmp_path / "rules.yaml"
    rules_yaml.write_text("rules: [school_zone, last_resort]")
    assert [rule.name for rule in load_rules(rules_yaml, "medium")] == ["school_zone", "last_resort"]


@pytest.mark.parametrize("name", ["Duty", "duty-list", "duty_list", "class", "9lives", "x" * 41, "../x"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        write(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_says_why_it_refuses() -> None:
    done = new_rule("duty_list")
    assert (done.returncode, done.stderr) == (2, "new-rule: duty_list is a rule of the chain already\n")
