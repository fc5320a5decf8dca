"""Working time: weekday office hours minus State Council holidays plus 调休 working days (domain.md, SLA).

Instants are aware datetimes, amounts are timedeltas. Inside, a calendar is a line of cumulative working microseconds
by day, so that counting is two look-ups and a deadline is one bisection.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import accumulate
from typing import Protocol

ZONE = timezone(timedelta(hours=8), "Asia/Shanghai")
"""The zone of every Chinese platform: UTC+8 without daylight saving since 1992."""

OFFICE_HOURS = ((time(9, 0), time(12, 0)), (time(13, 30), time(17, 30)))

FIRST_YEAR, LAST_YEAR = 2000, 2100
"""The years a calendar can answer for; a question outside raises `OutOfCalendar`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE_US = 8 * 3600 * 1_000_000
_DAY_US = 86_400 * 1_000_000
_BASE_DAY = (date(FIRST_YEAR, 1, 1) - date(1970, 1, 1)).days
_ORDINAL_OF_DAY_0 = date(1970, 1, 1).toordinal()
_DAYS = (date(LAST_YEAR + 1, 1, 1) - date(FIRST_YEAR, 1, 1)).days
_WEEKDAY_PATTERN = bytes((date(FIRST_YEAR, 1, 1).weekday() + n) % 7 < 5 for n in range(7))


class OutOfCalendar(ValueError):
    """An instant or a result lies outside the years a calendar covers."""


class CalendarError(ValueError):
    """Calendar data contradicts itself; the message names the day and the remedy."""


