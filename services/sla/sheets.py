"""Calendars as people write them, day by day: JSON lists and CSV files, with every fault told by its line.

A calendar of whole years (`years`) lists the State Council's holidays and worked weekends of them; without years it
lists local closures and extra working days.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from services.sla.domain.calendar import FIRST_YEAR, LAST_YEAR, CalendarError, check_hours
from shared.errors import Problem

RULES = {
    **dict.fromkeys(("holiday", "closed", "休", "放假"), False),
    **dict.fromkeys(("workday", "open", "班", "上班", "补班"), True),
}
"""what a day can be: whether it is worked"""

_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", re.ASCII)
_LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: its place, its days (inclusive), whether they are worked, their name."""

    pointer: str
    line: int | None
    first: str
    last: str
    rule: str
    name: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line."""

    pointer: str
    detail: str
    line: int | None = None

    def as_data(self) -> dict[str, Any]:
        return {"pointer": self.pointer, "detail": self.detail} | ({} if self.line is None else {"line": self.line})


def refusal(faults: Sequence[Fault]) -> Problem:
    """422 with all faults."""
    first = faults[0]
    place = first.pointer if first.line is None else f"line {first.line}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    errors = [fault.as_data() for fault in faults]
    return Problem(422, "invalid", f"{place}: {first.detail}{more}", errors=errors)


def years_of(text: str) -> list[int]:
    """Years as in `2027,2028`. Raises `Problem` 422."""
    try:
        years = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise refusal([Fault("/years", f"{text!r} is no list of years; write it as 2027,2028")]) from None
    if any(not FIRST_YEAR <= year <= LAST_YEAR for year in years):
        raise refusal([Fault("/years", f"years lie in {FIRST_YEAR}–{LAST_YEAR}")])
    return years


def entries_of_maps(holidays: Mapping[str, str], workdays: Mapping[str, str]) -> list[Entry]:
    """Entries of `{"holidays": {day: name}, "workdays": {day: name}}`."""
    return [
        Entry(f"/{field}/{day}", None, day, day, rule, name)
        for field, rule, days in (("holidays", "holiday", holidays), ("workdays", "workday", workdays))
        for day, name in days.items()
    ]


def entries_of_csv(data: bytes) -> list[Entry]:
    """Entries of a CSV file (UTF-8 or GB 18030) with the columns day, to (may be empty), rule, name.

    Raises `Problem` when the file cannot be read at all.
    """
    text = None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    if text is None or "\x00" in text:
        raise refusal([Fault("/", "the file is neither UTF-8 nor GB 18030 text; save it as CSV UTF-8")])
    found = []
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        if missing := [name for name in ("day", "rule") if name not in columns]:
            raise refusal(
                [Fault("/", f"the header lacks {', '.join(missing)}; it needs day, rule, and may have to, name", 1)]
            )
        reader.fieldnames = columns
        for row in reader:
            cells = {name: (row.get(name) or "").strip() for name in ("day", "to", "rule", "name")}
            if any(cells.values()):
                place = f"/{reader.line_num}"
                found.append(
                    Entry(
                        place, reader.line_num, cells["day"], cells["to"] or cells["day"], cells["rule"], cells["name"]
                    )
                )
    except csv.Error as error:
        raise refusal([Fault("/", f"the file is no CSV: {error}", 1)]) from error
    return found


def calendar_data(
    version: str, years: Iterable[int], entries: Sequence[Entry], hours: Sequence[Sequence[str]] | None, unit: str
) -> dict[str, Any]:
    """The stored form of a calendar version. Raises `Problem` 422 with every fault by its line."""
    given = sorted(set(years))
    faults: list[Fault] = []
    if unit and given:
        faults.append(
            Fault("/years", "the State Council's years hold for every unit; a unit has closures and extra days")
        )
    free: dict[date, str] = {}
    worked: dict[date, str] = {}
    places: dict[date, Entry] = {}
    for entry in entries:
        fault = _read(entry, given, free, worked, places)
        if fault is not None:
            faults.append(Fault(entry.pointer, fault, entry.line))
    faults += [
        Fault("/years", f"{year} has no holiday at all; a published year has at least 元旦 and 春节: list them")
        for year in given
        if not any(day.year == year for day in free)
    ]
    if not faults and not entries and not hours:
        faults.append(Fault("/", "nothing changes: give days, or office hours"))
    if hours:
        faults += _faults_of_hours(hours)
    if faults:
        raise refusal(faults)
    return {
        "version": version,
        "years": given,
        "holidays": {day.isoformat(): name for day, name in sorted(free.items())},
        "workdays": {day.isoformat(): name for day, name in sorted(worked.items())},
    } | ({"hours": [list(span) for span in hours]} if hours else {})


def _read(
    entry: Entry, years: Sequence[int], free: dict[date, str], worked: dict[date, str], places: dict[date, Entry]
) -> str | None:
    """Adds the entry's days; or what is wrong with it."""
    try:
        first, last = _day(entry.first), _day(entry.last)
    except ValueError as error:
        return str(error)
    works = RULES.get(entry.rule)
    if works is None:
        return f"{entry.rule!r} is no rule; write holiday or workday"
    if last < first:
        return f"{entry.last} comes before {entry.first}: the days end before they start"
    if last - first > _LONGEST:
        return "is longer than a year; split it"
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if (other := places.get(day)) is not None:
            where = f"line {other.line}" if other.line is not None else other.pointer
            return f"{day} has two rules, here and at {where}; keep one of the two"
        if years and day.year not in years:
            return f"{day} lies in a year that is not listed in years; add {day.year}"
        if years and works and day.weekday() < 5:
            return f"{day} ({entry.name}) is a weekday and worked anyway; workdays are Saturdays and Sundays"
        places[day] = entry
        (worked if works else free)[day] = entry.name or ("补班" if works else "停办")
    return None


def _day(text: str) -> date:
    found = _DAY.fullmatch(text)
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError(f"{text!r} is no day; write it as 2027-01-01")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"{day} lies outside {FIRST_YEAR}–{LAST_YEAR}")
    return day


def _faults_of_hours(hours: Sequence[Sequence[str]]) -> list[Fault]:
    spans = []
    for index, span in enumerate(hours):
        try:
            opens, closes = (time.fromisoformat(text) for text in span)
        except ValueError:
            return [Fault(f"/hours/{index}", 'must be two times of day such as ["09:00", "12:00"]')]
        if opens.tzinfo or closes.tzinfo or opens.microsecond or closes.microsecond:
            return [Fault(f"/hours/{index}", "times of day are local, to the second")]
        spans.append((opens, closes))
    try:
        check_hours(tuple(spans))
    except CalendarError as error:
        return [Fault("/hours", str(error))]
    return []
