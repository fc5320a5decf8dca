"""One appeal's whole life through HTTP with the turned clock, on both stacks (the loop of architecture.md).

dispatched → yellow → red → level 1, 2, 3 → complete → rated "not solved" → second handling → complete → rated →
the month's rates. Everything is judged from outside.
"""

import re
from datetime import datetime
from typing import Any

import httpx
import pytest

HOUR = 3600


def ok(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def every(http: httpx.Client, path: str, **query: str) -> list[dict[str, Any]]:
    """All items of a list, page after page."""
    items: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = ok(http.get(path, params={**query, "limit": "200", **after}))
        items += page["items"]
        if page["next"] is None:
            return items
        after = {"after": page["next"]}


def advance(http: httpx.Client, seconds: float) -> dict[str, Any]:
    return ok(http.post("/v1/clock", json={"advance_s": seconds}))


def now(http: httpx.Client) -> datetime:
    return datetime.fromisoformat(ok(http.get("/v1/clock"))["now"])


def timeline(http: httpx.Client, appeal: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ok(http.get(f"/v1/appeals/{appeal}/timeline"))["items"]
    return items


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_step_of_a_life_is_seen_once_and_the_rates_equal_a_hand_count(http: httpx.Client) -> None:
    # a working morning, so that nothing depends on the hour of the test run
    here = now(http)
    advance(http, (24 - here.hour + 9) % 24 * HOUR - here.minute * 60 + HOUR)
    posted = ok(
        http.post(
            "/v1/appeals",
            json={
                "channel": "web",
                "text": "龙华区金贸街道小区门口路灯坏了三天，晚上一片漆黑，请尽快派人维修。我的电话13907531234",
                "reporter": {"name": "王小明", "phone": "13907531234"},
            },
        ),
        201,
    )
    appeal = posted["id"]
    advance(http, 1)
    case = ok(http.get(f"/v1/appeals/{appeal}"))
    assert case["status"] in ("dispatched", "in_review"), case
    order_id = case["work_orders"][0]["id"]
    order = ok(http.get(f"/v1/work-orders/{order_id}"))
    if order["status"] == "pending":
        review = {"matter": case["labels"]["matter"]["code"]}
        ok(http.post(f"/v1/reviews/{appeal}", json=review))
        advance(http, 1)
        order = ok(http.get(f"/v1/work-orders/{order_id}"))
    assert order["status"] == "dispatched"
    assert order["lead"]
    assert any(answer["outcome"] == "chosen" and answer["reason"] for answer in order["decision"]), order["decision"]
    types = [item["type"] for item in timeline(http, appeal)]
    assert types[0] == "appeal.received"
    assert types.index("appeal.received") < types.index("label.classified") < types.index("work_order.dispatched")

    etag = http.get(f"/v1/work-orders/{order_id}").headers["etag"]
    ok(http.post(f"/v1/work-orders/{order_id}/accept", json={}, headers={"If-Match": etag}))
    stale = http.post(f"/v1/work-orders/{order_id}/accept", json={}, headers={"If-Match": etag})
    assert stale.status_code == 412
    forbidden = http.post(f"/v1/work-orders/{order_id}/return", json={"reason": "not_my_duty"})
    assert forbidden.status_code == 409
    assert forbidden.json()["code"] == "invalid_transition"
    ok(http.post(f"/v1/work-orders/{order_id}/contact", json={"note": "已电话联系市民"}))
    advance(http, 1)
    clocks = {clock["clock"]: clock for clock in ok(http.get(f"/v1/clocks/{order_id}"))["items"]}
    due = datetime.fromisoformat(clocks["complete"]["due_at"])
    assert clocks["complete"]["explanation"]

    advance(http, (due - now(http)).total_seconds() + 80 * HOUR)  # past level 3 at red + 72 h
    seen = [
        (item["type"], item.get("reason"))
        for item in timeline(http, appeal)
        if item["type"] in ("clock.turned_yellow", "clock.turned_red", "clock.escalated")
    ]
    assert [kind for kind, _ in seen] == [
        "clock.turned_yellow",
        "clock.turned_red",
        "clock.escalated",
        "clock.escalated",
        "clock.escalated",
    ], seen
    supervisions = [item for item in every(http, "/v1/supervisions") if item["work_order_id"] == order_id]
    assert sorted(item["level"] for item in supervisions) == [1, 2, 3]

    ok(http.post(f"/v1/work-orders/{order_id}/complete", json={"result": "路灯已修复并测试正常", "solved": True}))
    advance(http, 1)
    track = ok(
        httpx.get(
            f"{http.base_url}/v1/track".replace("//v1", "/v1"),
            params={"reference_no": posted["reference_no"], "query_code": posted["query_code"]},
            trust_env=False,
        )
    )
    first_url = track["rating_url"]
    bad = {"contacted": True, "solved": False, "satisfaction": 1, "words": "还是不亮，电话13907531234"}
    ok(http.post(first_url, json=bad))
    assert http.post(first_url, json=bad).status_code in (404, 409, 410), "a rating link is for one use"
    advance(http, 1)
    order = ok(http.get(f"/v1/work-orders/{order_id}"))
    assert (order["status"], order["round"]) == ("reopened", 2)
    ok(http.post(f"/v1/work-orders/{order_id}/complete", json={"result": "更换线路后已亮", "solved": True}))
    advance(http, 1)
    track = ok(
        http.get("/v1/track", params={"reference_no": posted["reference_no"], "query_code": posted["query_code"]})
    )
    assert track["rating_url"] != first_url
    ok(http.post(track["rating_url"], json={"contacted": True, "solved": True, "satisfaction": 5}))
    advance(http, 1)
    assert ok(http.get(f"/v1/appeals/{appeal}"))["status"] == "answered"
    assert ok(http.get(f"/v1/work-orders/{order_id}"))["status"] == "closed"

    case_text = http.get(f"/v1/appeals/{appeal}").text
    assert not re.search(r'"\d{4}-\d\d-\d\dT[^"]*Z"', case_text), "every time of an answer has the platform's offset"
    items = timeline(http, appeal)
    kinds = [item["type"] for item in items]
    assert kinds.count("work_order.reopened") == 1
    assert kinds.count("feedback.answered") == 2
    assert all(item["actor"] and item["words"] for item in items)
    escalations = [item for item in every(http, "/v1/supervisions") if item["work_order_id"] == order_id]
    assert sorted((item["clock"], item["level"]) for item in escalations) == [
        ("complete", 1),
        ("complete", 2),
        ("complete", 3),
        ("rating", 1),
    ]
    assert "13907531234" not in str(items)

    month = now(http).strftime("%Y-%m")
    units = {row["id"]: row for row in every(http, f"/v1/evaluations/{month}", level="unit")}
    mine = units[order["lead"]]
    # by hand: one asked, contacted, solved at the last answer, satisfied; completed late
    assert mine["asked"] == 1, mine
    rates = {name: (rate["numerator"], rate["denominator"]) for name, rate in mine["rates"].items()}
    assert rates["response"] == rates["solution"] == rates["satisfaction"] == (1, 1), mine
    assert rates["on_time"] == (0, 1), mine


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_two_returns_open_a_dispute_and_the_ruling_binds(http: httpx.Client) -> None:
    posted = ok(
        http.post(
            "/v1/appeals",
            json={"channel": "app", "text": "美兰区海甸街道路边井盖破损，已经有人摔倒，请尽快更换井盖。"},
        ),
        201,
    )
    advance(http, 1)
    order = ok(http.get(f"/v1/appeals/{posted['id']}"))["work_orders"][0]
    if order["status"] == "pending":
        code = ok(http.get(f"/v1/appeals/{posted['id']}"))["labels"]["matter"]["code"]
        ok(http.post(f"/v1/reviews/{posted['id']}", json={"matter": code}))
        advance(http, 1)
    path = f"/v1/work-orders/{order['id']}"
    first = ok(http.get(path))["lead"]
    ok(http.post(f"{path}/return", json={"reason": "not_my_duty"}))
    second = ok(http.get(path))
    assert second["lead"] != first
    assert second["status"] == "dispatched"
    ok(http.post(f"{path}/return", json={"reason": "not_my_territory"}))
    disputed = ok(http.get(path))
    assert disputed["status"] == "disputed"
    assert disputed["lead"], "an order always has an owner"
    disputes = [item for item in every(http, "/v1/disputes") if item["work_order_id"] == order["id"]]
    assert len(disputes) == 1
    ruling = {"lead": first, "scope": "matter_territory", "reason": "管养单位为该部门"}
    ruled = ok(http.post(f"/v1/disputes/{disputes[0]['id']}/ruling", json=ruling))
    assert ruled["status"] == "dispatched"
    assert ruled["lead"] == first
    again = http.post(f"{path}/return", json={"reason": "not_my_duty"})
    assert again.status_code in (200, 409)
    advance(http, 1)
    kinds = [item["type"] for item in timeline(http, posted["id"])]
    assert kinds.count("work_order.returned") >= 2
    assert "work_order.ruled" in kinds
    duties = every(http, "/v1/duties")
    assert any(entry.get("unit", entry.get("lead")) == first for entry in duties), duties


@pytest.mark.slow
def test_case_of_another_platform_stays_owned_and_is_offered(http: httpx.Client) -> None:
    posted = ok(
        http.post(
            "/v1/appeals",
            json={
                "channel": "web",
                "text": "三亚市天涯区海边路段垃圾无人清理，气味难闻。",
                "location": {"region_code": "460204"},
            },
        ),
        201,
    )
    advance(http, 1)
    case = ok(http.get(f"/v1/appeals/{posted['id']}"))
    assert case["region_code"].startswith("460204")
    order = ok(http.get(f"/v1/work-orders/{case['work_orders'][0]['id']}"))
    assert order["lead"]
    if order["status"] == "pending":
        ok(http.post(f"/v1/reviews/{posted['id']}", json={"matter": case["labels"]["matter"]["code"]}))
        advance(http, 1)
        order = ok(http.get(f"/v1/work-orders/{order['id']}"))
    rules = {answer["rule"]: answer for answer in order["decision"]}
    assert "460200" in str(order["handoff"])
    assert order["status"] == "dispatched"
    assert order["handoff"]["state"] == "offered"
    assert "三亚市" in rules["cross_region"]["reason"]
    offers = [
        event["data"]["after"]
        for event in ok(http.get("/v1/events", params={"types": "handoff.offered"}))["items"]
        if order["id"] == event["data"]["after"]["work_order_id"]
    ]
    assert [(offer["sender"], offer["receiver"], offer["path"]) for offer in offers] == [
        ("460100", "460200", ["460100", "460000", "460200"])
    ]
    assert ok(http.get(f"/v1/appeals/{posted['id']}"))["handoff"]["state"] == "offered"
