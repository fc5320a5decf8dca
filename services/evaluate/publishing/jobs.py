"""Work that may take longer than a request: whoever asks joins it, waits a while, and hears how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from services.evaluate.publishing.ledger import Progress

WAIT_S = 20.0
"""how long a request waits for the answer before it is told how far the work is"""
Work = Callable[[Progress], Awaitable[dict[str, Any]]]


class Jobs:
    """One piece of work per name at a time, in this process. It ends with the process and goes on where it stopped when
    it is asked for again."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._reached: dict[str, tuple[int, int]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, name: str, work: Work) -> dict[str, Any] | tuple[int, int]:
        """The answer, or (position reached, position wanted) while it is being read. Raises what the work raises."""
        if name not in self._tasks:
            self._reached[name] = (0, 0)
            self._tasks[name] = asyncio.create_task(self._run(name, work))
        task = self._tasks[name]
        await asyncio.wait({task}, timeout=WAIT_S)
        if not task.done():
            return self._reached[name]
        if self._tasks.get(name) is task:
            del self._tasks[name]
        return await task

    async def _run(self, name: str, work: Work) -> dict[str, Any]:
        def progress(at: int, of: int) -> None:
            self._reached[name] = (at, of)

        async with self._one_at_a_time:
            return await work(progress)

    async def stop(self) -> None:
        """End all of it."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
