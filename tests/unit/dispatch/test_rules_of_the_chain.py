"""Every built-in rule keeps the contract that rule authors are given; rules.yaml decides who is asked."""

from pathlib import Path
from typing import Any

import pytest

from services.dispatch.rules import BUILT_IN
from services.dispatch.rules.loading import RulesError, load_rules
from services.dispatch.testing import RoutingRuleContract
from shared.plugins.registry import PluginMissing

CITY = Path(__file__).parents[3] / "cities" / "demo"


@pytest.mark.parametrize("rule_type", BUILT_IN, ids=lambda rule: str(rule.name))
class TestBuiltIns(RoutingRuleContract):
    @pytest.fixture(autouse=True)
    def _rule(self, rule_type: type[Any]) -> None:
        self.rule = rule_type()


def test_the_demo_city_asks_territory_first_only_in_a_mega_city() -> None:
    file = CITY / "rules.yaml"
    assert "territory_first" in [rule.name for rule in load_rules(file, "mega")]
    medium = [rule.name for rule in load_rules(file, "medium")]
    assert medium == [rule.name for rule in load_rules(file, "mega") if rule.name != "territory_first"]
    assert medium[-1] == "last_resort"


@pytest.mark.parametrize(
    "text",
    ["", "rules: []", "rules: last_resort", "rules: [3]", "rules: [last_resort, last_resort]", "rules: [{}]", "["],
)
def test_a_file_of_another_shape_says_what_is_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(RulesError, match=r"rules\.yaml"):
        load_rules(tmp_path / "rules.yaml", "medium")


def test_a_rule_that_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [night_market, last_resort]")
    with pytest.raises(PluginMissing, match="night_market"):
        load_rules(tmp_path / "rules.yaml", "medium")
