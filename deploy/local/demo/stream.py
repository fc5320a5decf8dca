"""What happens in the demo: about one appeal a second, and stories that show the whole loop within two minutes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from deploy.local.demo.people import Gone, People, Posted
from shared.clock import rfc3339

log = logging.getLogger(__name__)

GAP_S = 1.0
CALM_AFTER = 900
"""After this many appeals the citizens calm down to CALM_GAP_S: a forgotten laptop stays small."""
CALM_GAP_S = 10.0
MOST_AT_ONCE = 200
STORIES_EVERY_S = 75.0
DISPATCHED_WITHIN_S = 20.0
URGENT_BUDGET = timedelta(hours=2)
YELLOW_SHARE = 0.75

WORDS = (
    "the demo posts about one invented appeal a second and plays the units: orders are accepted, done and rated; "
    "within two minutes you see a yellow and a red lamp with its supervision, a return, a dispute with its ruling, and "
    "a second handling after a bad rating. SUSHU_DEMO_STREAM=off runs without it."
)


class DemoStream:
    """Posts and plays until cancelled. A hub that is away or refuses ends a story, never the stream."""

    def __init__(self, client: httpx.AsyncClient, platform: str, *, now: Callable[[], datetime] | None = None) -> None:
        self._people = People(client, platform)
        self._now = now or (lambda: datetime.now(UTC))
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """The stream; cancelling it gives up the open stories."""
        try:
            await asyncio.gather(self._everyday(), self._stories())
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _everyday(self) -> None:
        number = 0
        while True:
            if len(self._running) < MOST_AT_ONCE:
                self._begin(self._ordinary())
                number += 1
            gap = GAP_S if number < CALM_AFTER else CALM_GAP_S
            await asyncio.sleep(gap * random.uniform(0.5, 1.5))

    async def _stories(self) -> None:
        told: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (2, self._turns_red),
            (4, self._turns_yellow),
            (6, self._second_handling),
            (9, self._dispute),
            (12, self._returned),
        ]
        while True:
            began = asyncio.get_running_loop().time()
            for offset, story in told:
                await asyncio.sleep(max(0.0, began + offset - asyncio.get_running_loop().time()))
                self._begin(story())
            await asyncio.sleep(max(0.0, began + STORIES_EVERY_S - asyncio.get_running_loop().time()))

    def _begin(self, story: Awaitable[None]) -> None:
        async def play() -> None:
            try:
                await story
            except Gone as why:
                log.info("a demo story was given up", extra={"error": str(why)})

        task = asyncio.create_task(play())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # -- what people do ------------------------------------------------------------------------------------------------

    async def _ordinary(self) -> None:
        """Most appeals: accepted, contacted, done, rated well. Some wait longer than others, as in life."""
        code, text = self._people.sentence()
        channel = random.choice(("web", "app", "wechat", "phone"))
        posted = await self._people.post(text, code, channel=channel)
        order = await self._dispatched(posted, review_after_s=random.uniform(8, 25))
        if random.random() < 0.25:
            return  # nobody takes this one up: its clocks run
        await asyncio.sleep(random.uniform(3, 20))
        await self._done(order)
        if channel == "phone":
            await asyncio.sleep(random.uniform(2, 10))
            await self._people.call_back(posted, satisfaction=random.choice((3, 4, 5)))
        else:
            await self._rated(posted, solved=True, satisfaction=random.choice((3, 4, 5, 5)))

    async def _turns_red(self) -> None:
        """First handled, then written down (先处置后补单) almost two hours ago: red, and supervised, within seconds."""
        await self._handled_before(URGENT_BUDGET - timedelta(seconds=15))

    async def _turns_yellow(self) -> None:
        posted = await self._handled_before(URGENT_BUDGET * YELLOW_SHARE - timedelta(seconds=10))
        order = await self._dispatched(posted)
        await asyncio.sleep(90)
        await self._done(order)

    async def _handled_before(self, ago: timedelta) -> Posted:
        code, place = self._people.place()
        action = {
            "taken_at": rfc3339(self._now() - ago),
            "by": "网格员",
            "what": "已疏散周边人员并设置警戒线，等待专业人员处置",
        }
        return await self._people.post(
            f"{place}一家小餐馆发生燃气泄漏，气味很浓，网格员已先行处置", code, channel="grid", emergency_action=action
        )

    async def _returned(self) -> None:
        """The first unit says it is not theirs; the chain runs again at once without it."""
        order = await self._dispatched(await self._post_clear_case("流动摊贩占道"))
        await asyncio.sleep(3)
        order = await self._return(order, "not_my_duty")
        await asyncio.sleep(8)
        await self._done(order)

    async def _dispute(self) -> None:
        """Two units return it; the centre rules, and its ruling binds."""
        order = await self._dispatched(await self._post_clear_case("油烟"))
        first = order["lead"]
        await asyncio.sleep(3)
        order = await self._return(order, "not_my_duty")
        await asyncio.sleep(4)
        order = await self._return(order, "not_my_territory")
        await asyncio.sleep(6)
        order = await self._people.rule(await self._people.order(order["id"]), first)
        await asyncio.sleep(4)
        await self._done(await self._people.order(order.get("work_order_id") or order["id"]))

    async def _second_handling(self) -> None:
        """Done says the unit, not solved says the citizen: the order opens again and is done better."""
        posted = await self._post_clear_case("路灯不亮")
        order = await self._dispatched(posted)
        await asyncio.sleep(2)
        order = await self._done(order)
        await self._rated(posted, solved=False, satisfaction=1)
        order = await self._until(order["id"], lambda now: now["status"] == "reopened")
        await asyncio.sleep(10)
        await self._people.handle(
            order, "complete", result="已更换损坏的线路和灯具，并与市民现场确认恢复照明", solved=True
        )
        await self._rated(posted, solved=True, satisfaction=5)

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _post_clear_case(self, subject: str) -> Posted:
        code, text = self._people.sentence(containing=subject)
        return await self._people.post(text, code, channel="web")

    async def _dispatched(self, posted: Posted, *, review_after_s: float = 3.0) -> dict[str, Any]:
        """The appeal's order once a unit has it; a reviewer helps when the model was not sure."""
        began = asyncio.get_running_loop().time()
        reviewed = False
        while True:
            waited = asyncio.get_running_loop().time() - began
            orders = (await self._people.appeal(posted)).get("work_orders") or []
            if orders and orders[0]["status"] == "dispatched":
                return await self._people.order(orders[0]["id"])
            if orders and orders[0]["status"] not in ("pending", "dispatched"):
                raise Gone(f"{posted.reference_no} is {orders[0]['status']} already")
            if waited > review_after_s and not reviewed:
                reviewed = True
                await self._people.review(posted)
            if waited > review_after_s + DISPATCHED_WITHIN_S:
                raise Gone(f"{posted.reference_no} was not dispatched in time")
            await asyncio.sleep(1)

    async def _return(self, order: dict[str, Any], reason: str) -> dict[str, Any]:
        return await self._people.handle(order, "return", reason=reason, note="经核实不属于本单位职责")

    async def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        """Accept, speak with the citizen, complete."""
        if order["status"] == "dispatched":
            order = await self._people.handle(order, "accept")
        order = await self._people.handle(order, "contact", note="已电话联系市民，说明处理安排")
        await asyncio.sleep(random.uniform(2, 12))
        return await self._people.handle(
            order, "complete", result="已到现场处理完毕，问题已解决，感谢市民监督", solved=True
        )

    async def _rated(self, posted: Posted, *, solved: bool, satisfaction: int) -> None:
        for _ in range(15):
            await asyncio.sleep(2)
            if await self._people.rate(posted, solved=solved, satisfaction=satisfaction):
                return
        raise Gone(f"{posted.reference_no} has no open rating")

    async def _until(self, order_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(30):
            order = await self._people.order(order_id)
            if holds(order):
                return order
            await asyncio.sleep(1)
        raise Gone(f"order {order_id} did not change as expected")
