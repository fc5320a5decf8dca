"""How a calendar changes: a layer over the one before it, of whole years or of single days (domain.md, SLA).

A layer comes into force at an instant and changes nothing that was counted by then: the first day it can change is the
one that begins at or after its instant. Only days of a provisional year, which were counted for want of better, are
counted again when the year is published. So used time is neither lost nor gained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from services.sla.domain.calendar import ZONE, CalendarData, CalendarError, Spans


@dataclass(frozen=True, slots=True)
class Layer:
    """One version of the platform's or of a unit's calendar.

    With `years`, `free` and `worked` are the State Council's lists of those whole years; without, they are local
    closures and extra working days that win over the lists. `hours`: other office hours from then on.
    """

    version: str
    effective_from: datetime
    years: frozenset[int] = frozenset()
    free: Mapping[date, str] = field(default_factory=dict)
    worked: Mapping[date, str] = field(default_factory=dict)
    hours: Spans | None = None

    @property
    def first_day(self) -> date:
        """The first day that is not yet counted in part when the layer comes into force."""
        local = self.effective_from.astimezone(ZONE)
        return local.date() if local.time() == time(0) else local.date() + timedelta(days=1)

    def over(self, base: CalendarData, *, version: str | None = None) -> CalendarData:
        """The calendar with this layer. Raises `CalendarError` for a gap between published years."""
        data = self._of_years(base) if self.years else self._of_days(base)
        if self.hours is not None:
            eras = tuple(era for era in data.later_hours if era[0] < self.first_day)
            data = replace(data, later_hours=(*eras, (self.first_day, self.hours)))
        return replace(data, version=version or self.version)

    def already_counted(self, base: CalendarData) -> list[date]:
        """Days given here that stay as they were, because they were counted by then."""
        after = self.over(base)
        return [
            day
            for day in sorted({*self.free, *self.worked})
            if day < self.first_day and after.works(day) != (day in self.worked)
        ]

    def _of_years(self, base: CalendarData) -> CalendarData:
        published = base.published_years | self.years
        between = range(max(base.published_years, default=min(self.years)) + 1, max(self.years))
        if gap := [year for year in between if year not in published]:
            raise CalendarError(f"{gap[0]} is missing before {max(self.years)}: publish it first, or with it")

        def kept(day: date) -> bool:
            return day.year not in self.years or (day < self.first_day and day.year in base.published_years)

        def merged(before: Mapping[date, str], given: Mapping[date, str]) -> dict[date, str]:
            mine = {day: name for day, name in given.items() if not kept(day)}
            return {day: name for day, name in before.items() if kept(day)} | mine

        return replace(
            base,
            holidays=merged(base.holidays, self.free),
            workdays=merged(base.workdays, self.worked),
            published_years=published,
        )

    def _of_days(self, base: CalendarData) -> CalendarData:
        free = {day: name for day, name in self.free.items() if day >= self.first_day}
        worked = {day: name for day, name in self.worked.items() if day >= self.first_day}
        return replace(
            base,
            closures={day: name for day, name in base.closures.items() if day not in worked} | free,
            extra_days={day: name for day, name in base.extra_days.items() if day not in free} | worked,
        )
