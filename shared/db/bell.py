"""A bell that other processes hear: PostgreSQL's NOTIFY outside any transaction, at most once in 5 ms.

Inside the writing transaction a NOTIFY would make all commits wait for each other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)

GAP_S = 0.005


class Bell:
    """Rings `channel` with the words gathered since it last rang. `execute(sql, *values)` runs a statement."""

    def __init__(self, channel: str, execute: Callable[..., Awaitable[Any]]) -> None:
        self.channel = channel
        self._execute = execute
        self._words: set[str] = set()
        self._wanted = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self, words: set[str]) -> None:
        """Ring at once, or with the next ring when it has just rung."""
        self._words |= words
        self._wanted = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring(), name=f"bell-{self.channel}")

    async def _ring(self) -> None:
        while self._wanted:
            words, self._words, self._wanted = self._words, set(), False
            try:
                await self._execute("SELECT pg_notify($1, $2)", self.channel, ",".join(sorted(words)))
            except Exception as error:  # whoever listens looks by himself, only later
                log.debug("nobody was told", extra={"channel": self.channel, "error": str(error)})
            await asyncio.sleep(GAP_S)

    async def stop(self) -> None:
        """Ring no more."""
        if self._ringing is not None:
            self._ringing.cancel()
            await asyncio.gather(self._ringing, return_exceptions=True)
