"""sla with several replicas that come and go: each (order, clock, round, level) once and in order."""

import asyncio
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

from shared.events.catalog import work_orders
from shared.events.event import Message
from shared.service.process import build_service
from shared.service.runner import Runner
from shared.testing.harness import Harness
from tests.integration.sla.orders import CLOCKS, Order

MS = timedelta(milliseconds=1)


async def _replica(hub: Harness) -> Runner:
    runner = Runner(await build_service("sla", hub.settings, hub.clock, hub.transport), hub.transport)
    await runner.start()
    return runner


def _once_and_in_order(messages: list[Message[Any]]) -> dict[str, list[tuple[str, int, int]]]:
    """Escalations by order, after checking that none is repeated and none comes before its lower level."""
    raised: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for message in messages:
        if message.type == "clock.escalated":
            data = message.data
            raised[message.key].append((data.clock, data.round, data.level))
    for levels in raised.values():
        assert len(set(levels)) == len(levels)
        for clock, round_, level in levels:
            assert level == 1 or levels.index((clock, round_, level - 1)) < levels.index((clock, round_, level))
    return raised


async def test_levels_are_announced_once_by_replicas_that_come_and_go(server_url: str) -> None:
    async with Harness.fresh(server_url, "sla") as hub:
        orders = [Order(hub, handling_class="urgent", channel="web") for _ in range(200)]
        for order in orders:
            await order.dispatched()
        second = await _replica(hub)
        try:
            await hub.settle()
            for minutes in (5, 120, 70, 200, 60):
                hub.clock.advance(minutes * 60)
                await asyncio.sleep(0.3)
                await second.stop()  # in the middle of its work
                second = await _replica(hub)
            await hub.settle(60)
        finally:
            await second.stop()
        messages = await hub.events(CLOCKS)
        raised = _once_and_in_order(messages)
        everything = {(clock, 1, level) for clock in ("accept", "first_contact", "complete") for level in (1, 2, 3)}
        assert {order.id: everything for order in orders} == {key: set(levels) for key, levels in raised.items()}
        assert any(m.data.late for m in messages if m.type == "clock.escalated")  # minutes passed at once


async def test_after_an_outage_only_what_was_not_met_in_time_is_announced(server_url: str) -> None:
    """sla is away while 100 orders come due; each is completed within 50 ms of its deadline, unseen."""
    async with Harness.fresh(server_url, "sla") as hub:
        rng = random.Random(5)
        orders = [Order(hub, handling_class="urgent", channel="web") for _ in range(100)]
        for order in orders:
            await order.dispatched()
            await order.says(work_orders.WorkOrderAccepted)
            await order.says(work_orders.WorkOrderContacted)
        await hub.settle()
        await hub.runners["sla"].stop()
        offsets = {}
        for order in orders:
            assert order.received_at is not None
            offsets[order.id] = rng.choice([-50, -1, 0, 1, 50])
            await order.completed(time=order.received_at + timedelta(hours=2) + offsets[order.id] * MS)
        hub.clock.advance(6 * 3600)
        again = await _replica(hub)
        try:
            await hub.settle(60)
        finally:
            await again.stop()
        raised = _once_and_in_order(await hub.events(CLOCKS))
        assert set(raised) == {order_id for order_id, offset in offsets.items() if offset > 0}
        assert {tuple(levels) for levels in raised.values()} == {(("complete", 1, 1),)}
        for order in orders:
            [stopped] = [m for m in await order.told() if m.type == "clock.stopped" and m.data.clocks == ["complete"]]
            assert stopped.data.in_time == (offsets[order.id] <= 0)
