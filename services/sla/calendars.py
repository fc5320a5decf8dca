"""Turns the published holiday lists of the `chinesecalendar` package into the calendar data of the domain."""

from functools import lru_cache

from chinese_calendar.constants import holidays, workdays

from services.sla.domain.calendar import CalendarData, WorkingCalendar

_NAMES = {
    "New Year's Day": "元旦",
    "Spring Festival": "春节",
    "Tomb-sweeping Day": "清明",
    "Labour Day": "劳动节",
    "Dragon Boat Festival": "端午",
    "National Day": "国庆",
    "Mid-autumn Festival": "中秋",
    "Anti-Fascist 70th Day": "抗战胜利纪念日",
}


def published_data() -> CalendarData:
    """Holidays and 调休 days of every year the installed package knows; later years stay provisional."""
    closed = {day: _name(name) for day, name in holidays.items()}
    worked = {day: _name(name) for day, name in workdays.items()}
    years = frozenset(day.year for day in closed)
    return CalendarData(version=f"state-council-{max(years)}", holidays=closed, workdays=worked, published_years=years)


@lru_cache(maxsize=1)
def published_calendar() -> WorkingCalendar:
    """The national calendar; built once per process (about 30 ms)."""
    return WorkingCalendar(published_data())


def _name(english: object) -> str:
    # the package gives the enum's value; its text is the English name
    text = str(getattr(english, "value", english))
    return _NAMES.get(text, text)
