"""The tree of GB/T 2260 divisions: lookup, ancestry, containment and platform membership."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Protocol

from shared.regions.resolver import Place, PlaceResolver, Region

__all__ = ["DivisionDirectory", "Place", "Region", "RegionDirectory", "load"]


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

    def resolve(self, text: str, home: str, lon: float | None = None, lat: float | None = None) -> Place:
        """The place ``text`` (an address or a whole appeal) speaks of, seen from platform ``home``."""


class DivisionDirectory:
    """``RegionDirectory`` over rows held in memory."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = {region.code: region for region in regions}
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

    def resolve(self, text: str, home: str, lon: float | None = None, lat: float | None = None) -> Place:
        resolver = self._resolvers.get(home)
        if resolver is None:
            resolver = self._resolvers[home] = PlaceResolver(self._regions, self.ancestors, home)
        return resolver.resolve(text, lon, lat)

    def extended(self, regions: Iterable[Region]) -> DivisionDirectory:
        """A new directory with a city's own regions (communities, development zones) added or replaced."""
        return DivisionDirectory([*self._regions.values(), *regions])

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
def load() -> RegionDirectory:
    """The directory of the shipped divisions file (September 2026, 41,963 rows); read once per process."""
    packed = files("shared.regions").joinpath("divisions.csv.gz").read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode("utf-8")))
    next(rows)
    return DivisionDirectory(
        Region(code, name, int(level), parent, float(lon) if lon else None, float(lat) if lat else None)
        for code, name, level, parent, lon, lat in rows
    )
