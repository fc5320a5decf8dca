"""The chain of routing rules: who leads, and what every rule said."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from services.dispatch.domain import (
    Agreement,
    Case,
    Context,
    Decision,
    Duty,
    DutyKind,
    DutyList,
    HandlingClass,
    Outcome,
    Pass,
    Platform,
    PlatformDirectory,
    Proposal,
    RoutingRule,
    UnitDirectory,
    UnitState,
    decide,
)
from services.dispatch.domain.duty_import import read_duties
from services.dispatch.domain.unit_import import read_units
from services.dispatch.rules import BUILT_IN
from services.dispatch.rules.territory_first import TerritoryFirst
from shared.clock import ZONE
from shared.regions import load

CITY = Path(__file__).parents[3] / "cities" / "demo"
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
UNITS = UnitDirectory.of(read_units((CITY / "units.csv").read_text("utf-8"), "460100", load()).units)
DUTIES = DutyList(read_duties((CITY / "duties.csv").read_text("utf-8"), "460100", UNITS, load()).duties)
CONTEXT = Context(
    now=NOW,
    zone=ZONE,
    regions=load(),
    units=UNITS,
    duties=DUTIES,
    platforms=PlatformDirectory.of("460100", [Platform("460000", 1), Platform("110000", 1)]),
)
CASE = Case("a", "01010101", HandlingClass.GENERAL, NOW, region_code="460106001")
RULES: tuple[RoutingRule, ...] = tuple(rule() for rule in BUILT_IN if rule is not TerritoryFirst)


def outcome(decision: Decision, rule: str) -> Outcome:
    return next(answer.outcome for answer in decision.answers if answer.rule == rule)


def test_the_most_specific_region_with_a_unit_for_the_matter_leads() -> None:
    assert decide(RULES, CASE, CONTEXT).lead == "460106-cityadmin"
    assert decide(RULES, replace(CASE, matter="01020101"), CONTEXT).lead == "460106001-office"
    assert decide(RULES, replace(CASE, matter="02010101"), CONTEXT).lead == "460100-roads"


def test_every_rule_answers_with_a_reason() -> None:
    decision = decide(RULES, CASE, CONTEXT)
    assert [answer.rule for answer in decision.answers] == [rule.name for rule in RULES]
    assert all(answer.reason for answer in decision.answers)
    assert [answer.rule for answer in decision.answers if answer.outcome is Outcome.CHOSEN] == ["matter_territory"]


def test_an_urgent_case_goes_to_the_roster() -> None:
    decision = decide(RULES, replace(CASE, matter="03030101", handling_class=HandlingClass.URGENT), CONTEXT)
    assert decision.lead == "460100-gas"
    assert decision.co_handlers == ("460100-emergency",)
    assert outcome(decision, "emergency_roster") is Outcome.CHOSEN


def test_a_case_of_another_platform_stays_with_the_centre_and_is_offered() -> None:
    decision = decide(RULES, replace(CASE, region_code="110101"), CONTEXT)
    assert (decision.lead, decision.platform) == ("460100-12345", "110000")
    urgent = decide(RULES, replace(CASE, region_code="110101", handling_class=HandlingClass.URGENT), CONTEXT)
    assert (urgent.lead, urgent.platform) == ("460100-12345", "110000")


def test_a_case_outside_of_every_known_platform_stays_with_the_centre_without_an_offer() -> None:
    decision = decide(RULES, replace(CASE, region_code="440106"), CONTEXT)
    assert (decision.lead, decision.platform) == ("460100-12345", None)


def test_a_case_of_another_district_of_the_platform_goes_to_that_district() -> None:
    assert decide(RULES, replace(CASE, region_code="460108"), CONTEXT).lead == "460108-cityadmin"


def test_a_ruling_comes_before_the_general_rule() -> None:
    ruling = Duty(
        "r", DutyKind.DUTY, "01010101", "460106", "460106-market", valid_from=date(2026, 11, 1), source="ruling:d"
    )
    context = replace(CONTEXT, duties=DutyList((*DUTIES.entries, ruling)))
    decision = decide(RULES, CASE, context)
    assert decision.lead == "460106-market"
    assert outcome(decision, "matter_territory") is Outcome.PROPOSED
    assert "争议裁定" in next(answer.reason for answer in decision.answers if answer.rule == "duty_list")
    assert decide(RULES, replace(CASE, region_code="460108"), context).lead == "460108-cityadmin"


def test_a_unit_that_returned_the_case_does_not_get_it_again() -> None:
    decision = decide(RULES, CASE, replace(CONTEXT, without=frozenset({"460106-cityadmin"})))
    assert decision.lead == "460100-cityadmin"


def test_the_territory_answers_when_no_unit_for_the_matter_is_left() -> None:
    decision = decide(RULES, replace(CASE, matter="99010101"), CONTEXT)
    assert decision.lead == "460106001-office"
    assert outcome(decision, "load_absence") is Outcome.CHOSEN


def test_an_unknown_matter_at_an_unknown_place_ends_with_the_centre() -> None:
    decision = decide(RULES, replace(CASE, matter="", region_code=""), CONTEXT)
    assert decision.lead == "460100-12345"
    assert outcome(decision, "last_resort") is Outcome.CHOSEN


def test_an_overloaded_lead_gets_help_from_its_supervisor() -> None:
    case = replace(CASE, matter="01020101")
    decision = decide(RULES, case, replace(CONTEXT, open_orders={"460106001-office": 61}))
    assert (decision.lead, decision.co_handlers) == ("460106001-office", ("460106-gov",))


def test_a_suspended_unit_is_replaced_by_its_successor() -> None:
    suspended = replace(UNITS.units["460106-cityadmin"], state=UnitState.SUSPENDED, successor="460106-gov")
    units = UnitDirectory.of([*(unit for unit in UNITS.units.values() if unit.code != suspended.code), suspended])
    assert decide(RULES, CASE, replace(CONTEXT, units=units)).lead == "460106-gov"


def test_in_a_mega_city_the_street_leads_and_the_department_comes() -> None:
    rules = tuple(rule() for rule in BUILT_IN)
    decision = decide(rules, CASE, CONTEXT)
    assert (decision.lead, decision.co_handlers) == ("460106001-office", ("460106-cityadmin",))


def test_the_green_channel_changes_the_clocks_and_not_the_lead() -> None:
    decision = decide(RULES, replace(CASE, groups=frozenset({"elderly"})), CONTEXT)
    assert (decision.lead, decision.clock_policy) == ("460106-cityadmin", "green_channel")


class Odd:
    """A rule that answers whatever it is told."""

    name = "odd"

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        return self.answer()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: 1 / 0,
        lambda: None,
        lambda: "460106-gov",
        lambda: Proposal(""),
        lambda: Pass(" "),
        lambda: Proposal("理由", lead="nobody"),
        lambda: Proposal("理由", co_handlers=("nobody",)),
        lambda: Proposal("理由", lead="460106-gov", platform="460100"),
        lambda: Proposal("理由", lead="460106-gov", platform="999999"),
        lambda: Proposal("理由", handling_class="asap"),  # type: ignore[arg-type]
        lambda: Proposal("理由", lead=["460106-gov"]),  # type: ignore[arg-type]
        lambda: Proposal("理由", co_handlers=3),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_raises_or_answers_nonsense_is_recorded_and_passed_over(answer: Callable[[], Any]) -> None:
    decision = decide((Odd(answer), *RULES), CASE, CONTEXT)
    assert decision.lead == "460106-cityadmin"
    assert decision.failures == ("odd",)
    assert decision.answers[0].reason


def test_a_case_has_an_owner_even_without_any_rule() -> None:
    assert decide((), CASE, CONTEXT).lead == "460100-12345"


def test_a_case_does_not_go_back_to_a_platform_that_it_came_by() -> None:
    beijing = replace(CASE, region_code="110101")
    assert decide(RULES, beijing, CONTEXT).platform == "110000"
    back = decide(RULES, replace(beijing, came_by=("110000",)), CONTEXT)
    assert (back.platform, back.lead) == (None, "460100-12345")


def test_the_path_follows_the_parents_that_the_directory_lists() -> None:
    known = [Platform("460000", 1), Platform("460200", 2, parent="460300"), Platform("460300", 2)]
    directory = PlatformDirectory.of("460100", known)
    assert directory.path("460200", load(), date(2026, 12, 31)) == ("460100", "460000", "460300", "460200")


def test_the_path_to_another_platform_is_direct_only_under_an_agreement_in_force() -> None:
    known = [Platform("460000", 1), Platform("460200", 2)]
    directory = PlatformDirectory.of("460100", known, [Agreement(frozenset({"460100", "460200"}), date(2026, 12, 31))])
    assert directory.path("460200", load(), date(2026, 12, 31)) == ("460100", "460200")
    assert directory.path("460200", load(), date(2027, 1, 1)) == ("460100", "460000", "460200")
    assert directory.path("460000", load(), date(2027, 1, 1)) == ("460100", "460000")
    assert PlatformDirectory.of("460100").path("110000", load(), date(2027, 1, 1)) == ()
