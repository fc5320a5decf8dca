"""A walk over minutes, written without the domain's code: which minutes count, and when the n-th one has passed.

Everything is minute-aligned local time (UTC+8). The days worked come straight from the published lists.
"""

from datetime import date, datetime, timedelta, timezone

import numpy as np
from chinese_calendar.constants import holidays, workdays
from numpy.typing import NDArray

SHANGHAI = timezone(timedelta(hours=8))
FIRST = date(2018, 12, 1)
LAST = date(2029, 12, 31)
ORIGIN = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=SHANGHAI)
PUBLISHED = {day.year for day in holidays}
DAYS = (LAST - FIRST).days + 1


def _day_is_worked(day: date) -> bool:
    if day.year not in PUBLISHED:
        return day.isoweekday() <= 5
    if day in workdays:
        return True
    return day.isoweekday() <= 5 and day not in holidays


def _minutes() -> NDArray[np.bool_]:
    one_day = np.zeros(24 * 60, dtype=bool)
    for minute in range(24 * 60):
        hour = minute / 60
        one_day[minute] = 9 <= hour < 12 or 13.5 <= hour < 17.5
    closed = np.zeros(24 * 60, dtype=bool)
    return np.concatenate([one_day if _day_is_worked(FIRST + timedelta(days=n)) else closed for n in range(DAYS)])


WORKED = _minutes()


def minute_of(instant: datetime) -> int:
    return int((instant - ORIGIN).total_seconds() // 60)


def instant_of(minute: int) -> datetime:
    return ORIGIN + timedelta(minutes=minute)


def deadline(
    start: datetime, kind: str, *, minutes: int = 0, days: int = 0, suspensions: list[tuple[datetime, datetime]]
) -> tuple[datetime, bool]:
    """(due, provisional) by counting one minute after another."""
    begin = minute_of(start)
    if kind == "natural":
        budget = minutes + days * 24 * 60
    elif days:
        budget = _minutes_of_working_days(begin, days)
    else:
        budget = minutes
    if budget == 0:
        due = start
    else:
        found: datetime | None = None
        horizon_days = 40
        while found is None:
            horizon = min(len(WORKED), begin + horizon_days * 24 * 60)
            assert horizon_days < 2000, "the oracle's horizon is too short for this case"
            counts = WORKED[begin:horizon].copy() if kind == "working" else np.ones(horizon - begin, dtype=bool)
            for since, until in suspensions:
                lo, hi = max(minute_of(since) - begin, 0), max(minute_of(until) - begin, 0)
                counts[lo:hi] = False
            passed = np.cumsum(counts)
            if passed[-1] >= budget:
                found = instant_of(begin + int(np.argmax(passed >= budget)) + 1)
            horizon_days *= 4
        due = found
    years = range(start.astimezone(SHANGHAI).year, due.year + 1)
    return due, kind == "working" and any(year not in PUBLISHED for year in years)


def _minutes_of_working_days(begin: int, days: int) -> int:
    """Working minutes from `begin` to 17:30 of the n-th working day after the day of `begin`."""
    day = (ORIGIN + timedelta(minutes=begin)).date()
    left = days
    while left:
        day += timedelta(days=1)
        left -= _day_is_worked(day)
    close = minute_of(datetime(day.year, day.month, day.day, 17, 30, tzinfo=SHANGHAI))
    return int(WORKED[begin:close].sum())
