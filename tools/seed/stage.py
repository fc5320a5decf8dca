"""Where the stories are played: the real services on a database of their own, with a clock that this module turns."""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any

from shared.clock import ManualClock
from shared.testing.harness import Harness

Story = AsyncGenerator[float | datetime, None]
"""What people do, one step after the other; between two steps it yields how many seconds to wait, or until when."""


class RecordingClock(ManualClock):
    """Remembers when (real time) it was turned to what, so that what was written at a real instant finds its business
    instant afterwards: UUIDv7s and a few columns carry real time."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.turned: list[tuple[int, datetime]] = [(0, start)]
        """(real ms, business instant), rising"""

    def set(self, instant: datetime) -> None:
        super().set(instant)
        self.turned.append((time.time_ns() // 1_000_000, self.now()))


class StoryFailed(Exception):
    """The hub did not do what the story needs."""


class Stage:
    """Plays stories beside each other: all steps of one instant together, then on to the next timer or step."""

    def __init__(self, hub: Harness, clock: RecordingClock) -> None:
        self.hub = hub
        self.clock = clock
        self._order = itertools.count()
        self._waiting: list[tuple[datetime, int, Story]] = []

    def at(self, instant: datetime, story: Story) -> None:
        """Begin a story at `instant`."""
        heapq.heappush(self._waiting, (instant, next(self._order), story))

    async def play(self, until: datetime, say: Callable[[float], None]) -> None:
        """All stories, then on to `until`; stories that are not over then are left as they are."""
        start = self.clock.now()
        while self._waiting and self._waiting[0][0] <= until:
            instant = self._waiting[0][0]
            await self._turn(instant)
            now: list[Story] = []
            while self._waiting and self._waiting[0][0] <= instant:
                now.append(heapq.heappop(self._waiting)[2])
            await asyncio.gather(*(self._step(story) for story in now))
            await self.hub.settle()
            say((instant - start) / (until - start))
        await self._turn(until)

    async def _turn(self, instant: datetime) -> None:
        if instant > self.clock.now():
            await self.hub.advance((instant - self.clock.now()).total_seconds())

    async def _step(self, story: Story) -> None:
        try:
            pause = await anext(story)
        except StopAsyncIteration:
            return
        now = self.clock.now()
        if not isinstance(pause, datetime):
            pause = datetime.fromtimestamp(now.timestamp() + pause, now.tzinfo)
        self.at(max(pause, now), story)

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, who: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """One request to the hub. Raises `StoryFailed` for any refusal."""
        answer = await self.hub.http.request(method, path, json=body, headers=who or self.hub.admin)
        if answer.status_code >= 300:
            raise StoryFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told
