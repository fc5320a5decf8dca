"""Duty list and emergency roster from a CSV file.

Columns: `list,matter,region,lead` and, may be left out, `co_handlers,hours,valid_from,valid_to,note`. `list` is `duty`
or `roster`; `matter` a prefix of matter codes (empty: any); `{platform}` in a cell is the platform's code; `hours`
bounds a roster row inside the day, `20:00-08:00`.
"""

from dataclasses import dataclass
from datetime import time

from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.sheets import LineError, clock, day, filled, rows, words
from services.dispatch.domain.units import UnitDirectory

REQUIRED = ("list", "matter", "region", "lead")


@dataclass(frozen=True, slots=True)
class DutySheet:
    duties: tuple[Duty, ...]
    errors: tuple[LineError, ...]


def read_duties(text: str, platform: str, units: UnitDirectory) -> DutySheet:
    """Reads and checks a whole file; the entry's id is its line.

    Raises SheetError when it is no CSV with the required columns.
    """
    duties: list[Duty] = []
    errors: list[LineError] = []
    for line, row in rows(text, REQUIRED):
        cells = filled(row, {"platform": platform})
        faults = [LineError(line, column, detail) for column, detail in _faults(cells, units)]
        try:
            start, end = _hours(cells.get("hours", ""))
            valid_from, valid_to = day(cells.get("valid_from", "")), day(cells.get("valid_to", ""))
        except ValueError as error:
            faults.append(LineError(line, "hours/valid_from/valid_to", str(error)))
        if faults:
            errors += faults
            continue
        duties.append(
            Duty(
                id=f"{platform}-{line:04d}",
                kind=DutyKind(cells["list"]),
                matter=cells["matter"],
                region_code=cells["region"],
                lead=cells["lead"],
                co_handlers=words(cells.get("co_handlers", "")),
                valid_from=valid_from,
                valid_to=valid_to,
                from_time=start,
                to_time=end,
                note=cells.get("note", ""),
            )
        )
    return DutySheet(tuple(duties), tuple(errors))


def _faults(cells: dict[str, str], units: UnitDirectory) -> list[tuple[str, str]]:
    faults = []
    if cells["list"] not in set(DutyKind):
        faults.append(("list", f"{cells['list']!r} is none of {', '.join(DutyKind)}"))
    if cells["matter"] and not cells["matter"].isdecimal():
        faults.append(("matter", f"{cells['matter']!r} is no matter code or prefix of one"))
    if not cells["region"]:
        faults.append(("region", "is empty"))
    for code in (cells["lead"], *words(cells.get("co_handlers", ""))):
        if units.get(code) is None:
            faults.append(("lead", f"{code!r} is no unit"))
    return faults


def _hours(cell: str) -> tuple[time | None, time | None]:
    if not cell:
        return None, None
    start, separator, end = cell.partition("-")
    if not separator:
        raise ValueError(f"{cell!r} is no span; write it as 20:00-08:00")
    return clock(start.strip()), clock(end.strip())
