"""What people do with the appeals while the stack is under fire: review, accept, contact, complete, rate."""

import asyncio
import random
import uuid
from typing import Any

import orjson

from tests.bench import load
from tests.chaos.ledger import Ledger, Write

FOLLOWED_CHANNELS = ("web", "app", "wechat")
"""their citizens rate by link; who phones is called back, by day only"""
PATIENCE_S = 120.0


class Lives:
    """Lives of some of the stored appeals, one after another in `Ledger`'s order, about `rate` begun a second.

    Every act is a write of the ledger. A life whose act got no promise ends there: whether it happened, the judge
    does not know either.
    """

    def __init__(self, ledger: Ledger, client: load.Client, rate: float) -> None:
        self.ledger = ledger
        self.client = client
        self.rate = rate
        self.chance = random.Random(ledger.seed + 1)
        self.begun = 0
        self.ended = 0
        """lives that went as far as they were meant to"""
        self._lives: set[asyncio.Task[None]] = set()
        self._used: set[str] = set()
        self._stopping = False

    async def run(self) -> None:
        """Begin lives until `stop`."""
        while not self._stopping:
            await asyncio.sleep(1 / self.rate)
            appeal = await self._next()
            if appeal is not None:
                self.begun += 1
                task = asyncio.create_task(self._live(appeal))
                self._lives.add(task)
                task.add_done_callback(self._lives.discard)

    async def _next(self) -> Write | None:
        """The newest stored appeal of a citizen who rates by link; the others stay open."""
        queue = self.ledger.fresh
        newest: Write | None = None
        while not queue.empty():
            write = queue.get_nowait()
            if orjson.loads(write.body)["channel"] in FOLLOWED_CHANNELS:
                newest = write
        return newest

    async def stop(self) -> None:
        """Begin no more and let those that are going on end."""
        self._stopping = True
        while self._lives:
            done, _ = await asyncio.wait(list(self._lives))
            for task in done:
                task.result()

    async def _live(self, write: Write) -> None:
        assert write.first is not None
        appeal = write.first["id"]
        order = await self._order(appeal)
        if order is None:
            return
        share = self.chance.random()
        for act, body in (
            ("accept", {}),
            ("contact", {"note": "已电话联系市民"}),
            ("complete", {"result": "已派人现场处理完毕", "solved": True}),
        ):
            await self._think()
            if not await self._act(order, act, body):
                return
            if share < 0.15 and act == "accept":
                self.ended += 1  # begun and left: its other clocks run on
                return
        bad = share > 0.85
        if not await self._rate(write.first, order, solved=not bad):
            return
        if bad:
            await self._think()
            if await self._reopened(order):
                await self._act(order, "complete", {"result": "已再次处理并复核", "solved": True})
                if not await self._rate(write.first, order, solved=True):
                    return
        self.ended += 1

    async def _order(self, appeal: str) -> str | None:
        """The appeal's order once a unit has it; a reviewer decides first where the machine was not sure."""
        reviewed = False
        for _ in range(int(PATIENCE_S / 2)):
            await asyncio.sleep(2)
            case = await self._get(f"/v1/appeals/{appeal}")
            if case is None or not case["work_orders"]:
                continue
            order = case["work_orders"][0]
            if order["status"] == "dispatched":
                return str(order["id"])
            if order["status"] == "pending" and not reviewed:
                if self.chance.random() < 0.5:
                    return None  # nobody looks at this one: its review clock runs
                reviewed = True
                matter = {"matter": case["labels"]["matter"]["code"]}
                if not await self._write("label.reviewed", appeal, f"/v1/reviews/{appeal}", matter):
                    return None
        return None

    async def _reopened(self, order: str) -> bool:
        for _ in range(int(PATIENCE_S / 2)):
            await asyncio.sleep(2)
            found = await self._get(f"/v1/work-orders/{order}")
            if found is not None and found["status"] == "reopened":
                return True
        return False

    async def _rate(self, posted: dict[str, Any], order: str, *, solved: bool) -> bool:
        """By the link of the tracking page, like a citizen."""
        query = f"reference_no={posted['reference_no']}&query_code={posted['query_code']}"
        for _ in range(int(PATIENCE_S / 2)):
            await asyncio.sleep(2)
            told = await self._get(f"/v1/track?{query}")
            url = (told or {}).get("rating_url")
            if url and url not in self._used:
                self._used.add(url)
                answer = {"contacted": True, "solved": solved, "satisfaction": 5 if solved else 1}
                return await self._write("feedback.answered", posted["id"], f"/v1/ratings/{_token(url)}", answer)
        return False

    async def _act(self, order: str, act: str, body: dict[str, Any]) -> bool:
        names = {"accept": "accepted", "contact": "contacted", "complete": "completed"}
        return await self._write(f"work_order.{names[act]}", order, f"/v1/work-orders/{order}/{act}", body)

    async def _write(self, what: str, subject: str, path: str, body: dict[str, Any]) -> bool:
        headers = f"Idempotency-Key: {uuid.UUID(int=self.chance.getrandbits(128))}\r\n"
        return await self.ledger.send(Write(what, subject, path, orjson.dumps(body), headers), retried=0.85)

    async def _get(self, path: str) -> dict[str, Any] | None:
        status, body = await self.client.request("GET", path, timeout=10)
        return orjson.loads(body) if status == 200 else None

    async def _think(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.3, 6))


def _token(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[1]
