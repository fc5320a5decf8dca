"""The rules in force at an instant: policies and calendars by their effective dates.

Every replica keeps the short list in memory and reads it again every few seconds and after its own writes.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from services.sla.calendars import published_calendar
from services.sla.domain.calendar import CalendarData, CalendarError, WorkingCalendar
from services.sla.domain.lifecycle import Terms
from services.sla.domain.policy import Policy
from services.sla.tables import calendars, policies

log = logging.getLogger(__name__)

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dated:
    """One version of a rule and from when on it holds."""

    effective_from: datetime
    version: str
    value: Any
    created_by: str = "system"


def default_policy() -> Policy:
    """The table of domain.md."""
    text = (Path(__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")
    return Policy.from_data(yaml.safe_load(text))


def calendar_with(data: Mapping[str, Any], base: WorkingCalendar) -> WorkingCalendar:
    """A calendar in which the years of `data` replace those of `base`.

    Raises `CalendarError` with the day and the remedy.
    """
    years = frozenset(int(year) for year in data["years"])
    kept_holidays = {day: name for day, name in base.data.holidays.items() if day.year not in years}
    kept_workdays = {day: name for day, name in base.data.workdays.items() if day.year not in years}
    new = CalendarData(
        version=str(data["version"]),
        holidays=_days(data["holidays"]),
        workdays=_days(data["workdays"]),
        published_years=years,
    )
    for day, name in new.workdays.items():
        if day.weekday() < 5:
            raise CalendarError(f"{day} ({name}) is a weekday and worked anyway; workdays are Saturdays and Sundays")
    return WorkingCalendar(
        replace(
            base.data,
            version=new.version,
            holidays={**kept_holidays, **new.holidays},
            workdays={**kept_workdays, **new.workdays},
            published_years=base.data.published_years | years,
        )
    )


def _days(given: Mapping[str, str]) -> dict[date, str]:
    result: dict[date, str] = {}
    for text, name in given.items():
        try:
            result[date.fromisoformat(text)] = name
        except ValueError as error:
            raise CalendarError(f"{text!r} is no day; write it as 2027-01-01") from error
    return result


class TermsBook:
    """Finds the policy and the calendar that hold at an instant."""

    def __init__(self, policy: Policy) -> None:
        self._first_policy = Dated(ALWAYS, policy.version, policy)
        self._first_calendar = Dated(ALWAYS, published_calendar().version, published_calendar())
        self.policies: list[Dated] = [self._first_policy]
        self.calendars: list[Dated] = [self._first_calendar]
        self.fresh = asyncio.Event()
        self._parsed: dict[tuple[str, str], Any] = {}

    def at(self, instant: datetime) -> Terms:
        """The latest versions that are effective at `instant`."""
        return Terms(_holding(self.policies, instant).value, _holding(self.calendars, instant).value)

    def forget(self) -> None:
        """A version was added here: `fresh` is set until `read` saw it."""
        self.fresh.set()

    async def read(self, pg: Any) -> None:
        """Read the stored versions again."""
        policy_rows, calendar_rows = [
            await pg.fetch(
                "SELECT version, data::text, effective_from, created_by"
                f" FROM {table.fullname} ORDER BY effective_from, created_at"
            )
            for table in (policies, calendars)
        ]
        found = [self._first_policy]
        for row in policy_rows:
            found.append(self._dated(row, "policy", found[-1]))
        self.policies = found
        found = [self._first_calendar]
        for row in calendar_rows:
            found.append(self._dated(row, "calendar", found[-1]))
        self.calendars = found

    def _dated(self, row: Mapping[str, Any], what: str, before: Dated) -> Dated:
        key = (f"{what}/{before.version}", row["version"])
        if key not in self._parsed:
            data = orjson.loads(row["data"])
            self._parsed[key] = Policy.from_data(data) if what == "policy" else calendar_with(data, before.value)
        return Dated(row["effective_from"], row["version"], self._parsed[key], row["created_by"])


def _holding(versions: Sequence[Dated], instant: datetime) -> Dated:
    return next((v for v in reversed(versions) if v.effective_from <= instant), versions[0])
