"""Months of keys: what is walked is everything, once, the newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from shared.db import months
from shared.ids import instant_of, uuid7


def test_a_month_s_keys_lie_between_its_bounds() -> None:
    now = instant_of(uuid7())
    start, end = months.month_of(now), months.month_of(now, 1)
    assert start <= now < end
    assert str(months.first_key(start)) <= uuid7() < str(months.first_key(end))


def test_months_are_counted_over_the_end_of_a_year() -> None:
    december = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert months.month_of(december, 1) == datetime(2027, 1, 1, tzinfo=UTC)
    assert months.month_of(december, -12) == datetime(2025, 12, 1, tzinfo=UTC)


def test_the_windows_of_a_search_hold_every_key_once_and_the_newest_first() -> None:
    windows = list(months.newest_first(datetime(2026, 11, 22, tzinfo=UTC)))
    assert windows[0] == (months.first_key(datetime(2026, 11, 1, tzinfo=UTC)), None)
    assert windows[-1][0] is None
    for (low, _), (_, high) in pairwise(windows):
        assert low == high
