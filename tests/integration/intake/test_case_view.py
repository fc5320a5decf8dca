"""The case view, timeline, search and tracking: what intake keeps of every stream (api.md, intake)."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.events.catalog.clocks import ClockEscalated, ClockStarted
from shared.events.catalog.handoffs import Handoff, HandoffOffered
from shared.events.catalog.labels import LabelClassified, LabelReviewed, Likeness
from shared.events.catalog.ratings import Answer, FeedbackAnswered, FeedbackClosed, FeedbackOpened
from shared.events.catalog.work_orders import (
    HandoffState,
    WorkOrderAccepted,
    WorkOrderAppealJoined,
    WorkOrderAppealParted,
    WorkOrderClosed,
    WorkOrderCompleted,
    WorkOrderDispatched,
    WorkOrderOpened,
)
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.intake.examples import clock_set, feedback, label, order


async def receive(hub: Harness, **changes: Any) -> dict[str, Any]:
    body = {"channel": "web", "text": "龙华区海垦街道的路灯不亮", "title": "路灯"} | changes
    answer = await hub.http.post("/v1/appeals", json=body, headers=hub.admin)
    assert answer.status_code == 201, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def case(hub: Harness, appeal_id: str) -> dict[str, Any]:
    answer = await hub.http.get(f"/v1/appeals/{appeal_id}", headers=hub.admin)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def items(hub: Harness, appeal_id: str) -> list[dict[str, Any]]:
    answer = await hub.http.get(f"/v1/appeals/{appeal_id}/timeline", headers=hub.admin)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def dispatched(hub: Harness, appeal_id: str, order_id: str | None = None, **changes: Any) -> str:
    """A labelled appeal with its order at a unit; returns the order's id."""
    order_id = order_id or uuid7()
    now = hub.clock.now()
    await hub.emit(LabelClassified(actor="system:classify", after=label(appeal_id)), key=appeal_id, sequence=1)
    await hub.emit(
        WorkOrderDispatched(
            actor="system:dispatch",
            reason="路灯归路灯所",
            cause="routing",
            after=order(order_id, [appeal_id], now, **changes),
        ),
        key=order_id,
        sequence=1,
    )
    await hub.settle()
    return order_id


