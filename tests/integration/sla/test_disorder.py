"""Disorder and races: what events say decides, not when they are read.

`SLA_HISTORIES=2000` and `SLA_RACES=10000` widen the runs.
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.clock import ManualClock, rfc3339
from shared.events.catalog import ratings, work_orders
from shared.events.event import Event
from shared.testing.harness import Harness
from tests.integration.sla.orders import CLOCKS, Order

START = datetime(2026, 9, 23, 2, 0, tzinfo=UTC)
H = timedelta(hours=1)
MS = timedelta(milliseconds=1)
HISTORIES = int(os.environ.get("SLA_HISTORIES", "12"))
RACES = int(os.environ.get("SLA_RACES", "60"))
SPAN = timedelta(days=25)
STEPS = (
    *("accept", "contact", "return", "suspend", "resume", "extend", "class", "complete", "dispute", "hand over"),
    "complete",
)


@dataclass
class Recorder:
    """Takes events as a harness would, and keeps them."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    said: list[tuple[datetime, Event, str, int]] = field(default_factory=list)

    async def emit(self, event: Event, *, key: str, sequence: int, time: datetime | None = None) -> None:
        self.said.append((time or self.clock.now(), event, key, sequence))


async def _history(rng: random.Random, recorder: Recorder) -> Order:
    """One order's life, told at its own times."""
    order = Order(recorder, handling_class=rng.choice(["urgent", "livelihood", "general", "complex"]))  # type: ignore[arg-type]
    order.unit = rng.choice(["u-1", "u-2"])
    at = START + timedelta(seconds=rng.randrange(86_400))
    order.received_at = at

    def later() -> datetime:
        nonlocal at
        at += timedelta(seconds=rng.choice([1, 600, 7_200, 86_400, 200_000]) + rng.random())
        return at

    if rng.random() < 0.2:  # 先处置后补单
        order.changes["taken_at"] = at - timedelta(minutes=rng.randrange(3_000))
    dispatches = 0

    async def dispatched(cause: str, **snap: Any) -> None:
        nonlocal dispatches
        dispatches += 1
        snap |= {"dispatch_no": dispatches}
        await order.says(
            work_orders.WorkOrderDispatched, cause=cause, time=later() if dispatches > 1 else at, snap=snap
        )

    async def relabelled() -> None:
        before, handling_class = order.handling_class, rng.choice(["urgent", "livelihood", "general", "complex"])
        order.handling_class = handling_class
        await order.says(work_orders.WorkOrderRelabelled, time=later(), before_class=before, before_matter="0101")

    await dispatched("routing")
    for _ in range(rng.randint(1, 9)):
        match rng.choice(STEPS):
            case "accept":
                await order.says(work_orders.WorkOrderAccepted, time=later())
            case "contact":
                await order.says(work_orders.WorkOrderContacted, time=later())
            case "return":
                await order.says(
                    work_orders.WorkOrderReturned, time=later(), unit=order.unit, reason_code="not_my_duty"
                )
                await dispatched("return", lead=rng.choice(["u-1", "u-2", "u-3"]))
            case "suspend":
                since = later()
                await order.says(work_orders.WorkOrderSuspended, time=since, until=since + rng.randint(1, 100) * H)
            case "resume":
                await order.says(work_orders.WorkOrderResumed, time=later())
            case "extend":
                await order.says(work_orders.WorkOrderExtended, time=later(), seconds=rng.randint(60, 90_000))
            case "class":
                await relabelled()
            case "dispute":
                await order.says(work_orders.WorkOrderDisputed, time=later(), dispute_id="d")
                await order.says(work_orders.WorkOrderRuled, time=later(), dispute_id="d", scope="case")
            case "hand over":
                offer = work_orders.HandoffState(id="h", platform="460200", state="offered")
                await dispatched("review", lead="centre", handoff=offer)
                if rng.random() < 0.5:
                    accepted = msgspec.structs.replace(offer, state="accepted")
                    await order.says(work_orders.WorkOrderHandedOff, time=later(), snap={"handoff": accepted})
                    return order
                # refused: nothing of it but a note, and the order stays with the centre
                refused = msgspec.structs.replace(offer, state="refused")
                await order.says(work_orders.WorkOrderProgressed, time=later(), snap={"handoff": refused})
            case _:
                await order.completed(time=later())
                if rng.random() < 0.3:
                    await relabelled()
                if rng.random() < 0.7:
                    await order.feedback(ratings.FeedbackAttempted, time=later(), attempt=1, outcome="reached")
                if rng.random() < 0.3:
                    await relabelled()
                if rng.random() < 0.5:
                    break
                order.round += 1
                await order.says(
                    work_orders.WorkOrderReopened,
                    time=later(),
                    appeal_id=order.appeal_id,
                    snap={"round": order.round},
                )
    return order


