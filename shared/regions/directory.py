"""The tree of GB/T 2260 divisions: lookup, ancestry, containment and platform membership."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from shared.clock import ZONE, Clock, loop_time
from shared.regions.resolver import Place, PlaceResolver, Region

__all__ = [
    "Change",
    "CityDivisions",
    "DivisionDirectory",
    "Place",
    "Region",
    "RegionDirectory",
    "load",
    "of_city",
    "with_own",
]

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""real seconds between two looks at the city's own list"""


class RegionDirectory(Protocol):
    """What a source of regions answers. Pure lookups: no I/O after construction, safe to share between tasks.

    A code that is not listed, such as a community's, is treated as a child of its longest known prefix (9, 6, 4 or 2
    digits), so a city may use codes of communities before it imports their names.
    """

    def get(self, code: str) -> Region | None:
        """The region of this exact code; None when it is not listed."""

    def ancestors(self, code: str) -> tuple[str, ...]:
        """Codes above ``code``, nearest first, without itself; empty for a province or an unknown code."""

    def is_within(self, code: str, root: str) -> bool:
        """Whether ``code`` is ``root`` or lies below it."""

    def children(self, code: str) -> tuple[Region, ...]:
        """Direct children in code order."""

    def platform_of(self, code: str, platform_codes: Collection[str]) -> str | None:
        """The platform that answers for ``code``: itself or its nearest ancestor among ``platform_codes``."""

    def current(self, code: str) -> str:
        """What ``code`` is called today: a division that was dissolved or renumbered lives on in another one."""

    def resolve(self, text: str, home: str, lon: float | None = None, lat: float | None = None) -> Place:
        """The place ``text`` (an address or a whole appeal) speaks of, seen from platform ``home``."""


@dataclass(frozen=True, slots=True)
class Change:
    """A division that is another one since a day: dissolved, merged, or under a new number. Its old name is still used
    by people, its old code by other systems."""

    since: date
    old_code: str
    old_name: str
    new_code: str


class DivisionDirectory:
    """``RegionDirectory`` over rows held in memory. ``names``: what people call a place (a road, an estate) → code."""

    def __init__(
        self, regions: Iterable[Region], changes: Iterable[Change] = (), names: Mapping[str, str] | None = None
    ) -> None:
        self._regions = {region.code: region for region in regions}
        self._changes = {change.old_code: change for change in changes if change.old_code not in self._regions}
        self._names = dict(names or {})
        self._children: dict[str, list[Region]] = {}
        for region in self._regions.values():
            self._children.setdefault(region.parent, []).append(region)
        self._resolvers: dict[str, PlaceResolver] = {}

    def get(self, code: str) -> Region | None:
        return self._regions.get(code)

    def ancestors(self, code: str) -> tuple[str, ...]:
        above: list[str] = []
        current = self._parent(code)
        while current:
            above.append(current)
            current = self._regions[current].parent
        return tuple(above)

    def is_within(self, code: str, root: str) -> bool:
        return code == root or root in self.ancestors(code)

    def children(self, code: str) -> tuple[Region, ...]:
        return tuple(sorted(self._children.get(code, ()), key=lambda region: region.code))

    def platform_of(self, code: str, platform_codes: Collection[str]) -> str | None:
        if code in platform_codes:
            return code
        return next((above for above in self.ancestors(code) if above in platform_codes), None)

    def current(self, code: str) -> str:
        seen = {code}
        while code in self._changes and self._changes[code].new_code not in seen:
            code = self._changes[code].new_code
            seen.add(code)
        return code

    def resolve(self, text: str, home: str, lon: float | None = None, lat: float | None = None) -> Place:
        resolver = self._resolvers.get(home)
        if resolver is None:
            former = [(change.old_name, self.current(code)) for code, change in self._changes.items()]
            resolver = self._resolvers[home] = PlaceResolver(
                self._regions, self.ancestors, home, former=former, names=self._names
            )
        return resolver.resolve(text, lon, lat)

    def extended(self, regions: Iterable[Region]) -> DivisionDirectory:
        """A new directory with a city's own regions (communities, development zones) added or replaced."""
        return DivisionDirectory([*self._regions.values(), *regions], self._changes.values(), self._names)

    def with_names(self, names: Mapping[str, str]) -> DivisionDirectory:
        """A new directory that also knows what people call places: name → code of the region it lies in."""
        return DivisionDirectory(self._regions.values(), self._changes.values(), names)

    def all(self) -> tuple[Region, ...]:
        return tuple(self._regions.values())

    def changes(self) -> tuple[Change, ...]:
        return tuple(self._changes.values())

    def _parent(self, code: str) -> str:
        region = self._regions.get(code)
        if region is not None:
            return region.parent
        for length, tail in ((9, ""), (6, ""), (4, "00"), (2, "0000")):
            prefix = code[:length] + tail
            if len(code) > length and prefix != code and prefix in self._regions:
                return prefix
        return ""


