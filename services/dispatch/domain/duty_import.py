"""Duty list and emergency roster from a CSV file.

Columns: `list,matter,region,lead` and, may be left out, `co_handlers,hours,valid_from,valid_to,note`. `list` is `duty`
or `roster`; `matter` a prefix of matter codes (empty: any); `{platform}` in a cell is the platform's code; `hours`
bounds a roster row inside the day, `20:00-08:00`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, time

from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.matters import NO_MATTERS, Matters
from services.dispatch.domain.regions import Regions
from services.dispatch.domain.sheets import LineError, clock, day, filled, rows, words
from services.dispatch.domain.units import UnitDirectory, UnitKind

REQUIRED = ("list", "matter", "region", "lead")


@dataclass(frozen=True, slots=True)
class DutySheet:
    duties: tuple[Duty, ...]
    errors: tuple[LineError, ...]


def read_duties(
    text: str, platform: str, units: UnitDirectory, regions: Regions, matters: Matters = NO_MATTERS
) -> DutySheet:
    """Reads and checks a whole file; the entry's id is its line.

    Raises SheetError when it is no CSV with the required columns.
    """
    duties: list[Duty] = []
    lines: list[int] = []
    errors: list[LineError] = []
    for line, row in rows(text, REQUIRED):
        cells = filled(row, {"platform": platform})
        faults = [
            LineError(line, column, detail) for column, detail in _faults(cells, platform, units, regions, matters)
        ]
        dates: dict[str, date | None] = {"valid_from": None, "valid_to": None}
        for column in dates:
            try:
                dates[column] = day(cells.get(column, ""))
            except ValueError as error:
                faults.append(LineError(line, column, str(error)))
        try:
            start, end = _hours(cells.get("hours", ""))
        except ValueError as error:
            faults.append(LineError(line, "hours", str(error)))
        valid_from, valid_to = dates.values()
        if valid_from and valid_to and valid_to < valid_from:
            faults.append(LineError(line, "valid_to", f"{valid_to} lies before {valid_from}"))
        if faults:
            errors += faults
            continue
        lines.append(line)
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
    return DutySheet(tuple(duties), (*errors, *_overlaps(duties, lines)))


@dataclass(frozen=True, slots=True)
class DutyDiff:
    """What an import changes: entries by what they say, whatever their ids."""

    added: tuple[Duty, ...]
    removed: tuple[Duty, ...]
    unchanged: int


def compare_duties(present: Iterable[Duty], imported: Sequence[Duty]) -> DutyDiff:
    """An import takes the place of what was imported before; entries of rulings and of persons stay."""
    said = {_saying(duty): duty for duty in imported}
    before = {_saying(duty): duty for duty in present if duty.source == "import"}
    return DutyDiff(
        tuple(duty for saying, duty in said.items() if saying not in before),
        tuple(duty for saying, duty in before.items() if saying not in said),
        len(said.keys() & before.keys()),
    )


def _saying(duty: Duty) -> Duty:
    return replace(duty, id="", source="import")


def _overlaps(duties: Sequence[Duty], lines: Sequence[int]) -> list[LineError]:
    """Two entries of one list for the same matter and region at the same time: nobody could say which holds."""
    faults = []
    seen: dict[tuple[DutyKind, str, str], list[tuple[Duty, int]]] = {}
    for duty, line in zip(duties, lines, strict=True):
        others = seen.setdefault((duty.kind, duty.matter, duty.region_code), [])
        for other, at in others:
            if _days_meet(duty, other) and _hours_meet(duty, other):
                faults.append(LineError(line, "matter", f"overlaps line {at}: same list, matter, region and time"))
                break
        others.append((duty, line))
    return faults


def _days_meet(one: Duty, other: Duty) -> bool:
    first, last = date.min, date.max
    return max(one.valid_from or first, other.valid_from or first) <= min(one.valid_to or last, other.valid_to or last)


def _hours_meet(one: Duty, other: Duty) -> bool:
    return any(
        start < other_end and other_start < end
        for start, end in _spans(one)
        for other_start, other_end in _spans(other)
    )


def _spans(duty: Duty) -> list[tuple[int, int]]:
    """Its hours in minutes of the day; a span over midnight is two."""
    if duty.from_time is None or duty.to_time is None or duty.from_time == duty.to_time:
        return [(0, 1440)]
    start, end = (at.hour * 60 + at.minute for at in (duty.from_time, duty.to_time))
    return [(start, end)] if start < end else [(start, 1440), (0, end)]


def _faults(
    cells: dict[str, str], platform: str, units: UnitDirectory, regions: Regions, matters: Matters
) -> list[tuple[str, str]]:
    faults = []
    if cells["list"] not in set(DutyKind):
        faults.append(("list", f"{cells['list']!r} is none of {', '.join(DutyKind)}"))
    if (wrong := matters.fault(cells["matter"])) is not None:
        faults.append(("matter", wrong))
    if not cells["region"]:
        faults.append(("region", "is empty"))
    elif not regions.is_within(cells["region"], platform):
        faults.append(("region", f"{cells['region']!r} is no region of this platform"))
    for column, code in (
        ("lead", cells["lead"]),
        *(("co_handlers", code) for code in words(cells.get("co_handlers", ""))),
    ):
        unit = units.get(code)
        if unit is None or unit.kind is UnitKind.PROVIDER:
            faults.append((column, f"{code!r} is no unit that can handle orders"))
    return faults


def _hours(cell: str) -> tuple[time | None, time | None]:
    if not cell:
        return None, None
    start, separator, end = cell.partition("-")
    if not separator:
        raise ValueError(f"{cell!r} is no span; write it as 20:00-08:00")
    return clock(start.strip()), clock(end.strip())
