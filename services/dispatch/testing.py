"""For authors of routing rules: a context of the demo city, and the contract that every rule must keep.

class TestNightMarket(RoutingRuleContract):
    rule = NightMarket()
"""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

from services.dispatch.domain import (
    Case,
    Context,
    DutyList,
    HandlingClass,
    Platform,
    PlatformDirectory,
    RoutingRule,
    UnitDirectory,
)
from services.dispatch.domain.duty_import import read_duties
from services.dispatch.domain.routing import nonsense
from services.dispatch.domain.unit_import import read_units
from shared import regions
from shared.city import CITIES
from shared.clock import ZONE

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
"""12:00 on a working Friday in the platform's zone"""


def demo_context(now: datetime = NOON, platform: str = "460100") -> Context:
    """What a rule sees on a platform with the demo city's units and duties; 110000 is another platform."""
    tree, folder = regions.load(), CITIES / "demo"
    units = UnitDirectory.of(read_units((folder / "units.csv").read_text("utf-8"), platform, tree).units)
    duties = DutyList(read_duties((folder / "duties.csv").read_text("utf-8"), platform, units, tree).duties)
    platforms = PlatformDirectory.of(platform, [Platform("110000", 1)])
    return Context(now=now, zone=ZONE, regions=tree, units=units, duties=duties, platforms=platforms)


def demo_cases(platform: str = "460100") -> list[Case]:
    """Cases of every class at known, foreign and unknown places, with and without a matter."""
    matters = ("", "01010101", "03030101", "99999999")
    places = ("", platform, f"{platform[:4]}06001", "110101", "999999")
    return [
        Case("a", matter, handling_class, NOON, region_code=place)
        for matter, place, handling_class in product(matters, places, HandlingClass)
    ]


class RoutingRuleContract:
    """Subclass it with `rule`; pytest runs what every rule must keep."""

    rule: RoutingRule

    def test_its_name_can_stand_in_a_configuration(self) -> None:
        assert self.rule.name.isidentifier()

    def test_it_answers_every_case_with_sense(self) -> None:
        context = demo_context()
        for hour in (0, 9, 12, 21):
            there = replace(context, now=context.now.replace(hour=hour))
            for case in demo_cases():
                assert nonsense(self.rule.propose(case, there), there) is None, case

    def test_it_is_pure(self) -> None:
        context = demo_context()
        for case in demo_cases():
            assert self.rule.propose(case, context) == self.rule.propose(case, context)

    def test_it_gives_no_case_back_to_a_unit_that_returned_it(self) -> None:
        everybody = frozenset(demo_context().units.units)
        alone = replace(demo_context(), without=everybody - {demo_context().units.centre.code})
        for case in demo_cases():
            assert nonsense(self.rule.propose(case, alone), alone) is None, case
