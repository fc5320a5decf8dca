"""A walk over minutes, written without the domain's code: which minutes count, and when the n-th one has passed.

Everything is minute-aligned local time (UTC+8). The days worked come straight from the published lists.
"""

from datetime import date, datetime, time, timedelta, timezone

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
    start: datetime,
    kind: str,
    *,
    minutes: int = 0,
    days: int = 0,
    suspensions: list[tuple[datetime, datetime]],
    closed: frozenset[date] = frozenset(),
) -> tuple[datetime, bool]:
    """(due, provisional) by counting one minute after another; on days of `closed` nobody works."""
    begin = minute_of(start)
    if kind == "natural":
        budget = minutes + days * 24 * 60
    elif days:
        budget = minutes_of_working_days(begin, days, closed)
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
            off = [(_midnight(day), _midnight(day + timedelta(days=1))) for day in closed] if kind == "working" else []
            for since, until in [*suspensions, *off]:
                lo, hi = max(minute_of(since) - begin, 0), max(minute_of(until) - begin, 0)
                counts[lo:hi] = False
            passed = np.cumsum(counts)
            if passed[-1] >= budget:
                found = instant_of(begin + int(np.argmax(passed >= budget)) + 1)
            horizon_days *= 4
        due = found
    years = range(start.astimezone(SHANGHAI).year, due.year + 1)
    return due, kind == "working" and any(year not in PUBLISHED for year in years)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


def minutes_of_working_days(begin: int, days: int, closed: frozenset[date] = frozenset()) -> int:
    """Working minutes from `begin` to 17:30 of the n-th working day after the day of `begin`."""
    day = (ORIGIN + timedelta(minutes=begin)).date()
    left = days
    while left:
        day += timedelta(days=1)
        left -= _day_is_worked(day) and day not in closed
    close = minute_of(datetime(day.year, day.month, day.day, 17, 30, tzinfo=SHANGHAI))
    off = sum(
        int(WORKED[(first := minute_of(_midnight(day))) : first + 24 * 60].sum())
        for day in closed
        if begin < minute_of(_midnight(day)) < close
    )
    return int(WORKED[begin:close].sum()) - off


OFFICE = ((time(9), time(12)), (time(13, 30), time(17, 30)))


def spans_of(day: date, kind: str) -> list[tuple[datetime, datetime]]:
    """What counts of a day, to the microsecond."""
    if kind == "natural":
        midnight = datetime.combine(day, time(), SHANGHAI)
        return [(midnight, midnight + timedelta(days=1))]
    if not _day_is_worked(day):
        return []
    return [(datetime.combine(day, a, SHANGHAI), datetime.combine(day, b, SHANGHAI)) for a, b in OFFICE]


def walk(start: datetime, kind: str, budget: timedelta, holes: list[tuple[datetime, datetime]]) -> datetime:
    """The earliest instant at which `budget` was counted since `start` outside the holes, one day after another; exact
    to the microsecond, for budgets that are no whole minutes (75 % of one, half of one)."""
    left, day = budget, start.astimezone(SHANGHAI).date()
    while left:
        for opens, closes in spans_of(day, kind):
            here = max(opens, start)
            for since, until in [*sorted(holes), (closes, closes)]:
                free = min(since, closes) - here
                if free >= left:
                    return here + left
                if free > timedelta(0):
                    left -= free
                here = max(here, until)
        day += timedelta(days=1)
    return start


def length_of_working_days(start: datetime, days: int) -> timedelta:
    """Working time from `start` to 17:30 of the n-th working day after its day (Civil Code, articles 201 and 203)."""
    day = start.astimezone(SHANGHAI).date()
    total = sum((max(b - max(a, start), timedelta(0)) for a, b in spans_of(day, "working")), timedelta(0))
    while days:
        day += timedelta(days=1)
        worked = spans_of(day, "working")
        total += sum((b - a for a, b in worked), timedelta(0))
        days -= bool(worked)
    return total
