"""Supervisors are told of every level, take notice of it, and are not flooded."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest_asyncio

from shared.clock import rfc3339
from shared.events.catalog import ratings, work_orders
from shared.events.catalog.evaluations import EvaluationUnitWarned
from shared.events.catalog.notices import Notice
from shared.testing.harness import Harness
from tests.integration.sla.orders import CLOCKS, Order

ROOT = Path(__file__).resolve().parents[3]
NOTICES = "sla.notices.v1"
H = timedelta(hours=1)


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "sla") as running:
        yield running


async def _notices(hub: Harness) -> list[tuple[datetime, Notice]]:
    return [(message.time, message.data.after) for message in await hub.events(NOTICES)]


async def _supervisions(hub: Harness, **params: Any) -> list[dict[str, Any]]:
    answer = await hub.http.get("/v1/supervisions", params={"limit": 200} | params, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _answered(order: Order) -> None:
    await order.dispatched()
    await order.says(work_orders.WorkOrderAccepted)
    await order.says(work_orders.WorkOrderContacted)


async def test_each_level_is_told_to_its_own_supervisor_once(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web", region="460106005")
    await _answered(order)
    await hub.advance(7 * 3600)
    assert order.received_at is not None
    assert [(n.kind, n.level, n.audience, at - order.received_at) for at, n in await _notices(hub)] == [
        ("supervision", 1, "unit:unit-1", 2 * H),
        ("supervision", 2, "region:460106", 3 * H),
        ("supervision", 3, "platform:460100", 6 * H),
    ]


async def test_what_nobody_acknowledges_climbs_after_its_clock_has_stopped(hub: Harness) -> None:
    orders = [Order(hub, handling_class="urgent", channel="web", unit=f"u-{n}") for n in range(2)]
    for order in orders:
        await _answered(order)
    await hub.advance(2 * 3600 + 60)
    for order in orders:  # a minute late: level 1 stands, the higher ones will never come
        await order.completed(asked=False)
    await hub.settle()
    [seen] = await _supervisions(hub, unit="u-0")
    answer = await hub.http.post(
        f"/v1/supervisions/{seen['id']}/acknowledge", json={"note": "已知悉"}, headers=hub.token("leader")
    )
    assert answer.json()["acknowledged_by"]
    await hub.advance(10 * 3600)
    start = orders[1].received_at
    assert start is not None
    assert [(n.level, n.audience, at - start) for at, n in await _notices(hub) if n.kind == "climbed"] == [
        (2, "region:460106", 3 * H),
        (3, "platform:460100", 6 * H),
    ]
    assert {(s["unit"], s["level"], s["reach"]) for s in await _supervisions(hub, level=1)} == {
        ("u-1", 1, 3),
        ("u-0", 1, 1),
    }
    escalated = [m for m in await hub.events(CLOCKS) if m.type == "clock.escalated"]
    assert Counter(m.data.level for m in escalated) == {1: 2}  # a climb is no level
    assert await _supervisions(hub, level=2) == []


async def test_a_bad_rating_that_nobody_notices_climbs_too(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent")
    await _answered(order)
    await order.completed()
    await order.feedback(ratings.FeedbackAttempted, attempt=1, outcome="reached")
    await order.rated_badly()
    order.round = 2
    await order.says(work_orders.WorkOrderReopened, appeal_id=order.appeal_id, snap={"round": 2, "status": "reopened"})
    await order.completed(asked=False)
    await hub.advance(5 * 3600)
    assert [(n.kind, n.level) for _, n in await _notices(hub)] == [("supervision", 1), ("climbed", 2), ("climbed", 3)]


async def test_a_supervision_whose_class_changed_climbs_from_where_it_is(hub: Harness) -> None:
    order = Order(hub, handling_class="livelihood", channel="web")
    await _answered(order)
    await hub.advance(24 * 3600 + 60)
    await order.completed(asked=False)
    await hub.advance(3600)
    await order.says(
        work_orders.WorkOrderRelabelled,
        snap={"handling_class": "urgent"},
        before_class="livelihood",
        before_matter="0101",
    )
    await hub.advance(30 * 3600)
    start = order.received_at
    assert start is not None
    # 24 h to the district by the class at the time; from there the urgent 3 h to the city, not back to yesterday
    assert [(n.level, at - start) for at, n in await _notices(hub) if n.kind == "climbed"] == [(2, 48 * H), (3, 51 * H)]


async def test_what_an_outage_delayed_climbs_from_when_it_was_told(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await _answered(order)
    await hub.settle()
    start = order.received_at
    assert start is not None
    await hub.runners["sla"].stop()
    await order.completed(time=start + 2 * H + timedelta(minutes=1), asked=False)
    hub.clock.advance(6 * 3600)
    await hub.runners["sla"].start()
    await hub.settle()
    assert [(n.kind, n.level) for _, n in await _notices(hub)] == [("digest", 1)]
    await hub.advance(5 * 3600)
    assert [(n.level, at - start) for at, n in await _notices(hub) if n.kind == "climbed"] == [(2, 7 * H), (3, 10 * H)]


async def test_an_outage_ends_in_one_digest_for_each_supervisor(hub: Harness) -> None:
    """sla is away for six hours; half of what came due was met in time, unseen."""
    orders = [Order(hub, handling_class="urgent", channel="web", unit=f"u-{n % 3}") for n in range(60)]
    for order in orders:
        await _answered(order)
    await hub.settle()
    await hub.runners["sla"].stop()
    for order in orders[:30]:
        assert order.received_at is not None
        await order.completed(time=order.received_at + 2 * H, asked=False)
    hub.clock.advance(6 * 3600 + 300)
    await hub.runners["sla"].start()
    await hub.settle(60)
    raised = await _supervisions(hub)
    unmet = {order.id for order in orders[30:]}
    escalated = [m for m in await hub.events(CLOCKS) if m.type == "clock.escalated"]
    assert Counter((m.key, m.data.level) for m in escalated) == {(o, level): 1 for o in unmet for level in (1, 2, 3)}
    assert all(m.data.late for m in escalated)
    assert all(s["late"] and s["told_at"] for s in raised)
    at_first = [m.time for m in escalated]
    assert at_first == sorted(at_first)  # the oldest first
    notices = [n for _, n in await _notices(hub)]
    assert Counter((n.kind, n.audience, n.count) for n in notices) == {
        ("digest", "unit:u-0", 10): 1,
        ("digest", "unit:u-1", 10): 1,
        ("digest", "unit:u-2", 10): 1,
        ("digest", "region:460106", 30): 1,
        ("digest", "platform:460100", 30): 1,
    }
    assert all("补发" in n.words and n.since is not None for n in notices)


async def test_a_stop_in_time_that_is_read_late_is_told_as_taken_back(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await _answered(order)
    start = order.received_at
    assert start is not None
    await hub.advance(3 * 3600 + 60)
    await order.completed(time=start + 2 * H, asked=False)
    await hub.settle()
    notices = [(n.kind, n.level, n.audience) for _, n in await _notices(hub)]
    assert notices[:2] == [("supervision", 1, "unit:unit-1"), ("supervision", 2, "region:460106")]
    assert sorted(notices[2:]) == [("withdrawn", 1, "unit:unit-1"), ("withdrawn", 2, "region:460106")]
    assert {s["withdrawn_at"] for s in await _supervisions(hub)} == {rfc3339(start + 2 * H)}
    await hub.advance(10 * 3600)
    assert len(await _notices(hub)) == 4  # nothing climbs that was taken back


async def test_orders_without_owner_suspended_handed_off_or_disputed_have_their_own_rules(hub: Harness) -> None:
    nobody = Order(hub, handling_class="urgent", channel="web", unit="", region="460107")
    await nobody.says(work_orders.WorkOrderOpened, snap={"status": "pending", "in_review": True, "dispatch_no": 0})
    suspended = Order(hub, handling_class="urgent", channel="web", unit="u-s")
    await _answered(suspended)
    disputed = Order(hub, handling_class="urgent", channel="web", unit="u-d")
    await disputed.dispatched()
    away = Order(hub, handling_class="urgent", channel="web", unit="u-h")
    await away.dispatched()
    await hub.advance(300)
    await suspended.says(work_orders.WorkOrderSuspended, until=hub.clock.now() + 20 * H)
    await disputed.says(work_orders.WorkOrderDisputed, dispute_id="d", snap={"status": "disputed"})
    await away.says(work_orders.WorkOrderHandedOff, snap={"status": "handed_off"})
    await hub.advance(2 * 3600 + 60)
    raised = {(s["work_order_id"], s["clock"], s["level"]) for s in await _supervisions(hub)}
    ids = {order.id: name for name, order in locals().items() if isinstance(order, Order)}
    assert {(ids[o], clock, level) for o, clock, level in raised} == {
        *(("nobody", clock, 1) for clock in ("first_contact", "complete", "review")),
        ("nobody", "first_contact", 2),
        ("disputed", "ruling", 1),
        ("disputed", "ruling", 2),
        *(("disputed", clock, 1) for clock in ("first_contact", "complete")),
        ("disputed", "first_contact", 2),
    }
    assert {n.audience for _, n in await _notices(hub)} >= {"region:460107", "unit:u-d"}


async def test_a_digest_waits_for_the_later_clocks_of_an_order_too(hub: Harness) -> None:
    """Three clocks of each order come due in the outage, each armed by the batch that fires the one before."""
    orders = [Order(hub, handling_class="urgent", channel="web") for _ in range(3)]
    for order in orders:
        await order.dispatched()
    await hub.settle()
    await hub.runners["sla"].stop()
    hub.clock.advance(6 * 3600 + 300)
    await hub.runners["sla"].start()
    await hub.settle(60)
    told = Counter((n.kind, n.audience, n.count) for _, n in await _notices(hub))
    # accept and first contact have all three levels by then, complete has two
    assert told == {
        ("digest", "unit:unit-1", 9): 1,
        ("digest", "region:460106", 9): 1,
        ("digest", "platform:460100", 9): 1,
    }


async def test_what_was_told_late_climbs_as_long_after_it_was_told(hub: Harness) -> None:
    """Nobody can acknowledge what he was not told: an outage is no reason to go over a supervisor's head."""
    orders = [Order(hub, handling_class="urgent", channel="web") for _ in range(5)]
    for order in orders:
        await _answered(order)
    await hub.settle()
    await hub.runners["sla"].stop()
    for order in orders:
        assert order.received_at is not None
        await order.completed(time=order.received_at + 2.5 * H, asked=False)
    hub.clock.advance(6 * 3600 + 300)
    await hub.runners["sla"].start()
    await hub.settle()
    assert [(n.kind, n.audience, n.count) for _, n in await _notices(hub)] == [("digest", "unit:unit-1", 5)]
    back = hub.clock.now()
    await hub.advance(5 * 3600)
    climbed = [(n.audience, at - back) for at, n in await _notices(hub) if n.kind == "climbed"]
    assert Counter(climbed) == {("region:460106", H): 5, ("platform:460100", 4 * H): 5}


