"""sla on its real runtime: PostgreSQL, the embedded log, timers, and a clock that the test turns."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from shared.clock import rfc3339
from shared.events.catalog import ratings, work_orders
from shared.testing.harness import Harness
from tests.integration.sla.orders import CLOCKS, Order

H = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "sla") as running:
        yield running


async def test_a_dispatched_order_has_three_running_clocks_with_explained_deadlines(hub: Harness) -> None:
    order = Order(hub)
    await order.dispatched()
    await hub.settle()
    clocks = await order.clocks()
    assert set(clocks) == {("accept", 1), ("first_contact", 1), ("complete", 1)}
    complete = clocks["complete", 1]
    assert (complete["lamp"], complete["allowed_s"], complete["provisional"]) == ("green", 86400, False)
    words = [segment["words"] for segment in complete["explanation"]]
    assert "办结时限 24 小时" in words[0]
    assert words[-1].endswith("到期")
    [started] = await order.told()
    assert (started.type, started.data.clocks) == ("clock.started", ["first_contact", "complete", "accept"])


async def test_the_whole_ladder_then_second_handling(hub: Harness) -> None:
    order = Order(hub)
    await order.dispatched()
    await order.says(work_orders.WorkOrderAccepted)
    await order.says(work_orders.WorkOrderContacted)
    await hub.settle()
    await hub.advance(97 * 3600)
    lamps = [(m.type, m.time - order.received_at) for m in await order.told() if "turned" in m.type]
    assert lamps == [("clock.turned_yellow", 18 * H), ("clock.turned_red", 24 * H)]
    assert await order.escalations() == [
        ("complete", 1, 1, 24 * H),
        ("complete", 1, 2, 48 * H),
        ("complete", 1, 3, 96 * H),
    ]
    assert not any(m.data.late for m in await order.told() if m.type == "clock.escalated")
    assert (await order.clocks())["complete", 1]["lamp"] == "red"

    await order.completed()
    await hub.settle()
    assert (await order.clocks())["callback", 1]["lamp"] == "green"
    await order.feedback(ratings.FeedbackAttempted, attempt=1, outcome="reached")
    await order.rated_badly()
    order.round = 2
    await order.says(work_orders.WorkOrderReopened, appeal_id=order.appeal_id, snap={"status": "reopened", "round": 2})
    await hub.settle()
    clocks = await order.clocks()
    assert clocks["callback", 1]["stop_reason"] == "attempted"
    assert clocks["complete", 2]["allowed_s"] == 12 * 3600
    await hub.advance(3600)
    await order.completed()
    await order.rated_badly()
    await hub.settle()
    assert [e[:3] for e in await order.escalations()][3:] == [("rating", 2, 1), ("rating", 2, 3)]

    answer = await hub.http.get(
        "/v1/supervisions", params={"level": 3, "unit": order.unit, "limit": 200}, headers=hub.admin
    )
    mine = [item for item in answer.json()["items"] if item["work_order_id"] == order.id]
    assert [(item["clock"], item["level"]) for item in mine] == [("rating", 3), ("complete", 3)]
    url = f"/v1/supervisions/{mine[0]['id']}/acknowledge"
    first = await hub.http.post(url, json={"note": "已阅"}, headers=hub.token("supervisor"))
    again = await hub.http.post(url, json={"note": "又阅"}, headers=hub.admin)
    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["acknowledged_by"] == "user:tester"


async def test_a_stop_in_time_cancels_the_ladder(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await order.dispatched()
    await order.says(work_orders.WorkOrderAccepted)
    await order.says(work_orders.WorkOrderContacted)
    await hub.advance(7200 - 1)
    await order.completed()
    await hub.settle()
    await hub.advance(100 * 3600)
    assert await order.escalations() == []
    [stopped] = [m for m in await order.told() if m.type == "clock.stopped" and m.data.clocks == ["complete"]]
    assert stopped.data.in_time
    assert await hub.query("SELECT 1 FROM sla.timers WHERE key = $1", order.id) == []


async def test_a_stop_in_time_that_is_read_late_takes_back_what_was_announced(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await order.dispatched()
    await order.says(work_orders.WorkOrderAccepted)
    await order.says(work_orders.WorkOrderContacted)
    await hub.settle()
    await hub.advance(3.5 * 3600)
    assert [e[2] for e in await order.escalations()] == [1, 2]
    assert order.received_at is not None
    await order.completed(time=order.received_at + 2 * H)
    await hub.settle()
    assert [e[2] for e in await order.escalations()] == [1, 2]  # both facts stay
    [corrected] = [m for m in await order.told() if m.type == "clock.corrected"]
    assert (corrected.data.clock, corrected.data.levels) == ("complete", [1, 2])
    assert corrected.data.after.level == 0
    rows = await hub.query("SELECT withdrawn_at FROM sla.supervisions WHERE work_order_id = $1", order.id)
    assert len(rows) == 2
    assert all(row["withdrawn_at"] is not None for row in rows)


async def test_a_stop_in_time_behind_a_gap_is_waited_for_only_as_long_as_its_event(hub: Harness) -> None:
    """The completion (3) is read before acceptance (2): it is kept, and judged by its own time when the gap closes."""
    order = Order(hub, handling_class="urgent", channel="web")
    await order.dispatched()
    order.sequence += 1
    await hub.advance(3600)
    await order.completed()
    await hub.settle()
    assert (await order.clocks())["complete", 1]["stopped_at"] is None
    await hub.advance(2 * 3600)
    sequence, order.sequence = order.sequence, 1
    assert order.received_at is not None
    await order.says(work_orders.WorkOrderAccepted, time=order.received_at + H / 12)
    order.sequence = sequence
    await hub.settle()
    complete = (await order.clocks())["complete", 1]
    assert complete["stopped_at"] is not None
    assert complete["level"] == 0


async def test_redelivery_and_repeats_change_nothing(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await order.dispatched()
    await hub.settle()
    await hub.advance(3 * 3600)
    before = await order.told()
    first = (await hub.events("dispatch.work-orders.v1", key=order.id))[0]
    for _ in range(3):
        await hub.emit(first.data, key=order.id, sequence=1, time=first.time, event_id=first.id)
        await hub.emit(first.data, key=order.id, sequence=1, time=first.time)
    await hub.settle()
    assert [m.id for m in await order.told()] == [m.id for m in before]
    assert len(set(await order.escalations())) == len(await order.escalations()) == 2 + 2 + 2


async def test_feedback_that_overtakes_its_order_waits_for_it(hub: Harness) -> None:
    order = Order(hub)
    order.completed_at = hub.clock.now() + H
    await order.feedback(ratings.FeedbackOpened, time=order.completed_at)
    await order.feedback(ratings.FeedbackAttempted, attempt=1, outcome="no_answer", time=hub.clock.now() + 2 * H)
    await hub.settle()
    assert (await hub.http.get(f"/v1/clocks/{order.id}", headers=hub.admin)).status_code == 404
    await order.dispatched()
    await hub.advance(3600)
    # another event of the same instant as the completion
    await order.says(work_orders.WorkOrderContacted)
    await hub.settle()
    assert ("callback", 1) not in await order.clocks()
    await order.completed(asked=False)
    await hub.settle()
    callback = (await order.clocks())["callback", 1]
    assert callback["stop_reason"] == "attempted"
    assert await hub.query("SELECT 1 FROM sla.clock_sets WHERE early IS NOT NULL") == []


async def test_suspension_extension_and_class_change_move_the_deadline(hub: Harness) -> None:
    order = Order(hub, handling_class="general", channel="web")
    await order.dispatched()
    start = hub.clock.now()
    await hub.advance(3600)
    await order.says(work_orders.WorkOrderSuspended, until=start + 25 * H)
    await hub.settle()
    complete = (await order.clocks())["complete", 1]
    assert complete["allowed_s"] == 7 * 86400
    assert complete["due_at"].startswith(f"{(start + 192 * H + 8 * H):%Y-%m-%dT%H:%M}")
    await order.says(work_orders.WorkOrderResumed, time=start + 5 * H)
    await order.says(work_orders.WorkOrderExtended, seconds=3600, time=start + 6 * H)
    order.handling_class = "livelihood"
    await order.says(work_orders.WorkOrderRelabelled, before_class="general", before_matter="0101", time=start + 7 * H)
    await hub.settle()
    causes = [m.data.cause for m in await order.told() if m.type == "clock.rebased"]
    assert causes == ["suspension", "resumption", "extension", "rule"]
    complete = (await order.clocks())["complete", 1]
    # livelihood: 24 h from receipt, 4 h suspended, 1 h extension
    assert complete["due_at"].startswith(f"{(start + 29 * H + 8 * H):%Y-%m-%dT%H:%M}")
    assert "挂账" in "".join(segment["words"] for segment in complete["explanation"])


async def test_an_order_in_review_is_timed_until_the_decision(hub: Harness) -> None:
    order = Order(hub, channel="web")
    await order.says(work_orders.WorkOrderOpened, snap={"status": "pending", "in_review": True, "dispatch_no": 0})
    await hub.settle()
    assert (await order.clocks())["review", 1]["allowed_s"] == 15 * 60
    assert ("accept", 1) not in await order.clocks()
    await hub.advance(60)
    await order.dispatched(status="dispatched", in_review=False, dispatch_no=1)
    await hub.settle()
    clocks = await order.clocks()
    assert clocks["review", 1]["stop_reason"] == "decided"
    assert clocks["accept", 1]["stopped_at"] is None


async def test_a_return_and_a_dispute_are_timed(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web")
    await order.dispatched()
    await order.says(work_orders.WorkOrderReturned, unit="unit-1", reason_code="not_my_duty")
    await order.dispatched(dispatch_no=2, lead="unit-2")
    await order.says(work_orders.WorkOrderReturned, unit="unit-2", reason_code="not_my_duty")
    await order.says(work_orders.WorkOrderDisputed, dispute_id="d", snap={"status": "disputed"})
    await hub.settle()
    clocks = await order.clocks()
    assert clocks["accept", 1]["stop_reason"] == clocks["accept", 2]["stop_reason"] == "returned"
    assert clocks["ruling", 1]["allowed_s"] == 1800
    await order.says(work_orders.WorkOrderRuled, dispute_id="d", scope="case")
    await order.dispatched(dispatch_no=3)
    await hub.settle()
    assert (await order.clocks())["ruling", 1]["stop_reason"] == "ruled"
    assert (await order.clocks())["accept", 3]["stopped_at"] is None


async def test_lamps_count_what_the_caller_may_see(hub: Harness) -> None:
    for number in range(3):
        await Order(hub, unit="unit-lamps", region="460107", channel="web").dispatched()
        order = Order(hub, unit=f"unit-lamps-{number}", region="460108", channel="web")
        await order.dispatched()
    await hub.settle()
    url, mine = "/v1/lamps", hub.token("handler", units=["unit-lamps"])
    answer = (await hub.http.get(url, params={"limit": 2}, headers=mine)).json()
    assert answer["counts"] == {"green": 3, "yellow": 0, "red": 0}
    assert len(answer["items"]) == 2
    rest = (await hub.http.get(url, params={"limit": 2, "after": answer["next"]}, headers=mine)).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    assert {item["unit"] for item in answer["items"] + rest["items"]} == {"unit-lamps"}
    district = (await hub.http.get(url, headers=hub.token("leader", regions=["460108"]))).json()
    assert district["counts"]["green"] == 3
    assert (await hub.http.get(url, headers=hub.token("handler"))).json()["counts"]["green"] == 0
    assert (await hub.http.get(f"/v1/clocks/{order.id}", headers=mine)).status_code == 404
    assert (await hub.http.get(url, params={"after": "eyJ9"}, headers=mine)).status_code == 422


async def test_every_clock_event_says_who_and_why(hub: Harness) -> None:
    for message in await hub.events(CLOCKS):
        assert message.data.actor == "system:sla"
        assert message.data.reason


async def test_every_timer_is_the_one_its_clocks_need(hub: Harness) -> None:
    answer = await hub.http.get("/ops/sla/reconcile", headers=hub.admin)
    assert answer.status_code == 200, answer.text
    assert answer.json()["differences"] == 0, answer.text


async def test_call_back_runs_only_while_somebody_is_to_be_called(hub: Harness) -> None:
    by_link = Order(hub, channel="web")
    await by_link.dispatched()
    await by_link.completed()
    await hub.settle()
    assert ("callback", 1) not in await by_link.clocks()
    # another citizen joined to the same order is to be called; that the first one answered his link is no call
    called = Order(hub)
    called.id, called.completed_at = by_link.id, by_link.completed_at
    await called.feedback(ratings.FeedbackOpened, time=called.completed_at)
    await by_link.feedback(ratings.FeedbackClosed)
    await hub.settle()
    assert (await by_link.clocks())["callback", 1]["stopped_at"] is None
    await called.feedback(ratings.FeedbackAttempted, attempt=1, outcome="no_answer")
    await hub.settle()
    assert (await by_link.clocks())["callback", 1]["stop_reason"] == "attempted"


async def test_after_an_emergency_action_clocks_count_from_it_and_first_contact_is_met(hub: Harness) -> None:
    order = Order(hub, handling_class="urgent", channel="web", groups=["elderly"])
    taken = hub.clock.now() - H
    order.received_at = hub.clock.now()
    await order.dispatched(taken_at=taken)
    await hub.settle()
    clocks = await order.clocks()
    contact, complete = clocks["first_contact", 1], clocks["complete", 1]
    assert (contact["stopped_at"], contact["stop_reason"], contact["lamp"]) == (
        rfc3339(taken),
        "emergency_action",
        "green",
    )
    assert (complete["started_at"], complete["due_at"]) == (rfc3339(taken), rfc3339(taken + 2 * H))
    assert complete["used_s"] == 3600