class Measure(Protocol):
    """A way to count time: natural or working."""

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Counted time in [start, end); zero when end ≤ start."""
        ...

    def after(self, start: datetime, amount: timedelta) -> datetime:
        """The earliest instant ≥ start at which `amount` has been counted since `start`."""
        ...


class NaturalTime:
    """Every second counts (N of domain.md)."""

    def between(self, start: datetime, end: datetime) -> timedelta:
        return max(end - start, timedelta(0))

    def after(self, start: datetime, amount: timedelta) -> datetime:
        try:
            return start + amount
        except OverflowError as error:
            raise OutOfCalendar("the deadline lies beyond the year 9999") from error


NATURAL = NaturalTime()


Spans = tuple[tuple[time, time], ...]
"""office hours of one day, in order"""


@dataclass(frozen=True, slots=True)
class CalendarData:
    """What a calendar is made of. Source: the State Council's yearly notice (国务院办公厅关于节假日安排的通知).

    `holidays` and `workdays` map a day to its name in Chinese; a workday is a Saturday or Sunday that is worked (补班).
    Years not in `published_years` have no notice yet: weekdays are used and results are provisional. `closures` and
    `extra_days` are local and win over the lists of the State Council. `later_hours` are office hours from a day on.
    """

    version: str
    holidays: Mapping[date, str]
    workdays: Mapping[date, str]
    published_years: frozenset[int]
    hours: Spans = OFFICE_HOURS
    closures: Mapping[date, str] = field(default_factory=dict)
    extra_days: Mapping[date, str] = field(default_factory=dict)
    later_hours: tuple[tuple[date, Spans], ...] = ()

    def __post_init__(self) -> None:
        for free, worked in ((self.holidays, self.workdays), (self.closures, self.extra_days)):
            if both := sorted(free.keys() & worked.keys()):
                raise CalendarError(f"{both[0]} is both a holiday and a working day; keep one of the two")
        for day in sorted(self.holidays.keys() | self.workdays.keys()):
            if day.year not in self.published_years:
                raise CalendarError(f"{day} lies in a year that is not listed as published; add {day.year}")
        for hours in (self.hours, *(hours for _, hours in self.later_hours)):
            check_hours(hours)

    def works(self, day: date) -> bool:
        """Whether offices are open on that day."""
        if day in self.closures:
            return False
        return day in self.extra_days or day in self.workdays or (day.weekday() < 5 and day not in self.holidays)

    def name(self, day: date) -> str:
        """Why the day is an exception, in Chinese; "" for an ordinary one."""
        for days in (self.closures, self.extra_days, self.workdays, self.holidays):
            if day in days:
                return days[day]
        return ""


def check_hours(hours: Spans) -> None:
    """Raises `CalendarError` for office hours that are empty, overlap or run backwards."""
    if not hours:
        raise CalendarError("a calendar needs at least one span of office hours")
    last = time(0)
    for opens, closes in hours:
        if opens < last or closes <= opens:
            raise CalendarError(f"office hours {opens}–{closes} overlap or run backwards; list them in order")
        last = closes


@dataclass(frozen=True)
class WorkingCalendar:
    """Working time of one calendar version (W of domain.md)."""

    data: CalendarData
    _hours: tuple[tuple[tuple[int, int], ...], ...] = field(init=False, repr=False, compare=False)
    _kind: bytearray = field(init=False, repr=False, compare=False)
    """by day: which of `_hours` it has; 0 is a closed day"""
    _cumulative: "array[int]" = field(init=False, repr=False, compare=False)
    """working µs before the start of each day; one entry more than days"""
    _days_before: "array[int]" = field(init=False, repr=False, compare=False)
    """working days before each day; one entry more than days"""

    def __post_init__(self) -> None:
        data = self.data
        eras = [(0, data.hours), *((max(_index_of(day), 0), hours) for day, hours in data.later_hours)]
        hours = tuple(tuple((_of_day(opens), _of_day(closes)) for opens, closes in spans) for _, spans in eras)
        per_day = [0, *(sum(closes - opens for opens, closes in spans) for spans in hours)]
        kind = bytearray()
        for number, (first, _) in enumerate(eras, start=1):
            until = eras[number][0] if number < len(eras) else _DAYS
            kind += bytes(number if _WEEKDAY_PATTERN[(first + n) % 7] else 0 for n in range(until - first))
        for day in {*data.holidays, *data.workdays, *data.closures, *data.extra_days}:
            index = _index_of(day)
            if 0 <= index < _DAYS:
                era = max(number for number, (first, _) in enumerate(eras, start=1) if first <= index)
                kind[index] = era if data.works(day) else 0
        object.__setattr__(self, "_hours", ((), *hours))
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_cumulative", array("q", accumulate((per_day[k] for k in kind), initial=0)))
        object.__setattr__(self, "_days_before", array("l", accumulate((k > 0 for k in kind), initial=0)))

    @property
    def version(self) -> str:
        return self.data.version

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Working time in [start, end); zero when end ≤ start."""
        if end <= start:
            return timedelta(0)
        return timedelta(microseconds=self._worked(_micros(end)) - self._worked(_micros(start)))

    def after(self, start: datetime, amount: timedelta) -> datetime:
        """The earliest instant ≥ start at which `amount` of working time has passed since `start`."""
        if amount <= timedelta(0):
            return start
        target = self._worked(_micros(start)) + amount // _ONE_US
        index = bisect_left(self._cumulative, target) - 1
        if index >= _DAYS:
            raise OutOfCalendar(f"the deadline lies after {LAST_YEAR}")
        left = target - self._cumulative[index]
        of_day = 0
        for opens, closes in self._hours[self._kind[index]]:
            if left <= closes - opens:
                of_day = opens + left
                break
            left -= closes - opens
        return _instant((index + _BASE_DAY) * _DAY_US + of_day)

    def close_of_day(self, start: datetime, days: int) -> datetime:
        """Close of business of the `days`-th working day after the day of `start` (Civil Code, articles 201 and 203).

        The day of the start is never counted, whether it is worked or not. `days` ≥ 1.
        """
        index = _day_index(_micros(start))
        found = bisect_left(self._days_before, self._days_before[index + 1] + days) - 1
        if found >= _DAYS:
            raise OutOfCalendar(f"the deadline lies after {LAST_YEAR}")
        return _instant((found + _BASE_DAY) * _DAY_US + self._hours[self._kind[found]][-1][1])

    def at(self, start: datetime) -> "WorkingCalendar":
        """The calendar that fixes a budget at `start`: this one."""
        return self

    def is_working(self, day: date) -> bool:
        """Whether offices are open on that day."""
        index = _index_of(day)
        if not 0 <= index < _DAYS:
            raise OutOfCalendar(f"{day} lies outside {FIRST_YEAR}–{LAST_YEAR}")
        return self._kind[index] > 0

    def is_provisional(self, start: datetime, end: datetime) -> bool:
        """Whether a day between the two instants lies in a year whose holidays are not published."""
        years = range(start.astimezone(ZONE).year, end.astimezone(ZONE).year + 1)
        return any(year not in self.data.published_years for year in years)

    def legs(self, start: datetime, end: datetime) -> "Iterator[tuple[datetime, datetime, WorkingCalendar]]":
        """The calendars that count [start, end), each with its part: this one."""
        yield start, end, self

    def _worked(self, micros: int) -> int:
        """Working µs from the first day of the calendar to the instant."""
        local = micros + _ZONE_US
        index = local // _DAY_US - _BASE_DAY
        if not 0 <= index < _DAYS:
            raise OutOfCalendar(f"an instant lies outside {FIRST_YEAR}–{LAST_YEAR}")
        total = self._cumulative[index]
        if kind := self._kind[index]:
            of_day = local % _DAY_US
            for opens, closes in self._hours[kind]:
                if of_day <= opens:
                    break
                total += min(of_day, closes) - opens
        return total


_ONE_US = timedelta(microseconds=1)


def _micros(instant: datetime) -> int:
    gone = instant - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _instant(local_micros: int) -> datetime:
    return (_EPOCH + timedelta(microseconds=local_micros - _ZONE_US)).astimezone(ZONE)


def _day_index(micros: int) -> int:
    index = (micros + _ZONE_US) // _DAY_US - _BASE_DAY
    if not 0 <= index < _DAYS:
        raise OutOfCalendar(f"an instant lies outside {FIRST_YEAR}–{LAST_YEAR}")
    return index


def _index_of(day: date) -> int:
    return day.toordinal() - _ORDINAL_OF_DAY_0 - _BASE_DAY


def _of_day(clock_time: time) -> int:
    return (clock_time.hour * 3600 + clock_time.minute * 60 + clock_time.second) * 1_000_000