async def test_climbs_that_an_outage_delayed_are_told_in_the_digest(hub: Harness) -> None:
    orders = [Order(hub, handling_class="urgent", channel="web", unit=f"u-{n}") for n in range(5)]
    for order in orders:
        await _answered(order)
    await hub.advance(2 * 3600 + 60)
    for order in orders:  # level 1 was told in time; it would climb an hour after it
        await order.completed(asked=False)
    await hub.settle()
    before = len(await _notices(hub))
    await hub.runners["sla"].stop()
    hub.clock.advance(6 * 3600)
    await hub.runners["sla"].start()
    await hub.settle()
    assert [(n.kind, n.audience, n.count) for _, n in (await _notices(hub))[before:]] == [
        ("digest", "region:460106", 5)
    ]
    assert {s["reach"] for s in await _supervisions(hub)} == {2}
    back = hub.clock.now()
    await hub.advance(4 * 3600)
    climbed = [(n.audience, at - back) for at, n in await _notices(hub) if n.kind == "climbed"]
    assert Counter(climbed) == {("platform:460100", 3 * H): 5}


async def test_what_is_taken_back_while_its_climb_waits_for_a_digest_is_told_to_who_knew_of_it(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await _answered(order)
    await hub.advance(2 * 3600 + 60)
    before = len(await _notices(hub))
    await hub.query("UPDATE sla.supervisions SET reach = 2, climbed_at = $1, told_at = NULL", hub.clock.now())
    assert order.received_at is not None
    await order.completed(time=order.received_at + 2 * H, asked=False)
    await hub.settle()
    assert [(n.kind, n.level, n.audience) for _, n in (await _notices(hub))[before:]] == [
        ("withdrawn", 1, "unit:unit-1")
    ]


async def test_a_unit_last_for_the_third_month_is_under_special_supervision_once(hub: Harness) -> None:
    example = ROOT / "shared/events/examples/evaluation.unit_warned.1.json"
    event = msgspec.json.decode(orjson.dumps(orjson.loads(example.read_bytes())["data"]), type=EvaluationUnitWarned)
    identifier = await hub.emit(event, key=event.after.period, sequence=2)
    await hub.emit(event, key=event.after.period, sequence=2, event_id=identifier)
    await hub.settle()
    warned = event.warning
    told = sorted((notice for _, notice in await _notices(hub)), key=lambda notice: notice.level)
    assert [(n.kind, n.level, n.audience, n.by_unit) for n in told] == [
        ("special", 1, f"unit:{warned.unit}", {warned.unit: 1}),
        ("special", 3, "platform:460100", {warned.unit: 1}),
    ]
    assert all(warned.name in n.words and f"2026-08 第 {warned.ranks[0]} 名" in n.words for n in told)
    assert await _supervisions(hub) == [], "it hangs on no order"
