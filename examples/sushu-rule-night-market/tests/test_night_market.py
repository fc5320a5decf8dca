"""The rule keeps the contract of every rule, and does what it is for."""

from dataclasses import replace
from datetime import timedelta

from sushu_rule_night_market import NightMarket

from services.dispatch.domain import Case, HandlingClass, Pass, Proposal
from services.dispatch.testing import NOON, RoutingRuleContract, demo_context

STALL = Case("a", "01010101", HandlingClass.GENERAL, NOON, region_code="460106001")


class TestNightMarket(RoutingRuleContract):
    rule = NightMarket()


def test_at_night_the_street_office_leads_and_the_district_helps() -> None:
    at_nine = replace(demo_context(), now=NOON + timedelta(hours=9))
    answer = NightMarket().propose(STALL, at_nine)
    assert isinstance(answer, Proposal)
    assert (answer.lead, answer.co_handlers) == ("460106001-office", ("460106-cityadmin",))


def test_by_day_it_passes() -> None:
    assert isinstance(NightMarket().propose(STALL, demo_context()), Pass)