async def test_the_whole_life_of_a_case_is_in_its_view_and_timeline(hub: Harness) -> None:
    received = await receive(hub)
    appeal_id, now = received["id"], hub.clock.now()
    order_id = uuid7()
    statuses = [(await case(hub, appeal_id))["status"]]

    async def step(event: Any, key: str, sequence: int) -> None:
        hub.clock.advance(60)
        await hub.emit(event, key=key, sequence=sequence)
        await hub.settle()
        statuses.append((await case(hub, appeal_id))["status"])

    await step(LabelClassified(actor="system:classify", after=label(appeal_id)), appeal_id, 1)
    first = order(order_id, [appeal_id], now)
    await step(WorkOrderDispatched(actor="system:dispatch", cause="routing", after=first), order_id, 1)
    await step(
        ClockStarted(actor="system:sla", clocks=["accept"], after=clock_set(order_id, [appeal_id], now)), order_id, 1
    )
    accepted = order(order_id, [appeal_id], now, status="accepted", version=2)
    await step(WorkOrderAccepted(actor="unit:u-lighting", after=accepted), order_id, 2)
    done = order(order_id, [appeal_id], now, status="completed", version=3, result="灯泡已更换", solved=True)
    await step(WorkOrderCompleted(actor="unit:u-lighting", after=done), order_id, 3)
    opened = feedback(appeal_id, order_id, now)
    await step(FeedbackOpened(actor="system:feedback", after=opened), appeal_id, 1)
    answer = Answer(round=1, contacted=True, solved=True, satisfaction=5, at=hub.clock.now())
    answered = feedback(appeal_id, order_id, now, answers=[answer], reached=True)
    await step(FeedbackAnswered(actor="citizen", answer=answer, bad=False, after=answered), appeal_id, 2)
    closed = feedback(appeal_id, order_id, now, answers=[answer], status="closed", outcome="answered")
    await step(FeedbackClosed(actor="system:feedback", after=closed), appeal_id, 3)
    archived = order(order_id, [appeal_id], now, status="closed", version=4, result="灯泡已更换", solved=True)
    await step(WorkOrderClosed(actor="system:dispatch", after=archived), order_id, 4)

    assert statuses == [
        "received",
        "classified",
        "dispatched",
        "dispatched",
        "in_progress",
        "completed",
        "completed",
        "completed",
        "answered",
        "answered",
    ]
    seen = await case(hub, appeal_id)
    assert seen["labels"]["matter"]["code"] == "CG-01-02"
    assert [(o["id"], o["status"], o["lead"], o["version"]) for o in seen["work_orders"]] == [
        (order_id, "closed", "u-lighting", 4)
    ]
    assert seen["clocks"][0]["clock"] == "accept"
    assert seen["clocks"][0]["work_order_id"] == order_id
    assert seen["feedback"]["outcome"] == "answered"
    checks = (await hub.http.get("/ops/intake/reconcile", headers=hub.admin)).json()
    assert "'cases that differ from their streams': 0" in str(checks)
    told = await items(hub, appeal_id)
    assert [item["type"] for item in told] == [
        "appeal.received",
        "label.classified",
        "work_order.dispatched",
        "clock.started",
        "work_order.accepted",
        "work_order.completed",
        "feedback.opened",
        "feedback.answered",
        "feedback.closed",
        "work_order.closed",
    ]
    assert told[2]["words"] == "按派单规则派给市政路灯所"
    assert "灯泡已更换" in told[5]["words"]
    assert [item["actor_words"] for item in told[:5]] == [
        "市民",
        "系统（分类）",
        "系统（派单）",
        "系统（时限）",
        "承办单位",
    ]