@lru_cache(maxsize=1)
def load() -> DivisionDirectory:
    """The directory of the shipped divisions file (September 2026, 41,963 rows) and of the changes before it that
    people and other systems may not have followed; read once per process."""
    packed = files("shared.regions").joinpath("divisions.csv.gz").read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode("utf-8")))
    next(rows)
    regions = [
        Region(code, name, int(level), parent, float(lon) if lon else None, float(lat) if lat else None)
        for code, name, level, parent, lon, lat in rows
    ]
    listed = csv.DictReader(io.StringIO(files("shared.regions").joinpath("changes.csv").read_text("utf-8")))
    changes = [
        Change(date.fromisoformat(row["since"]), row["old_code"], row["old_name"], row["new_code"]) for row in listed
    ]
    return DivisionDirectory(regions, changes)


def of_city(folder: Path, on: date) -> DivisionDirectory:
    """The shipped divisions, with the file `regions.csv` of a city's folder if it has one, as they hold `on` a day.

    Raises ValueError that names the first wrong line.
    """
    own = folder / "regions.csv"
    if not own.is_file():
        return load()
    try:
        return with_own(load(), own.read_text("utf-8-sig"), on)
    except ValueError as error:
        raise ValueError(f"{own}: {error}") from error


class CityDivisions:
    """The divisions of a city's folder as they hold today: read again when the day or its `regions.csv` has changed.

    Raises ValueError at the start as `of_city` does; a file that is wrong later leaves the last sound one in use.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._state = self._look()
        self.present = of_city(folder, self._state[0])

    def today(self) -> DivisionDirectory:
        """The directory of this day; the same object while nothing has changed. Reads a file."""
        state = self._look()
        if state != self._state:
            self._state = state
            try:
                self.present = of_city(self.folder, state[0])
            except (OSError, ValueError) as error:
                log.error("the city's divisions cannot be read, the last ones stay", extra={"error": str(error)})
        return self.present

    async def follow(self, use: Callable[[DivisionDirectory], None]) -> None:
        """Hand over each later directory when it comes into force, for ever: work for a service's background."""
        used = self.present
        looked = loop_time() - LOOK_S
        while True:
            # a clock that is turned ends each pause: of the file only a new day needs an early look
            if self._day() != self._state[0] or loop_time() >= looked + LOOK_S:
                looked = loop_time()
                if (present := await asyncio.to_thread(self.today)) is not used:
                    used = present
                    use(used)
            await self._clock.pause(max(0.0, looked + LOOK_S - loop_time()))

    def _day(self) -> date:
        return self._clock.now().astimezone(ZONE).date()

    def _look(self) -> tuple[date, int, int]:
        day = self._day()
        try:
            found = (self.folder / "regions.csv").stat()
        except OSError:
            return day, 0, 0
        return day, found.st_mtime_ns, found.st_size


OWN_COLUMNS = ("code", "name", "level", "parent", "lon", "lat", "valid_from", "valid_to", "became")


def with_own(directory: DivisionDirectory, text: str, on: date) -> DivisionDirectory:
    """The directory with a city's own file (`regions.csv`: header `OWN_COLUMNS`) as it holds `on` a day: communities,
    development zones, and divisions that changed. `valid_to` is the last day, `became` the code it has from then on.

    Raises ValueError that names the first wrong line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    if tuple(name.strip() for name in next(reader, [])) != OWN_COLUMNS:
        raise ValueError(f"line 1: the header must be exactly {','.join(OWN_COLUMNS)}")
    added: list[Region] = []
    changes: list[Change] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            code, name, level, parent, lon, lat, first, last, became = (cell.strip() for cell in cells)
            if not (code.isascii() and code.isdigit() and name and parent):
                raise ValueError("code (digits), name and parent are needed")
            if last and date.fromisoformat(last) < on:
                if became:
                    changes.append(Change(date.fromisoformat(last), code, name, became))
            elif not first or date.fromisoformat(first) <= on:
                point = (float(lon), float(lat)) if lon and lat else (None, None)
                added.append(Region(code, name, int(level), parent, *point))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    gone = {change.old_code for change in changes}
    kept = [region for region in directory.all() if region.code not in gone]
    return DivisionDirectory([*kept, *added], [*directory.changes(), *changes])
