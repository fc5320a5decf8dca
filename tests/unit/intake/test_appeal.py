"""Numbers, codes and rules of an appeal (domain.md, Appeal)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.domain import appeal

KEY = bytes(range(32))
NOW = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)


def test_the_reference_number_bears_the_day_of_shanghai() -> None:
    assert appeal.reference_no("460100", NOW, 7) == "460100-20261122-000007"


def test_the_reference_number_keeps_six_digits_when_the_counter_turns() -> None:
    assert appeal.reference_no("460100", NOW, 1_000_001).endswith("-000001")


def test_query_codes_are_stable_short_and_differ() -> None:
    codes = {appeal.query_code(KEY, str(i)) for i in range(2000)}
    assert len(codes) == 2000
    assert all(len(code) == 8 and not set(code) & set("01ILOU") for code in codes)
    assert appeal.query_code(KEY, "a") == appeal.query_code(KEY, "a")
    assert appeal.query_code(KEY, "a") != appeal.query_code(b"other", "a")


def test_events_carry_the_digests_of_the_three_tokens_and_not_the_tokens() -> None:
    secret = appeal.appeal_secret(KEY, "a")
    tokens = [appeal.rating_token(secret, feedback_round) for feedback_round in (1, 2, 3)]
    assert len(set(tokens)) == 3
    assert all(len(token) == 43 for token in tokens)
    digests = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    assert appeal.rating_token_digests(secret) == digests


@pytest.mark.parametrize("phone", ["13800138000", "+86 138-0013-8000", "0086 13800138000", "１３８００１３８０００"])
def test_one_phone_has_one_pseudonym_however_it_is_written(phone: str) -> None:
    assert appeal.pseudonym(KEY, phone, None, False) == appeal.pseudonym(KEY, "13800138000", None, False)


def test_pseudonyms_need_a_contact_and_its_owner_s_consent() -> None:
    assert appeal.pseudonym(KEY, None, None, False) is None
    assert appeal.pseudonym(KEY, "13800138000", None, True) is None
    assert appeal.pseudonym(KEY, "", "11010519491231002x", False) == appeal.pseudonym(
        KEY, None, "110105 19491231 002X", False
    )
    assert appeal.pseudonym(KEY, "13800138000", None, False) != appeal.pseudonym(b"else", "13800138000", None, False)


@given(st.floats(-180, 180))
def test_coordinates_leave_on_a_grid_of_five_thousandths(degrees: float) -> None:
    value = appeal.rounded(degrees)
    assert abs(value - degrees) <= 0.0025 + 1e-9
    assert abs(value * 200 - round(value * 200)) < 1e-6


def test_what_happened_cannot_lie_in_the_future() -> None:
    assert appeal.time_faults(NOW, NOW + timedelta(minutes=4), None) == []
    faults = appeal.time_faults(NOW, NOW + timedelta(minutes=6), NOW + timedelta(days=1))
    assert [fault.pointer for fault in faults] == ["/occurred_at", "/emergency_action/taken_at"]


def test_an_emergency_action_follows_the_event() -> None:
    faults = appeal.time_faults(NOW, NOW, NOW - timedelta(hours=1))
    assert [fault.pointer for fault in faults] == ["/emergency_action/taken_at"]
