"""From the label to the closing of a work order, through the bus and HTTP."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from shared.events.catalog import appeals, clocks, labels, ratings
from shared.events.event import Event
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import (
    GAS_LEAK,
    ROAD,
    STREET_TRADE,
    act,
    appeal,
    classified,
    facts,
    feedback,
    label,
    new_order,
    order_of,
    received,
    reviewed,
)

CITYADMIN = "460106-cityadmin"
CENTRE = "460100-12345"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "dispatch") as running:
        yield running


@pytest.mark.parametrize("label_first", [False, True])
async def test_an_appeal_is_dispatched_once_whichever_comes_first(hub: Harness, label_first: bool) -> None:
    key = uuid7()
    steps = [lambda: received(hub, key), lambda: classified(hub, key)]
    for step in reversed(steps) if label_first else steps:
        await step()
        await hub.settle()
    order = await order_of(hub, key)
    assert (order["status"], order["lead"], order["version"]) == ("dispatched", CITYADMIN, 1)
    assert order["lead_name"] == "龙华区城市管理局"
    assert {answer["rule"]: answer["outcome"] for answer in order["decision"]}["matter_territory"] == "chosen"
    assert all(answer["reason"] for answer in order["decision"])
    assert await facts(hub, order["id"]) == ["dispatched"]


async def test_repeated_events_change_nothing(hub: Harness) -> None:
    key = await received(hub)
    await classified(hub, key)
    order = await order_of(hub, key)
    await classified(hub, key)
    await received(hub, key)
    assert await order_of(hub, key) == order
    assert await facts(hub, order["id"]) == ["dispatched"]


async def test_the_published_order_carries_what_its_readers_need(hub: Harness) -> None:
    order = await new_order(hub)
    (event,) = await hub.events("dispatch.work-orders.v1", key=order["id"])
    after = event.data.after
    assert (event.data.cause, event.key, event.sequence) == ("routing", order["id"], 1)
    assert (after.lead_region, after.channel, after.kind, after.dispatch_no) == ("460106", "phone", "complaint", 1)
    assert after.return_until == hub.clock.now() + timedelta(hours=5, minutes=30), "four working hours over lunch"
    assert event.data.reason == next(a.reason for a in after.decision if a.outcome == "chosen")


async def test_a_case_in_review_is_owned_by_the_centre_until_a_person_decides(hub: Harness) -> None:
    key = await received(hub)
    await classified(hub, key, needs_review=True)
    order = await order_of(hub, key)
    assert (order["status"], order["lead"], order["in_review"]) == ("pending", CENTRE, True)
    await reviewed(hub, key, ROAD)
    order = await order_of(hub, key)
    assert (order["status"], order["lead"], order["in_review"]) == ("dispatched", "460100-roads", False)
    assert order["matter"] == ROAD
    assert await facts(hub, order["id"]) == ["opened", "dispatched"]


async def test_an_urgent_case_is_dispatched_at_once_and_reviewed_beside(hub: Harness) -> None:
    key = await received(hub)
    await classified(hub, key, GAS_LEAK, handling_class="urgent", needs_review=True)
    order = await order_of(hub, key)
    assert (order["status"], order["lead"], order["in_review"]) == ("dispatched", "460100-gas", True)
    await reviewed(hub, key, GAS_LEAK, handling_class="urgent")
    order = await order_of(hub, key)
    assert (order["lead"], order["in_review"]) == ("460100-gas", False)
    assert await facts(hub, order["id"]) == ["dispatched", "relabelled"]


async def test_a_corrected_label_moves_an_order_until_it_is_accepted(hub: Harness) -> None:
    first, second = await new_order(hub), await new_order(hub)
    await act(hub, second["id"], "accept")
    for order in (first, second):
        await reviewed(hub, order["appeal_ids"][0], ROAD)
    moved = await order_of(hub, first["appeal_ids"][0])
    assert (moved["lead"], moved["dispatch_no"]) == ("460100-roads", 2)
    kept = await order_of(hub, second["appeal_ids"][0])
    assert (kept["lead"], kept["status"], kept["matter"]) == (CITYADMIN, "accepted", ROAD)
    assert await facts(hub, kept["id"]) == ["dispatched", "accepted", "relabelled"]


async def test_a_later_label_that_comes_first_is_not_undone(hub: Harness) -> None:
    key = await received(hub)
    await reviewed(hub, key, ROAD)
    await hub.settle()
    await classified(hub, key, needs_review=True)
    order = await order_of(hub, key)
    assert (order["matter"], order["status"], order["in_review"]) == (ROAD, "dispatched", False)


async def test_a_case_of_another_platform_is_offered_and_stays_with_the_centre(
    server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("platforms") / "platforms.yaml"
    directory.write_text("platforms: [{code: '460100', level: 2}, {code: '460000', level: 1}, {code: '460200'}]\n")
    async with Harness.fresh(server_url, "dispatch", platforms=str(directory)) as hub:
        order = await new_order(hub, region_code="460202")
        assert (order["status"], order["lead"]) == ("dispatched", CENTRE)
        assert (order["handoff"]["platform"], order["handoff"]["state"]) == ("460200", "offered")
        await hub.settle()
        (offer,) = await hub.events("dispatch.handoffs.v1", key=order["handoff"]["id"])
        assert (offer.type, offer.sequence) == ("handoff.offered", 1)
        assert offer.data.after.path == ["460100", "460000", "460200"]
        platforms = (await hub.http.get("/v1/platforms", headers=hub.admin)).json()
        assert [item["code"] for item in platforms["items"]] == ["460000", "460100", "460200"]


async def test_the_whole_life_with_second_handling(hub: Harness) -> None:
    order = await new_order(hub)
    key, order_id = order["appeal_ids"][0], order["id"]
    for action, body in (
        ("accept", {"note": "马上去"}),
        ("contact", {}),
        ("progress", {"note": "已到现场"}),
        ("complete", {"result": "已劝离", "solved": True}),
    ):
        answer = await act(hub, order_id, action, body)
        assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"
    assert answer.headers["etag"] == '"5"'

    bad = feedback(key, order_id, hub.clock.now(), status="second_handling", bad_ratings=1)
    rating = ratings.Answer(round=1, solved=False, satisfaction=1, at=hub.clock.now())
    await hub.emit(ratings.FeedbackAnswered(actor="citizen", after=bad, answer=rating, bad=True), key=key, sequence=2)
    reopened = await order_of(hub, key)
    assert (reopened["status"], reopened["round"], reopened["lead"]) == ("reopened", 2, CITYADMIN)

    await act(hub, order_id, "complete", {"result": "已固定巡查", "solved": True})
    # feedback still says "second handling" in a later event of the same round: the order is not opened again
    later = ratings.FeedbackExclusionRequested(actor="unit:x", after=bad, exclusion_id=uuid7())
    await hub.emit(later, key=key, sequence=3)
    assert (await order_of(hub, key))["status"] == "completed"

    closed = feedback(key, order_id, hub.clock.now(), status="closed", round=2)
    await hub.emit(ratings.FeedbackClosed(actor="citizen", after=closed), key=key, sequence=4)
    final = await order_of(hub, key)
    assert (final["status"], final["actions"]) == ("closed", [])
    assert await facts(hub, order_id) == [
        "dispatched",
        "accepted",
        "contacted",
        "progressed",
        "completed",
        "reopened",
        "completed",
        "closed",
    ]


async def test_a_bad_rating_that_is_read_after_the_second_completion_opens_nothing(hub: Harness) -> None:
    order = await new_order(hub)
    [key], order_id = order["appeal_ids"], order["id"]
    other = (await new_order(hub))["appeal_ids"][0]
    link = appeals.Link(to=key, relation="same_event")
    wish = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, other, link=link), link=link)
    await hub.emit(wish, key=other, sequence=2)
    await hub.settle()
    await act(hub, order_id, "accept")
    await act(hub, order_id, "complete", {"result": "已劝离", "solved": True})
    opened_at = hub.clock.now()

    async def rated_badly(appeal_id: str, at: datetime, sequence: int) -> None:
        rating = ratings.Answer(round=1, solved=False, satisfaction=1, at=at)
        bad = feedback(appeal_id, order_id, opened_at, status="second_handling", bad_ratings=1, answers=[rating])
        event = ratings.FeedbackAnswered(actor="citizen", after=bad, answer=rating, bad=True)
        await hub.emit(event, key=appeal_id, sequence=sequence, time=at)
        await hub.settle()

    await hub.advance(60)
    await rated_badly(key, hub.clock.now(), 2)
    await hub.advance(60)
    second = hub.clock.now()  # the other citizen rates while the order is open again; that is read late
    await hub.advance(60)
    await act(hub, order_id, "complete", {"result": "已固定巡查", "solved": True})
    await rated_badly(other, second, 2)
    assert (await order_of(hub, key))["status"] == "completed", "its second handling was that one"
    await rated_badly(other, second, 3)  # whatever comes later of the same answer
    assert [fact for fact in await facts(hub, order_id) if fact == "reopened"] == ["reopened"]


async def test_a_withdrawn_appeal_cancels_its_order(hub: Harness) -> None:
    order = await new_order(hub)
    key = order["appeal_ids"][0]
    event = appeals.AppealWithdrawn(actor="citizen", reason="问题已解决", after=appeal(hub, key, status="withdrawn"))
    await hub.emit(event, key=key, sequence=2)
    assert (await order_of(hub, key))["status"] == "cancelled"
    refused = await act(hub, order["id"], "accept")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


@pytest.mark.parametrize("order_of_arrival", [(2, 3), (3, 2), (3,)])
async def test_a_withdrawal_counts_though_a_later_wish_comes_with_it_or_first(
    hub: Harness, order_of_arrival: tuple[int, ...]
) -> None:
    order = await new_order(hub)
    [key] = order["appeal_ids"]
    gone = appeal(hub, key, status="withdrawn")
    said = {
        2: appeals.AppealWithdrawn(actor="citizen", after=gone),
        3: appeals.AppealUnlinkRequested(actor="user:seat", after=gone),
    }
    for sequence in order_of_arrival:
        await hub.emit(said[sequence], key=key, sequence=sequence)
    assert (await order_of(hub, key))["status"] == "cancelled"


async def test_a_withdrawn_appeal_leaves_a_shared_order_and_gets_none_of_its_own(hub: Harness) -> None:
    first, second = await new_order(hub), await new_order(hub)
    [other], [key] = first["appeal_ids"], second["appeal_ids"]
    link = appeals.Link(to=other, relation="same_event")
    wish = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, key, link=link), link=link)
    await hub.emit(wish, key=key, sequence=2)
    assert (await order_of(hub, key))["id"] == first["id"]
    gone = appeal(hub, key, status="withdrawn")
    await hub.emit(appeals.AppealWithdrawn(actor="citizen", after=gone), key=key, sequence=3)
    await hub.settle()
    await hub.emit(appeals.AppealUnlinkRequested(actor="user:seat", after=gone), key=key, sequence=4)
    shared = await order_of(hub, other)
    assert (shared["id"], shared["appeal_ids"], shared["status"]) == (first["id"], [other], "dispatched")
    assert (await order_of(hub, key))["id"] == first["id"]


async def test_an_appeal_withdrawn_before_its_label_gets_no_order(hub: Harness) -> None:
    key = uuid7()
    gone = appeals.AppealWithdrawn(actor="citizen", after=appeal(hub, key, status="withdrawn"))
    await hub.emit(gone, key=key, sequence=2)
    await received(hub, key)
    await classified(hub, key)
    await hub.settle()
    rows = await hub.query("SELECT work_order_id FROM dispatch.cases WHERE appeal_id = $1", key)
    assert [row["work_order_id"] for row in rows] == [None]


async def test_two_links_share_an_order_and_part_again(hub: Harness) -> None:
    first, second = await new_order(hub), await new_order(hub)
    key, other = second["appeal_ids"][0], first["appeal_ids"][0]
    link = appeals.Link(to=other, relation="same_event")
    event = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, key, link=link), link=link)
    await hub.emit(event, key=key, sequence=2)
    joined = await order_of(hub, key)
    assert (joined["id"], joined["appeal_ids"]) == (first["id"], [other, key])
    assert (await hub.http.get(f"/v1/work-orders/{second['id']}", headers=hub.admin)).json()["status"] == "cancelled"
    gone = appeals.AppealWithdrawn(actor="citizen", after=appeal(hub, other, status="withdrawn"))
    undo = appeals.AppealUnlinkRequested(actor="user:seat", after=appeal(hub, key))
    await hub.emit(undo, key=key, sequence=3)
    own = await order_of(hub, key)
    assert own["id"] not in (first["id"], second["id"])
    assert own["status"] == "dispatched"
    await hub.emit(gone, key=other, sequence=2)
    assert (await order_of(hub, other))["status"] == "cancelled"


async def test_a_link_to_an_appeal_without_an_order_yet_is_kept_until_it_has_one(hub: Harness) -> None:
    other = await received(hub)
    order = await new_order(hub)
    [key] = order["appeal_ids"]
    link = appeals.Link(to=other, relation="same_event")
    wish = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, key, link=link), link=link)
    await hub.emit(wish, key=key, sequence=2)
    assert (await order_of(hub, key))["id"] == order["id"]
    await classified(hub, other)
    target = await order_of(hub, other)
    await hub.advance(60)
    assert (await order_of(hub, key))["id"] == target["id"]
    assert (await order_of(hub, other))["appeal_ids"] == [other, key]


async def test_an_appeal_whose_link_comes_with_it_leaves_no_order_of_its_own_open(hub: Harness) -> None:
    target, key = await new_order(hub), uuid7()
    [other] = target["appeal_ids"]
    await classified(hub, key)
    await hub.settle()
    link = appeals.Link(to=other, relation="same_event")
    wish = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, key, link=link), link=link)
    await hub.emit(wish, key=key, sequence=2)
    assert (await order_of(hub, key))["id"] == target["id"]
    mine = await hub.query("SELECT status FROM dispatch.work_orders WHERE state LIKE $1 ORDER BY id", f"%{key}%")
    assert [row["status"] for row in mine] == ["dispatched", "cancelled"]


async def test_a_finished_order_is_not_taken_apart_by_a_link(hub: Harness) -> None:
    target, order = await new_order(hub), await new_order(hub)
    await act(hub, order["id"], "accept")
    await act(hub, order["id"], "complete", {"result": "已清理", "solved": True})
    [key], [other] = order["appeal_ids"], target["appeal_ids"]
    link = appeals.Link(to=other, relation="repeat")
    wish = appeals.AppealLinkRequested(actor="user:seat", after=appeal(hub, key, link=link), link=link)
    await hub.emit(wish, key=key, sequence=2)
    assert (await order_of(hub, key))["id"] == order["id"]
    assert (await order_of(hub, other))["appeal_ids"] == [other]


async def test_a_sure_repeat_of_the_same_reporter_joins_the_open_order(hub: Harness) -> None:
    order = await new_order(hub)
    again = await received(hub)
    stranger = await received(hub, reporter=appeals.Reporter(pseudonym="p2"))
    for key in (again, stranger):
        await classified(hub, key, repeat_of=labels.Likeness(appeal_id=order["appeal_ids"][0], score=0.97))
    assert (await order_of(hub, again))["id"] == order["id"]
    assert (await order_of(hub, stranger))["id"] != order["id"]


async def test_a_suspension_ends_by_itself(hub: Harness) -> None:
    order = await new_order(hub)
    await act(hub, order["id"], "accept")
    asked = (await act(hub, order["id"], "suspend", {"reason": "等待鉴定", "days": 3})).json()
    assert asked["status"] == "accepted"
    approval = asked["approval"]["id"]
    listed = (await hub.http.get("/v1/approvals?status=open", headers=hub.admin)).json()["items"]
    assert approval in [item["id"] for item in listed]
    handler = hub.token("handler", units=[CITYADMIN])
    assert (await hub.http.post(f"/v1/approvals/{approval}/approve", headers=handler)).status_code == 403
    granted = await hub.http.post(f"/v1/approvals/{approval}/approve", json={}, headers=hub.token("supervisor"))
    assert granted.json()["status"] == "suspended"
    twice = await hub.http.post(f"/v1/approvals/{approval}/approve", json={}, headers=hub.admin)
    assert (twice.status_code, twice.json()["code"]) == (409, "invalid_transition")
    await hub.advance(3 * 86400 + 1)
    resumed = await order_of(hub, order["appeal_ids"][0])
    assert (resumed["status"], resumed["suspended_until"]) == ("accepted", None)
    events = await hub.events("dispatch.work-orders.v1", key=order["id"])
    assert events[-1].type == "work_order.resumed"
    assert events[-1].time == events[-2].data.until


async def test_the_lamp_of_sla_is_shown_and_filters(hub: Harness) -> None:
    order = await new_order(hub)
    now = hub.clock.now()
    state = clocks.ClockState(
        clock="complete",
        round=1,
        started_at=now,
        due_at=now - timedelta(hours=1),
        yellow_at=now,
        lamp="red",
        used_s=10,
        allowed_s=10,
        unit_of_time="natural",
    )
    after = clocks.ClockSet(
        work_order_id=order["id"],
        appeal_ids=order["appeal_ids"],
        unit=CITYADMIN,
        region_code="460106",
        handling_class="general",
        lamp="red",
        level=1,
        clocks=[state],
    )
    red = clocks.ClockTurnedRed(actor="system:sla", after=after, clock="complete", round=1, due_at=state.due_at)
    await hub.emit(red, key=order["id"], sequence=3)
    await hub.settle()
    listed = (await hub.http.get("/v1/work-orders?lamp=red", headers=hub.admin)).json()["items"]
    assert [item["id"] for item in listed] == [order["id"]]
    await act(hub, order["id"], "accept")
    late = await act(hub, order["id"], "extend", {"seconds": 3600, "reason": "困难"})
    assert (late.status_code, late.json()["code"]) == (409, "invalid_transition")


async def test_what_handlers_type_is_published_without_phone_numbers(hub: Harness) -> None:
    order = await new_order(hub)
    await act(hub, order["id"], "accept")
    await act(hub, order["id"], "complete", {"result": "已电话13800138000答复", "solved": True})
    await hub.settle()
    rows = await hub.query("SELECT convert_from(value, 'UTF8') AS body FROM bus.log WHERE key = $1", order["id"])
    assert not any("13800138000" in row["body"] for row in rows)


async def test_a_burst_of_labels_gives_every_appeal_one_order(hub: Harness) -> None:
    keys = [uuid7() for _ in range(300)]
    await asyncio.gather(*(received(hub, key) for key in keys))
    await asyncio.gather(*(classified(hub, key) for key in keys))
    await hub.settle()
    rows = await hub.query(
        "SELECT count(DISTINCT work_order_id) AS n FROM dispatch.cases WHERE appeal_id = ANY($1)", keys
    )
    assert rows[0]["n"] == 300
    answer = await hub.http.get("/ops/dispatch/reconcile", headers=hub.admin)
    assert answer.status_code == 200, answer.text


async def test_the_matter_of_the_list_takes_groups(hub: Harness) -> None:
    await new_order(hub, ROAD)
    for query, expected in (("matter=0201", True), ("matter=0101", True), ("region=460107", False), ("q=占道", True)):
        items = (await hub.http.get(f"/v1/work-orders?{query}&limit=5", headers=hub.admin)).json()["items"]
        assert bool(items) is expected, query
    assert STREET_TRADE.startswith("0101")


async def test_repeats_and_disorder_end_where_the_clean_run_ends(hub: Harness) -> None:
    """Each event 1 to 3 times, keys and topics in any order, as the bus may do."""
    chance = random.Random(7)
    ends: list[set[tuple[str, str, str, bool]]] = []
    for disorderly in (False, True):
        keys = [uuid7() for _ in range(20)]
        script: list[tuple[Event, str, int, str]] = []
        for number, key in enumerate(keys):
            machine = labels.LabelClassified(
                actor="system:classify", after=label(key, needs_review=number % 2 == 0, reviewed_by=None)
            )
            person = labels.LabelReviewed(
                actor="user:r", after=label(key, ROAD, reviewed_by="r"), before_matter=STREET_TRADE
            )
            script += [
                (appeals.AppealReceived(actor="citizen", after=appeal(hub, key)), key, 1, uuid7()),
                (machine, key, 1, uuid7()),
                (person, key, 2, uuid7()),
            ]
        if disorderly:
            script = [entry for entry in script for _ in range(chance.randint(1, 3))]
            chance.shuffle(script)
        for event, key, sequence, event_id in script:
            await hub.emit(event, key=key, sequence=sequence, event_id=event_id)
        orders = [await order_of(hub, key) for key in keys]
        ends.append({(order["status"], order["lead"], order["matter"], order["in_review"]) for order in orders})
        assert len({order["id"] for order in orders}) == len(keys)
        for order in orders:
            await facts(hub, order["id"])
    assert ends[0] == ends[1] == {("dispatched", "460100-roads", ROAD, False)}


async def test_a_withdrawal_ends_the_dispute_of_its_order(hub: Harness) -> None:
    order = await new_order(hub)
    for _ in range(2):
        answer = await act(hub, order["id"], "return", {"reason": "not_my_duty"})
    dispute = answer.json()["dispute_id"]
    key = order["appeal_ids"][0]
    gone = appeals.AppealWithdrawn(actor="citizen", after=appeal(hub, key, status="withdrawn"))
    await hub.emit(gone, key=key, sequence=2)
    assert (await order_of(hub, key))["status"] == "cancelled"
    listed = (await hub.http.get("/v1/disputes?status=cancelled", headers=hub.admin)).json()["items"]
    assert dispute in [item["id"] for item in listed]
