"""The live line of `make run`: counts that follow the event feed, like any other subscriber of it."""

import asyncio
import sys
import time
from collections import Counter
from typing import Any

import httpx

LINE_EVERY_S = 10.0
"""Where the output is no terminal a line is printed this often; on a terminal one line is rewritten."""
WAIT_S = 1
PAGE = 1000
_TYPES = (
    "appeal.received,label.classified,label.reviewed,work_order.opened,work_order.dispatched,work_order.returned,"
    "work_order.ruled,work_order.reopened,work_order.closed,clock.turned_yellow,clock.turned_red,feedback.answered"
)


class Counts:
    """What the feed has told so far."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.in_review: set[str] = set()
        self.dispatched: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """Count one CloudEvent. A repeat changes little: what is shown as a state is kept as a set."""
        kind, subject = event["type"], event["subject"]
        self.seen[kind] += 1
        if kind == "label.classified" and event["data"]["after"].get("needs_review"):
            self.in_review.add(subject)
        elif kind == "label.reviewed":
            self.in_review.discard(subject)
        elif kind == "work_order.dispatched":
            self.dispatched.add(subject)

    def line(self) -> str:
        """The counts in one line."""
        return (
            f"received {self.seen['appeal.received']} · dispatched {len(self.dispatched)} · "
            f"yellow {self.seen['clock.turned_yellow']} · red {self.seen['clock.turned_red']} · "
            f"in review {len(self.in_review)} · returned {self.seen['work_order.returned']} · "
            f"ruled {self.seen['work_order.ruled']} · second handling {self.seen['work_order.reopened']} · "
            f"rated {self.seen['feedback.answered']}"
        )


class LiveLine:
    """Follows `GET /v1/events` and shows the counts until cancelled."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._counts = Counts()

    async def run(self) -> None:
        """Runs beside the hub; a feed that does not answer is asked again."""
        after, shown, terminal = "", 0.0, sys.stdout.isatty()
        while True:
            try:
                page = await self._page(after)
            except (httpx.HTTPError, ValueError):
                await asyncio.sleep(1)
                continue
            for event in page["items"]:
                self._counts.take(event)
            after = page["next"] or after
            if len(page["items"]) == PAGE:
                continue  # still catching up with what an earlier run left
            if terminal:
                print(f"\r\x1b[2K{self._counts.line()}", end="", flush=True)
            elif time.monotonic() - shown >= LINE_EVERY_S:
                shown = time.monotonic()
                print(self._counts.line(), flush=True)
            if page["items"]:
                await asyncio.sleep(0.5)

    async def _page(self, after: str) -> dict[str, Any]:
        answer = await self._client.get(
            "/v1/events", params={"after": after, "types": _TYPES, "limit": PAGE, "wait_s": WAIT_S}
        )
        answer.raise_for_status()
        page: dict[str, Any] = answer.json()
        return page
