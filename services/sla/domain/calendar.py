"""Working time: weekday office hours minus State Council holidays plus 调休 working days (domain.md, SLA).

Instants are aware datetimes, amounts are timedeltas. Inside, a calendar is a line of cumulative working microseconds
by day, so that counting is two look-ups and a deadline is one bisection.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
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


@dataclass(frozen=True, slots=True)
class CalendarData:
    """What a calendar is made of. Source: the State Council's yearly notice (国务院办公厅关于节假日安排的通知).

    `holidays` and `workdays` map a day to its name in Chinese; a workday is a Saturday or Sunday that is worked (补班).
    Years not in `published_years` have no notice yet: weekdays are used and results are provisional.
    """

    version: str
    holidays: Mapping[date, str]
    workdays: Mapping[date, str]
    published_years: frozenset[int]
    hours: tuple[tuple[time, time], ...] = OFFICE_HOURS

    def __post_init__(self) -> None:
        both = sorted(self.holidays.keys() & self.workdays.keys())
        if both:
            raise CalendarError(f"{both[0]} is both a holiday and a working day; keep one of the two")
        for day in sorted(self.holidays.keys() | self.workdays.keys()):
            if day.year not in self.published_years:
                raise CalendarError(f"{day} lies in a year that is not listed as published; add {day.year}")
        if not self.hours:
            raise CalendarError("a calendar needs at least one span of office hours")
        last = time(0)
        for opens, closes in self.hours:
            if opens < last or closes <= opens:
                raise CalendarError(f"office hours {opens}–{closes} overlap or run backwards; list them in order")
            last = closes


@dataclass(frozen=True)
class WorkingCalendar:
    """Working time of one calendar version (W of domain.md)."""

    data: CalendarData
    _spans: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    _working: bytes = field(init=False, repr=False, compare=False)
    _cumulative: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spans = tuple((_of_day(opens), _of_day(closes)) for opens, closes in self.data.hours)
        per_day = sum(closes - opens for opens, closes in spans)
        working = bytearray()
        cumulative = [0]  # cumulative[i] = working µs before the start of day i; one entry more than days
        for offset in range((date(LAST_YEAR + 1, 1, 1) - date(FIRST_YEAR, 1, 1)).days):
            day = date.fromordinal(_ORDINAL_OF_DAY_0 + _BASE_DAY + offset)
            works = day in self.data.workdays or (day.weekday() < 5 and day not in self.data.holidays)
            working.append(works)
            cumulative.append(cumulative[-1] + (per_day if works else 0))
        object.__setattr__(self, "_spans", spans)
        object.__setattr__(self, "_working", bytes(working))
        object.__setattr__(self, "_cumulative", cumulative)

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
        if index >= len(self._working):
            raise OutOfCalendar(f"the deadline lies after {LAST_YEAR}")
        left = target - self._cumulative[index]
        of_day = 0
        for opens, closes in self._spans:
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
        per_day = self._per_day
        target = self._cumulative[index + 1] + days * per_day
        found = bisect_left(self._cumulative, target) - 1
        if found >= len(self._working):
            raise OutOfCalendar(f"the deadline lies after {LAST_YEAR}")
        return _instant((found + _BASE_DAY) * _DAY_US + self._spans[-1][1])

    def is_working(self, day: date) -> bool:
        """Whether offices are open on that day."""
        index = day.toordinal() - _ORDINAL_OF_DAY_0 - _BASE_DAY
        if not 0 <= index < len(self._working):
            raise OutOfCalendar(f"{day} lies outside {FIRST_YEAR}–{LAST_YEAR}")
        return bool(self._working[index])

    def is_provisional(self, start: datetime, end: datetime) -> bool:
        """Whether a day between the two instants lies in a year whose holidays are not published."""
        years = range(start.astimezone(ZONE).year, end.astimezone(ZONE).year + 1)
        return any(year not in self.data.published_years for year in years)

    @property
    def _per_day(self) -> int:
        return sum(closes - opens for opens, closes in self._spans)

    def _worked(self, micros: int) -> int:
        """Working µs from the first day of the calendar to the instant."""
        local = micros + _ZONE_US
        index = local // _DAY_US - _BASE_DAY
        if not 0 <= index < len(self._working):
            raise OutOfCalendar(f"an instant lies outside {FIRST_YEAR}–{LAST_YEAR}")
        total = self._cumulative[index]
        if self._working[index]:
            of_day = local % _DAY_US
            for opens, closes in self._spans:
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
    if not 0 <= index < (date(LAST_YEAR + 1, 1, 1) - date(FIRST_YEAR, 1, 1)).days:
        raise OutOfCalendar(f"an instant lies outside {FIRST_YEAR}–{LAST_YEAR}")
    return index


def _of_day(clock_time: time) -> int:
    return (clock_time.hour * 3600 + clock_time.minute * 60 + clock_time.second) * 1_000_000
