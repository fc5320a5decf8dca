"""The region that a text speaks of, for `POST /v1/classify`; appeals come with theirs from intake."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared import regions
from shared.clock import Clock


class Places:
    """The region directory, read when it is first asked for (it is large, and a worker never needs it)."""

    def __init__(self, home: str, city: Path, clock: Clock) -> None:
        self._home = home
        self._city = city
        self._clock = clock
        self._directory: regions.RegionDirectory | None = None
        self._lock = asyncio.Lock()

    async def region_of(self, text: str) -> str:
        """Code of the region named in `text`, the own platform's when none is."""
        async with self._lock:
            if self._directory is None:
                self._directory = await asyncio.to_thread(regions.of_city, self._city, self._clock.now().date())
        directory = self._directory
        return await asyncio.to_thread(lambda: directory.resolve(text[:4_000], self._home).region_code)