async def test_repeated_and_displaced_events_end_in_the_same_case(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    order_id, now = uuid7(), hub.clock.now()
    events: list[tuple[Any, str, int]] = [
        (LabelClassified(actor="system:classify", after=label(appeal_id, needs_review=True)), appeal_id, 1),
        (
            LabelReviewed(
                actor="user:a", before_matter="CG-01-02", after=label(appeal_id, needs_review=False, reviewed_by="a")
            ),
            appeal_id,
            2,
        ),
        (
            WorkOrderOpened(
                actor="system:dispatch", after=order(order_id, [appeal_id], now, status="pending", in_review=True)
            ),
            order_id,
            1,
        ),
        (WorkOrderDispatched(actor="user:a", cause="review", after=order(order_id, [appeal_id], now)), order_id, 2),
        (
            WorkOrderAccepted(actor="unit:u-lighting", after=order(order_id, [appeal_id], now, status="accepted")),
            order_id,
            3,
        ),
    ]
    sent = [(*event, uuid7()) for event in events]
    deliveries = sent * 3
    random.Random(5).shuffle(deliveries)
    for event, key, sequence, event_id in deliveries:
        await hub.emit(event, key=key, sequence=sequence, event_id=event_id)
    await hub.settle()
    seen = await case(hub, appeal_id)
    assert seen["status"] == "in_progress"
    assert seen["labels"]["reviewed_by"] == "a"
    assert len(await items(hub, appeal_id)) == 1 + len(events)


async def test_a_long_timeline_comes_whole_or_page_by_page(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    for sequence in range(1, 71):
        event = LabelReviewed(actor="user:a", before_matter="CG-01-02", after=label(appeal_id, reviewed_by="a"))
        await hub.emit(event, key=appeal_id, sequence=sequence)
    await hub.settle()
    whole = await items(hub, appeal_id)
    assert len(whole) == 71
    path, pages = f"/v1/appeals/{appeal_id}/timeline", []
    after: dict[str, str] = {}
    while True:
        page = (await hub.http.get(path, params={"limit": "30"} | after, headers=hub.admin)).json()
        pages += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert pages == whole
    assert (await hub.http.get(path, params={"after": "WzFd"}, headers=hub.admin)).status_code == 422


async def test_an_order_may_be_read_before_the_label(hub: Harness) -> None:
    appeal_id, order_id = (await receive(hub))["id"], uuid7()
    pending = order(order_id, [appeal_id], hub.clock.now(), status="pending", in_review=True)
    await hub.emit(WorkOrderOpened(actor="system:dispatch", after=pending), key=order_id, sequence=1)
    await hub.settle()
    assert (await case(hub, appeal_id))["status"] == "in_review"


async def test_a_joined_appeal_is_linked_and_an_unlinked_one_has_its_own_order(hub: Harness) -> None:
    first, second = (await receive(hub))["id"], (await receive(hub))["id"]
    order_id = await dispatched(hub, first)
    now = hub.clock.now()
    suggestion = label(second, repeat_of=Likeness(appeal_id=first, score=0.97))
    await hub.emit(LabelClassified(actor="system:classify", after=suggestion), key=second, sequence=1)
    joined = order(order_id, [first, second], now, version=2)
    await hub.emit(
        WorkOrderAppealJoined(actor="system:dispatch", appeal_id=second, relation="repeat", after=joined),
        key=order_id,
        sequence=2,
    )
    await hub.settle()
    assert (await case(hub, second))["status"] == "linked"
    assert (await case(hub, second))["links"] == [{"appeal_id": first, "relation": "repeat", "state": "joined"}]
    assert (await case(hub, first))["status"] == "dispatched"
    parted = order(order_id, [first], now, version=3)
    await hub.emit(WorkOrderAppealParted(actor="user:s", appeal_id=second, after=parted), key=order_id, sequence=3)
    await hub.settle()
    assert (await case(hub, second))["status"] == "classified"
    assert (await items(hub, second))[-1]["type"] == "work_order.appeal_parted"
    await dispatched(hub, second)
    assert (await case(hub, second))["status"] == "dispatched"


async def test_an_unlinked_appeal_keeps_no_suggested_link(hub: Harness) -> None:
    first, second = (await receive(hub))["id"], (await receive(hub))["id"]
    near = Likeness(appeal_id=first, score=0.7)
    suggestion = label(second, repeat_of=near, same_event=near)
    await hub.emit(LabelClassified(actor="system:classify", after=suggestion), key=second, sequence=1)
    await hub.settle()
    assert {link["state"] for link in (await case(hub, second))["links"]} == {"suggested"}
    undone = await hub.http.post(f"/v1/appeals/{second}/unlink", json={}, headers=hub.admin)
    assert undone.status_code == 200, undone.text
    assert (await case(hub, second))["links"] == []
    # nor does a later label bring it back
    await hub.emit(LabelReviewed(actor="user:s", before_matter="02010201", after=suggestion), key=second, sequence=2)
    await hub.settle()
    assert (await case(hub, second))["links"] == []
    wish = {"to": first, "relation": "repeat"}
    await hub.http.post(f"/v1/appeals/{second}/link", json=wish, headers=hub.admin)
    assert (await case(hub, second))["links"] == [{"appeal_id": first, "relation": "repeat", "state": "requested"}]


async def test_an_offered_handoff_stays_with_the_own_centre(hub: Harness) -> None:
    appeal_id, handoff_id, order_id = (await receive(hub))["id"], uuid7(), uuid7()
    offer = HandoffState(id=handoff_id, platform="460200", state="offered")
    await dispatched(hub, appeal_id, order_id, handoff=offer)
    offered = Handoff(
        id=handoff_id,
        work_order_id=order_id,
        appeal_ids=[appeal_id],
        sender="460100",
        receiver="460200",
        path=["460100", "460200"],
        state="offered",
        region_code="460203",
        matter="CG-01-02",
        handling_class="general",
        offered_at=hub.clock.now(),
    )
    await hub.emit(HandoffOffered(actor="system:dispatch", after=offered), key=handoff_id, sequence=1)
    await hub.settle()
    seen = await case(hub, appeal_id)
    assert seen["status"] == "dispatched"
    shown = {"id": handoff_id, "platform": "460200", "state": "offered", "role": "sender"}
    assert seen["handoff"].items() >= shown.items()
    assert "460200" in (await items(hub, appeal_id))[-1]["words"]


async def test_every_escalation_is_told_with_its_level(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    order_id, now = await dispatched(hub, appeal_id), hub.clock.now()
    for level in (1, 2, 3):
        await hub.emit(
            ClockEscalated(
                actor="system:sla",
                supervision_id=uuid7(),
                clock="accept",
                round=1,
                level=level,
                due_at=now,
                after=clock_set(order_id, [appeal_id], now, lamp="red", level=level),
            ),
            key=order_id,
            sequence=level,
            time=now + timedelta(hours=level),
        )
    await hub.settle()
    told = [item["words"] for item in await items(hub, appeal_id) if item["type"] == "clock.escalated"]
    assert told == ["启动一级督办：签收", "启动二级督办：签收", "启动三级督办：签收"]


async def test_a_citizen_tracks_with_number_and_code_only(hub: Harness) -> None:
    received = await receive(hub)
    appeal_id = received["id"]
    order_id = await dispatched(hub, appeal_id)
    pair = {"reference_no": received["reference_no"], "query_code": received["query_code"]}
    seen = (await hub.http.get("/v1/track", params=pair)).json()
    assert seen["status"] == "dispatched"
    assert seen["unit"] == "市政路灯所"
    assert seen["words"]
    assert "rating_url" not in seen
    assert [item["words"] for item in seen["items"]][-1] == "按派单规则派给市政路灯所"
    assert "u-lighting" not in str(seen)
    lower = pair | {"query_code": pair["query_code"].lower()}
    assert (await hub.http.get("/v1/track", params=lower)).status_code == 200
    for wrong in ({"query_code": "22222222"}, {"reference_no": "460100-20260101-000000"}, {"query_code": "密"}):
        answer = await hub.http.get("/v1/track", params=pair | wrong)
        assert answer.status_code == 404
    now = hub.clock.now()
    await hub.emit(
        FeedbackOpened(actor="system:feedback", after=feedback(appeal_id, order_id, now)), key=appeal_id, sequence=1
    )
    await hub.settle()
    url = (await hub.http.get("/v1/track", params=pair)).json()["rating_url"]
    token = url.rsplit("/", 1)[1]
    (event,) = await hub.events("intake.appeals.v1", key=appeal_id)
    assert event.data.after.rating_token_sha256[0] == hashlib.sha256(token.encode()).hexdigest()
    closed = feedback(appeal_id, order_id, now, status="closed", outcome="expired")
    await hub.emit(FeedbackClosed(actor="system:feedback", after=closed), key=appeal_id, sequence=2)
    await hub.settle()
    assert "rating_url" not in (await hub.http.get("/v1/track", params=pair)).json()


async def test_search_finds_by_every_filter_and_by_two_characters(hub: Harness) -> None:
    word = "椰香"
    found = await receive(hub, text=f"龙华区{word}小区门口积水严重")
    other = await receive(hub, text="龙华区另一处椰子树挡住香樟路灯", channel="phone")
    await dispatched(hub, found["id"], matter="CG-01-02")

    async def ids(since: str | None = None, until: str | None = None, **params: str) -> list[str]:
        params |= {name: value for name, value in (("from", since), ("to", until)) if value}
        answer = await hub.http.get("/v1/appeals", params=params, headers=hub.admin)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await ids(q=word) == [found["id"]]
    assert await ids(q="小区门口积水") == [found["id"]]
    assert await ids(q="积水小区") == []  # both pairs occur, the run does not
    assert await ids(q=f"{word} 积水") == [found["id"]]
    assert found["id"] in await ids(status="dispatched")
    assert other["id"] not in await ids(status="dispatched")
    for params in (
        {"region": "460106"},
        {"region": "460100"},
        {"region": "460000"},
        {"channel": "web"},
        {"matter": "CG-01-02"},
        {"tag": "lighting"},
        {"unit": "u-lighting"},
    ):
        assert found["id"] in await ids(q=word, **params), params
    for params in ({"region": "460107"}, {"channel": "sms"}, {"matter": "x"}, {"tag": "x"}, {"unit": "u-x"}):
        assert await ids(q=word, **params) == [], params
    now = hub.clock.now()
    assert await ids(q=word, since=(now - timedelta(hours=1)).isoformat()) == [found["id"]]
    assert await ids(q=word, until=(now - timedelta(days=90)).isoformat()) == []


async def test_search_pages_do_not_overlap_and_end(hub: Harness) -> None:
    word = "分页测试"
    sent = [(await receive(hub, text=f"{word}{number}"))["id"] for number in range(7)]
    got: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await hub.http.get("/v1/appeals", params={"q": word, "limit": "3"} | after, headers=hub.admin)).json()
        got += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert got == sorted(sent, reverse=True)


@pytest.mark.parametrize(
    "params",
    [
        {"q": "路"},
        {"q": "，。"},
        {"q": "!'"},
        {"status": "lost"},
        {"from": "yesterday"},
        {"from": "2026-01-01T00:00:00"},
        {"after": "x"},
        {"after": "WzFd"},
        {"limit": "0"},
        {"region": "4601%"},
    ],
)
async def test_a_search_that_makes_no_sense_is_refused_in_words(hub: Harness, params: dict[str, str]) -> None:
    answer = await hub.http.get("/v1/appeals", params=params, headers=hub.admin)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"] or answer.json()["detail"]


async def test_row_scope_is_region_and_unit_and_others_do_not_exist(hub: Harness) -> None:
    appeal_id = (await receive(hub))["id"]
    other = (await receive(hub))["id"]
    await dispatched(hub, appeal_id)
    mine = hub.token("handler", units=["u-lighting"])
    path = f"/v1/appeals/{appeal_id}"
    assert (await hub.http.get(path, headers=mine)).status_code == 200
    assert (await hub.http.get(path, headers=hub.token("handler", units=["u-x"]))).status_code == 404
    assert (await hub.http.get(path, headers=hub.token("handler"))).status_code == 404
    assert (await hub.http.get(f"/v1/appeals/{other}", headers=mine)).status_code == 404
    assert (await hub.http.get(path, headers=hub.token("supervisor", regions=["460106"]))).status_code == 200
    assert (await hub.http.get(path, headers=hub.token("supervisor", regions=["460107"]))).status_code == 404
    assert (await hub.http.get(path + "/timeline", headers=hub.token("seat", regions=["460107"]))).status_code == 404
    assert (await hub.http.get(path, headers=hub.token("platform"))).status_code == 404
    assert (await hub.http.get(path)).status_code == 401
    listed = (await hub.http.get("/v1/appeals", headers=mine)).json()["items"]
    assert appeal_id in [item["id"] for item in listed]
    assert all("u-lighting" in item["units"] for item in listed)
    assert (await hub.http.get("/v1/appeals", headers=hub.token("handler"))).json()["items"] == []
    south = await hub.http.get("/v1/appeals", headers=hub.token("seat", regions=["460200"]))
    assert south.json()["items"] == []
    for unknown in (str(uuid4()), "x", "0", "' OR 1=1"):
        assert (await hub.http.get(f"/v1/appeals/{unknown}", headers=hub.admin)).status_code == 404
