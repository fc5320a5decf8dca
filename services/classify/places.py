"""The region that a text speaks of, for `POST /v1/classify`; appeals come with theirs from intake."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared import regions
from shared.clock import Clock


class Places:
    """The city's divisions, read when they are first asked for (they are large, and a worker never needs them) and
    again when they change."""

    def __init__(self, home: str, city: Path, clock: Clock) -> None:
        self._home = home
        self._city = city
        self._clock = clock
        self._divisions: regions.CityDivisions | None = None
        self._lock = asyncio.Lock()

    async def region_of(self, text: str) -> str:
        """Code of the region named in `text`, the own platform's when none is."""
        async with self._lock:
            present = await asyncio.to_thread(self._present)
        return await asyncio.to_thread(lambda: present.resolve(text[:4_000], self._home).region_code)

    def _present(self) -> regions.RegionDirectory:
        if self._divisions is None:
            self._divisions = regions.CityDivisions(self._city, self._clock)
        return self._divisions.today()