def _disordered(
    rng: random.Random, said: list[tuple[datetime, Event, str, int]]
) -> list[tuple[datetime, Event, str, int]]:
    """Each event up to 50 places from its own within its key, keys and topics as they fall, some of them twice."""
    places = [
        (place + rng.randrange(50), rng.random(), entry)
        for place, entry in enumerate(said)
        for _ in range(rng.choice([1, 1, 1, 2]))
    ]
    return [entry for _, _, entry in sorted(places, key=lambda place: place[:2])]


async def _final(hub: Harness, orders: list[Order]) -> dict[str, list[tuple[Any, ...]]]:
    rows = await hub.query("SELECT work_order_id, state FROM sla.clock_sets")
    return {
        row["work_order_id"]: sorted(
            (
                *(clock[name] for name in ("name", "round", "due_at", "stopped_at", "lamp", "budget", "extension")),
                sorted(f["level"] for f in clock["firings"] if not f["withdrawn"]),
            )
            for clock in msgspec.json.decode(row["state"])["clocks"]
        )
        for row in rows
    }


async def _rules(hub: Harness) -> None:
    """A policy and a calendar of a unit that come into force in the middle of the histories."""
    policy = (await hub.http.get("/v1/sla/policies", headers=hub.admin)).json()["items"][0]["policy"]
    policy["classes"]["general"]["complete"] = {"working": "P4D"}
    for path, body, day in (
        ("policies", policy | {"version": "middle"}, 5),
        ("calendars", {"version": "u-1-closed", "unit": "u-1", "holidays": {"2026-10-12": "停办"}}, 9),
    ):
        body["effective_from"] = rfc3339(START + timedelta(days=day))
        answer = await hub.http.post(f"/v1/sla/{path}", json=body, headers=hub.admin)
        assert answer.status_code == 201, answer.text
        async with asyncio.timeout(10):
            while str(body["version"]) not in str((await hub.http.get(f"/v1/sla/{path}", headers=hub.admin)).json()):
                await asyncio.sleep(0.02)


async def test_histories_in_disorder_end_as_those_in_order(server_url: str) -> None:
    rng = random.Random(20260923)
    recorder = Recorder()
    orders = [await _history(rng, recorder) for _ in range(HISTORIES)]
    said = sorted(recorder.said, key=lambda entry: (entry[0], entry[3]))
    async with Harness.fresh(server_url, "sla", clock=ManualClock(START)) as hub:
        await _rules(hub)
        for number, (at, event, key, sequence) in enumerate(said):
            hub.clock.set(max(at, hub.clock.now()))
            await hub.emit(event, key=key, sequence=sequence, time=at)
            if number % 40 == 0:
                await hub.settle(120)
        hub.clock.set(START + 4 * SPAN)
        await hub.settle(120)
        in_order = await _final(hub, orders)
    async with Harness.fresh(server_url, "sla", clock=ManualClock(START)) as hub:
        await _rules(hub)
        hub.clock.set(START + 4 * SPAN)
        await asyncio.gather(
            *(
                hub.emit(event, key=key, sequence=sequence, time=at, event_id=f"{key[:-4]}{sequence:04d}")
                for at, event, key, sequence in _disordered(rng, said)
            )
        )
        await hub.settle(120)
        in_disorder = await _final(hub, orders)
    assert set(in_order) == {order.id for order in orders}
    differing = [
        (key, a, b) for key in in_order for a, b in zip(in_order[key], in_disorder[key], strict=True) if a != b
    ]
    assert differing == []


