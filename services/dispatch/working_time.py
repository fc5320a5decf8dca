"""Working time of the return window (domain.md, SLA, Working calendar); sla keeps the calendar of the deadlines."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import chinese_calendar

from shared.clock import ZONE

SHIFTS = ((time(9, 0), time(12, 0)), (time(13, 30), time(17, 30)))


@lru_cache(maxsize=4096)
def is_working_day(day: date) -> bool:
    """Weekdays minus State Council holidays plus 调休 days; plain weekdays in a year that is not published yet."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.weekday() < 5


def after_working_time(start: datetime, worked: timedelta) -> datetime:
    """The instant, in UTC, at which `worked` working time has passed since `start` (aware)."""
    local = start.astimezone(ZONE)
    day, left = local.date(), worked
    while True:
        if is_working_day(day):
            for opens, closes in SHIFTS:
                begin = max(datetime.combine(day, opens, ZONE), local)
                end = datetime.combine(day, closes, ZONE)
                if begin < end:
                    if left <= end - begin:
                        return (begin + left).astimezone(UTC)
                    left -= end - begin
        day += timedelta(days=1)
