"""When citizens may be called, and the working days within which units may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.feedback.domain.values import MAX_ATTEMPTS, Method, Round

CLOSE_OF_BUSINESS = time(17, 30)


@dataclass(frozen=True, slots=True)
class HalfDay:
    day: date
    afternoon: bool


@dataclass(frozen=True, slots=True)
class CallingHours:
    """When a citizen may be called: 09:00–21:00 of the zone, two half-days split at 13:30 (domain.md, Feedback)."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    opens: time = time(9)
    split: time = time(13, 30)
    closes: time = time(21)

    def half_day(self, at: datetime) -> HalfDay | None:
        """The half-day of `at`, or None outside the hours."""
        local = at.astimezone(self.zone)
        if not self.opens <= local.time() < self.closes:
            return None
        return HalfDay(local.date(), local.time() >= self.split)

    def next_start(self, since: datetime, tried: Iterable[HalfDay] = ()) -> datetime:
        """The earliest instant ≥ `since` inside the hours and outside the half-days already tried."""
        used = set(tried)
        here = self.half_day(since)
        if here is not None and here not in used:
            return since
        day = since.astimezone(self.zone).date()
        while True:
            for afternoon, starts in ((False, self.opens), (True, self.split)):
                start = datetime.combine(day, starts, self.zone)
                if start >= since and HalfDay(day, afternoon) not in used:
                    return start
            day += timedelta(days=1)

    def left(self, at: datetime) -> timedelta:
        """How long calls may still be made at `at` that day; zero outside the hours."""
        if self.half_day(at) is None:
            return timedelta(0)
        return datetime.combine(at.astimezone(self.zone).date(), self.closes, self.zone) - at

    def next_attempt(self, asked: Round) -> datetime | None:
        """When a seat may next try to reach the citizen of an open round. None: nobody asks but the link, or all
        attempts beside it were made."""
        if asked.seat_medium is None or (asked.method is Method.LINK and len(asked.attempts) >= MAX_ATTEMPTS):
            return None
        tried = [half for a in asked.attempts if (half := self.half_day(a.at)) is not None]
        return self.next_start(asked.attempts[-1].at if asked.attempts else asked.completion.at, tried)


def working_days_after(start: datetime, days: int, is_working_day: Callable[[date], bool], zone: ZoneInfo) -> datetime:
    """Close of business of the n-th working day after `start` (days W of domain.md, SLA)."""
    day, left = start.astimezone(zone).date(), days
    while left:
        day += timedelta(days=1)
        left -= is_working_day(day)
    return datetime.combine(day, CLOSE_OF_BUSINESS, zone)