@pytest.mark.parametrize(("before", "after"), [("general", "urgent"), ("urgent", "general"), ("livelihood", "complex")])
@pytest.mark.parametrize("wait", [10 * H, 24 * H, 30 * H, 80 * H])
async def test_a_class_change_read_before_the_feedback_of_an_earlier_completion_changes_nothing(
    server_url: str, before: str, after: str, wait: timedelta
) -> None:
    found = []
    for late in (False, True):
        async with Harness.fresh(server_url, "sla", clock=ManualClock(START)) as hub:
            order = Order(hub, handling_class=before)
            await order.dispatched()
            hub.clock.advance(3600)
            await order.completed(asked=not late)
            if not late:
                await hub.advance(wait.total_seconds())
            await order.says(
                work_orders.WorkOrderRelabelled,
                time=START + H + wait,
                snap={"handling_class": after},
                before_class=before,
                before_matter="0101",
            )
            await hub.settle()
            if late:
                hub.clock.set(START + H + wait)
                await order.feedback(ratings.FeedbackOpened, time=START + H)
                await hub.settle()
            await hub.advance(100 * 3600)
            clocks = await order.clocks()
            kept = ("started_at", "due_at", "lamp", "level", "used_s", "allowed_s")
            stands = await hub.query(
                "SELECT level, raised_at FROM sla.supervisions WHERE clock = 'callback' AND withdrawn_at IS NULL"
            )
            levels = sorted((row["level"], row["raised_at"]) for row in stands)
            found.append(([clocks["callback", 1][name] for name in kept], levels))
    assert found[0] == found[1]


@pytest.mark.parametrize("down", [False, True], ids=["lag", "down for a minute"])
async def test_completing_within_50_ms_of_due_is_judged_by_its_time(server_url: str, down: bool) -> None:
    rng = random.Random(50)
    async with Harness.fresh(server_url, "sla", "evaluate") as hub:
        orders = [Order(hub, handling_class="urgent", channel="web") for _ in range(RACES)]
        for order in orders:
            await order.dispatched()
            await order.says(work_orders.WorkOrderAccepted)
            await order.says(work_orders.WorkOrderContacted)
        await hub.settle(120)
        due = hub.clock.now() + 2 * H
        if down:
            await hub.runners["sla"].stop()
        offsets = {order.id: rng.randint(-50, 50) for order in orders}
        early, late = orders[: RACES // 2], orders[RACES // 2 :]
        for order in early:
            await order.completed(time=due + offsets[order.id] * MS, asked=False)
        hub.clock.advance(2 * 3600 + 60)
        if down:
            await hub.runners["sla"].start()
        else:
            await hub.settle(120)  # the other half is read after the timer has fired
        for order in late:
            await order.completed(time=due + offsets[order.id] * MS, asked=False)
        await hub.settle(120)
        standing: Counter[str] = Counter()
        for message in await hub.events(CLOCKS):
            if message.type == "clock.escalated":
                standing[message.key] += 1
            elif message.type == "clock.corrected":
                standing[message.key] -= len(message.data.levels)
        missed = {order_id for order_id, offset in offsets.items() if offset > 0}
        assert {key for key, n in standing.items() if n} == missed
        assert set(standing.values()) <= {0, 1}
        rows = await hub.query("SELECT work_order_id FROM sla.supervisions WHERE withdrawn_at IS NULL")
        assert sorted(row["work_order_id"] for row in rows) == sorted(missed)
        rows = await hub.query("SELECT work_order_id FROM evaluate.late_rounds WHERE late")
        assert {row["work_order_id"] for row in rows} == missed
