"""The live line of `make run`: counts that follow the journal, like any other subscriber of it."""

import asyncio
import shutil
import sys
import time
from collections import Counter
from typing import Any

import httpx

LINE_EVERY_S = 10.0
"""Where the output is no terminal a line is printed this often; on a terminal one line is rewritten."""
ASK_EVERY_S = 1.0

_SHOWN = {
    "received": "appeal.received",
    "dispatched": "work_order.dispatched",
    "opened for review": "work_order.opened",
    "yellow": "clock.turned_yellow",
    "red": "clock.turned_red",
    "returned": "work_order.returned",
    "ruled": "work_order.ruled",
    "second handling": "work_order.reopened",
    "rated": "feedback.answered",
}
"""word of the line → the event that is counted"""


class LiveLine:
    """Follows `GET /v1/events/counts` and shows the counts until cancelled."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._counts: Counter[str] = Counter()

    def line(self) -> str:
        """The counts in one line."""
        return " · ".join(f"{word} {self._counts[kind]}" for word, kind in _SHOWN.items())

    async def run(self) -> None:
        """Runs beside the hub; a journal that does not answer is asked again."""
        after, shown, terminal = "latest", 0.0, sys.stdout.isatty()
        while True:
            try:
                found = await self._ask(after)
            except (httpx.HTTPError, ValueError):
                await asyncio.sleep(ASK_EVERY_S)
                continue
            self._counts.update(found["counts"])
            after = found["next"]
            if terminal:
                # a line that wraps cannot be rewritten
                print(f"\r\x1b[2K{self.line()[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            elif time.monotonic() - shown >= LINE_EVERY_S:
                shown = time.monotonic()
                print(self.line(), flush=True)
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self, after: str) -> dict[str, Any]:
        answer = await self._client.get("/v1/events/counts", params={"after": after})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
