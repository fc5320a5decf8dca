"""A rule of somebody else: installed as a package, found by its entry point, named in rules.yaml."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.dispatch.bootstrap import build
from shared.clock import ManualClock
from shared.db.database import Database
from shared.errors import Transient
from shared.settings import Settings
from shared.testing.harness import Harness
from shared.transport.embedded import EmbeddedTransport
from tests.integration.dispatch.cases import new_order

ROOT = Path(__file__).parents[3]


def city_with(folder: Path, rules: str) -> Path:
    """The demo city with another rules.yaml."""
    shutil.copytree(ROOT / "cities" / "demo", folder)
    (folder / "rules.yaml").write_text(rules)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example package, installed into a folder of its own by pip, without a network."""
    source = shutil.copytree(ROOT / "examples" / "sushu-rule-night-market", tmp_path / "source")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True, timeout=100)
    monkeypatch.syspath_prepend(str(target))
    return source


async def test_an_installed_rule_decides_and_its_answer_is_shown(
    server_url: str, installed: Path, tmp_path: Path
) -> None:
    city = city_with(tmp_path / "city", "rules: [green_channel, night_market, matter_territory, last_resort]")
    async with Harness.fresh(server_url, "dispatch", city=str(city)) as hub:
        by_day = await new_order(hub)
        hub.clock.set(datetime(2026, 11, 2, 13, 0, tzinfo=UTC))
        at_night = await new_order(hub)
    assert by_day["lead"] == "460106-cityadmin"
    assert (at_night["lead"], at_night["co_handlers"]) == ("460106001-office", ["460106-cityadmin"])
    assert [answer["rule"] for answer in at_night["decision"]][:2] == ["green_channel", "night_market"]
    assert "夜间" in at_night["decision"][1]["reason"]


def test_the_example_keeps_the_contract_of_rules(installed: Path) -> None:
    path = f"{installed.parent / 'site'}:{ROOT}"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(installed / "tests")],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=installed,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    assert run.returncode == 0, run.stdout + run.stderr


async def test_a_missing_rule_makes_the_service_not_ready_and_gives_no_case_away(
    server_url: str, tmp_path: Path
) -> None:
    city = city_with(tmp_path / "city", "rules: [rule_of_nobody, last_resort]")
    settings = Settings(database_url=server_url, city=str(city), data_dir=tmp_path)
    database = Database(server_url, "dispatch", ManualClock(), platform="460100")
    service = build(settings, ManualClock(), EmbeddedTransport(server_url), database)
    assert "rule_of_nobody" in service.not_ready()[0]
    with pytest.raises(Transient, match="rule_of_nobody"):
        await service.state.refresh(None)
