"""One status out of several services' facts, and the terms of the search."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.intake.domain.case import PLAIN_WORDS, STATUSES, OrderFact, status_of
from shared.terms import query, terms, vector

T = datetime(2026, 11, 21, tzinfo=UTC)


def order(
    status: str, *, minutes: int = 0, in_review: bool = False, first: bool = True, part: bool = False
) -> OrderFact:
    return OrderFact("w1", status, T + timedelta(minutes=minutes), in_review, first, part)


def status(
    *orders: OrderFact, own: str = "received", label: bool = True, review: bool = False, closed: str | None = None
) -> str:
    return status_of(own, labelled=label, needs_review=review, orders=orders, feedback_closed_on=closed)


def test_before_an_order_the_label_decides() -> None:
    assert status(label=False) == "received"
    assert status() == "classified"
    assert status(review=True) == "in_review"


@pytest.mark.parametrize(
    ("of_order", "of_appeal"),
    [
        ("dispatched", "dispatched"),
        ("disputed", "dispatched"),
        ("accepted", "in_progress"),
        ("suspended", "in_progress"),
        ("reopened", "in_progress"),
        ("completed", "completed"),
        ("closed", "answered"),
        ("handed_off", "handed_off"),
    ],
)
def test_the_order_speaks_for_the_appeal(of_order: str, of_appeal: str) -> None:
    assert status(order(of_order), review=True) == of_appeal


def test_a_pending_order_is_in_review_or_waits_for_its_next_unit() -> None:
    assert status(order("pending", in_review=True)) == "in_review"
    assert status(order("pending")) == "dispatched"


def test_a_completed_order_is_answered_once_feedback_is_closed() -> None:
    assert status(order("completed"), closed="w1") == "answered"
    assert status(order("completed")) == "completed"


def test_an_answered_appeal_stays_answered_while_another_citizen_s_rating_opens_the_order_again() -> None:
    assert status(order("reopened"), closed="w1") == "answered"
    assert status(order("reopened", first=False), closed="w1") == "answered"
    # closed because it left that order: the one it has now counts
    assert status(order("accepted"), closed="another") == "in_progress"


def test_an_appeal_joined_to_another_s_order_is_linked_until_that_is_completed() -> None:
    assert status(order("accepted", first=False)) == "linked"
    assert status(order("completed", first=False)) == "completed"


def test_the_newest_whole_order_counts() -> None:
    assert status(order("closed"), order("dispatched", minutes=5)) == "dispatched"
    assert status(order("accepted"), order("completed", minutes=5, part=True)) == "in_progress"
    assert status(order("accepted"), order("cancelled", minutes=5)) == "in_progress"


def test_withdrawn_and_declined_win() -> None:
    assert status(order("accepted"), own="withdrawn") == "withdrawn"
    assert status(own="declined", label=False) == "declined"


def test_every_status_has_plain_words() -> None:
    assert set(PLAIN_WORDS) == set(STATUSES)


def test_two_characters_find_what_contains_them() -> None:
    assert terms("路灯不亮, LED灯 A12") == {"路灯", "灯不", "不亮", "led", "灯", "a12"}
    assert terms("路灯") <= terms("小区的路灯坏了")
    assert query("路灯 坏了") == "'坏了' & '路灯'"
    assert query("核实处理") == "'处理' & '核实'"
    assert query("出租车") == "'出租' & '租车'"
    assert query("，。!'\\") is None
    assert vector("路灯", None) == "'路灯'"
