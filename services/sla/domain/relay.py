"""Working time of an order that went from one unit to another with other office days: each counts what it led.

So a re-dispatch neither loses nor gains used time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.sla.domain.calendar import WorkingCalendar


@dataclass(frozen=True, slots=True)
class RelayCalendar:
    """`earlier`: (until when, by which calendar), in order; `last` from then on. A measure like `WorkingCalendar`."""

    earlier: tuple[tuple[datetime, WorkingCalendar], ...]
    last: WorkingCalendar

    @property
    def version(self) -> str:
        """One for each leg: an order that went back to its first unit is counted in another way than before."""
        return "、".join((*(calendar.version for _, calendar in self.earlier), self.last.version))

    def legs(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, WorkingCalendar]]:
        """The calendars that count [start, end), each with its part."""
        for until, calendar in self.earlier:
            if start < min(until, end):
                yield start, min(until, end), calendar
                start = until
        if start < end:
            yield start, end, self.last

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Working time in [start, end); zero when end ≤ start."""
        return sum((c.between(since, until) for since, until, c in self.legs(start, end)), timedelta(0))

    def after(self, start: datetime, amount: timedelta) -> datetime:
        """The earliest instant ≥ start at which `amount` of working time has passed since `start`."""
        for until, calendar in self.earlier:
            if until <= start:
                continue
            available = calendar.between(start, until)
            if amount <= available:
                return calendar.after(start, amount)
            start, amount = until, amount - available
        return self.last.after(start, amount)

    def at(self, start: datetime) -> WorkingCalendar:
        """The calendar of the unit that led at `start`: the budget is fixed by it."""
        return next((calendar for until, calendar in self.earlier if start < until), self.last)

    def is_provisional(self, start: datetime, end: datetime) -> bool:
        """Whether a day between the two instants lies in a year whose holidays are not published."""
        return any(c.is_provisional(since, until) for since, until, c in self.legs(start, end))


Calendar = WorkingCalendar | RelayCalendar
"""what counts working time for an order"""
