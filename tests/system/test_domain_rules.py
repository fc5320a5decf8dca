"""The rules of domain.md where services meet: through HTTP, judged by what all of them say together."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from shared.testing.harness import Harness

ALL = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")
LAMP = "龙华区金贸街道小区门口路灯坏了三天，晚上一片漆黑，请尽快派人维修。"
LAMP_MATTER = "02010201"
HOUR = 3600


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, *ALL) as found:
        # a Monday morning inside office hours
        found.clock.set(datetime(2026, 11, 2, 1, 30, tzinfo=UTC))
        yield found


async def call(hub: Harness, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
    answer = await hub.http.request(method, path, json=body, headers=hub.admin, **more)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


async def posted(hub: Harness, text: str = LAMP, channel: str = "web", **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await call(
        hub, "POST", "/v1/appeals", {"channel": channel, "text": text, **fields}, status=201
    )
    await hub.settle()
    return answer


async def case_of(hub: Harness, appeal: str) -> dict[str, Any]:
    found: dict[str, Any] = await call(hub, "GET", f"/v1/appeals/{appeal}")
    return found


async def order_of(hub: Harness, appeal: str) -> dict[str, Any]:
    """The order that answers the appeal now."""
    orders = [o for o in (await case_of(hub, appeal))["work_orders"] if o["status"] != "cancelled"]
    found: dict[str, Any] = await call(hub, "GET", f"/v1/work-orders/{orders[-1]['id']}")
    return found


async def act(hub: Harness, order: dict[str, Any], action: str, body: Any = None, status: int = 200) -> dict[str, Any]:
    answer: dict[str, Any] = await call(hub, "POST", f"/v1/work-orders/{order['id']}/{action}", body or {}, status)
    await hub.settle()
    return answer


async def reviewed(hub: Harness, appeal: str, matter: str = LAMP_MATTER, **fields: Any) -> None:
    await call(hub, "POST", f"/v1/reviews/{appeal}", {"matter": matter, **fields})
    await hub.settle()


async def dispatched(hub: Harness, text: str = LAMP, channel: str = "web", **fields: Any) -> tuple[str, dict[str, Any]]:
    """An appeal whose order is with its unit, whatever the model said; the order's class is general."""
    appeal = (await posted(hub, text, channel, **fields))["id"]
    await reviewed(hub, appeal, **{"class": "general"})
    return appeal, await order_of(hub, appeal)


async def completed(hub: Harness, order: dict[str, Any], *, solved: bool = True) -> None:
    if order["status"] == "dispatched":
        await act(hub, order, "accept")
    await act(hub, order, "complete", {"result": "路灯已修复", "solved": solved})


async def clocks_of(hub: Harness, order: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    items = (await call(hub, "GET", f"/v1/clocks/{order['id']}"))["items"]
    return {(item["clock"], item["round"]): item for item in items}


async def feedback_of(hub: Harness, appeal: str) -> dict[str, Any]:
    found: dict[str, Any] = (await case_of(hub, appeal))["feedback"]
    return found


async def rated(hub: Harness, answer: dict[str, Any], *, solved: bool, satisfaction: int) -> None:
    """The citizen answers through the link that tracking shows."""
    body = {"contacted": True, "solved": solved, "satisfaction": satisfaction}
    done = await hub.http.post((await tracked(hub, answer))["rating_url"], json=body)
    assert done.status_code == 200, done.text
    await hub.settle()


async def tracked(hub: Harness, answer: dict[str, Any]) -> dict[str, Any]:
    params = {"reference_no": answer["reference_no"], "query_code": answer["query_code"]}
    found: dict[str, Any] = await call(hub, "GET", "/v1/track", params=params)
    return found


def instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None, text
    return found


async def test_an_appeal_in_review_has_an_owner_and_clocks_from_its_label_on(hub: Harness) -> None:
    answer = await posted(hub, "有个情况想反映一下，请帮忙看看怎么回事")
    case = await case_of(hub, answer["id"])
    assert case["status"] == "in_review"
    order = await order_of(hub, answer["id"])
    assert (order["status"], order["in_review"]) == ("pending", True)
    centre = order["lead"]
    before = await clocks_of(hub, order)
    assert set(before) == {("first_contact", 1), ("complete", 1), ("review", 1)}
    # a quarter of an hour for what looks like livelihood, else two hours
    assert before["review", 1]["allowed_s"] == (900 if order["class"] == "livelihood" else 2 * HOUR)
    assert all(instant(clock["started_at"]) == instant(case["received_at"]) for clock in before.values())
    assert "核对" in (await tracked(hub, answer))["words"]

    await hub.advance(600)
    await reviewed(hub, answer["id"], **{"class": "livelihood"})
    after = await clocks_of(hub, order)
    order = await order_of(hub, answer["id"])
    assert (order["status"], order["in_review"], order["dispatch_no"]) == ("dispatched", False, 1)
    assert order["lead"] != centre
    assert after["review", 1]["stopped_at"] is not None
    assert instant(after["accept", 1]["started_at"]) == hub.clock.now()
    # the new class counts from the original start
    assert instant(after["first_contact", 1]["due_at"]) == instant(case["received_at"]) + timedelta(hours=2)
    assert instant(after["complete", 1]["due_at"]) == instant(case["received_at"]) + timedelta(hours=24)
    assert (await case_of(hub, answer["id"]))["status"] == "dispatched"


async def test_after_an_emergency_action_clocks_count_from_it_and_contact_is_met(hub: Harness) -> None:
    taken = hub.clock.now() - timedelta(hours=3)
    action = {"taken_at": taken.isoformat(), "by": "街道网格员", "what": "现场已拉警戒线"}
    answer = await posted(hub, channel="grid", emergency_action=action)
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    clocks = await clocks_of(hub, order)
    assert instant(clocks["first_contact", 1]["started_at"]) == taken
    assert instant(clocks["first_contact", 1]["stopped_at"]) == taken
    assert clocks["first_contact", 1]["lamp"] == "green"
    assert instant(clocks["complete", 1]["started_at"]) == taken
    assert instant(clocks["complete", 1]["due_at"]) == taken + timedelta(days=7)
    assert instant(order["taken_at"]) == taken
    assert instant(order["dispatched_at"]) == hub.clock.now()


async def test_a_withdrawn_appeal_ends_its_order_its_clocks_and_is_not_asked(hub: Harness) -> None:
    for ending, body in (("withdraw", {"reason": "已自行解决"}), ("decline", {"reason": "不属受理范围"})):
        appeal, order = await dispatched(hub)
        await act(hub, order, "accept")
        await call(hub, "POST", f"/v1/appeals/{appeal}/{ending}", body)
        await hub.settle()
        found = await call(hub, "GET", f"/v1/work-orders/{order['id']}")
        assert found["status"] == "cancelled"
        assert found["actions"] == []
        assert all(clock["stopped_at"] for clock in (await clocks_of(hub, order)).values())
        case = await case_of(hub, appeal)
        assert case["status"] == {"withdraw": "withdrawn", "decline": "declined"}[ending]
        assert case["feedback"] is None
        await act(hub, order, "complete", {"result": "x", "solved": True}, status=409)


async def test_a_withdrawal_after_completion_closes_the_feedback_and_the_order(hub: Harness) -> None:
    answer = await posted(hub)
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    await completed(hub, order)
    assert (await feedback_of(hub, answer["id"]))["status"] == "open"
    await call(hub, "POST", f"/v1/appeals/{answer['id']}/withdraw", {})
    await hub.settle()
    feedback = await feedback_of(hub, answer["id"])
    assert (feedback["status"], feedback["outcome"]) == ("closed", "withdrawn")
    assert (await call(hub, "GET", f"/v1/work-orders/{order['id']}"))["status"] == "closed"
    assert "rating_url" not in await tracked(hub, answer)


async def test_each_citizen_of_a_joined_order_is_asked_in_his_own_way(hub: Harness) -> None:
    first, order = await dispatched(hub, reporter={"phone": "13907530011"})
    others = []
    for channel, reporter in (
        ("phone", {"phone": "13907530012"}),
        ("phone", {"phone": "13907530013", "groups": ["deaf"]}),
    ):
        appeal, own = await dispatched(hub, channel=channel, reporter=reporter)
        await call(hub, "POST", f"/v1/appeals/{appeal}/link", {"to": first, "relation": "same_event"})
        await hub.settle()
        assert (await call(hub, "GET", f"/v1/work-orders/{own['id']}"))["status"] == "cancelled"
        assert all(clock["stopped_at"] for clock in (await clocks_of(hub, own)).values())
        case = await case_of(hub, appeal)
        assert case["status"] == "linked"
        assert {"appeal_id": first, "relation": "same_event", "state": "joined"} in case["links"]
        others.append(appeal)
    called, deaf = others
    await completed(hub, order)
    methods = [(await feedback_of(hub, appeal))["method"] for appeal in (first, called, deaf)]
    assert methods == ["link", "callback", "link"]
    clocks = await clocks_of(hub, order)
    assert ("callback", 1) in clocks, "a citizen has to be called"
    assert clocks["callback", 1]["allowed_s"] == 48 * HOUR
    assert clocks["callback", 1]["stopped_at"] is None


async def test_a_link_that_is_answered_does_not_stop_the_call_back_clock(hub: Harness) -> None:
    first, order = await dispatched(hub, channel="phone", reporter={"phone": "13907530021"})
    second = await posted(hub, reporter={"phone": "13907530022"})
    await call(hub, "POST", f"/v1/appeals/{second['id']}/link", {"to": first, "relation": "same_event"})
    await hub.settle()
    await completed(hub, order)
    await rated(hub, second, solved=True, satisfaction=5)
    assert (await clocks_of(hub, order))["callback", 1]["stopped_at"] is None
    await call(hub, "POST", f"/v1/callbacks/{first}/attempts", {"outcome": "no_answer"})
    await hub.settle()
    assert instant((await clocks_of(hub, order))["callback", 1]["stopped_at"]) == hub.clock.now()
    assert (await feedback_of(hub, first))["status"] == "open"


async def test_second_handling_of_an_order_with_two_citizens(hub: Harness) -> None:
    one = await posted(hub, reporter={"phone": "13907530031"})
    await reviewed(hub, one["id"], **{"class": "general"})
    order = await order_of(hub, one["id"])
    two = await posted(hub, reporter={"phone": "13907530032"})
    await call(hub, "POST", f"/v1/appeals/{two['id']}/link", {"to": one["id"], "relation": "same_event"})
    await hub.settle()
    await completed(hub, order)
    await rated(hub, one, solved=False, satisfaction=1)
    again = await order_of(hub, one["id"])
    assert (again["status"], again["round"], again["lead"]) == ("reopened", 2, order["lead"])
    await rated(hub, two, solved=False, satisfaction=2)
    again = await order_of(hub, two["id"])
    assert (again["status"], again["round"]) == ("reopened", 2), "joins the second handling that is open"
    clocks = await clocks_of(hub, order)
    assert clocks["complete", 2]["allowed_s"] == 7 * 24 * HOUR // 2
    assert clocks["rating", 1 if ("rating", 1) in clocks else 2]["level"] == 1
    await completed(hub, again)
    await rated(hub, one, solved=True, satisfaction=5)
    assert (await call(hub, "GET", f"/v1/work-orders/{order['id']}"))["status"] == "completed"
    assert (await case_of(hub, one["id"]))["status"] == "answered"
    await rated(hub, two, solved=True, satisfaction=4)
    assert (await call(hub, "GET", f"/v1/work-orders/{order['id']}"))["status"] == "closed"


async def test_an_answered_appeal_stays_answered_when_another_citizen_makes_the_order_open_again(hub: Harness) -> None:
    one = await posted(hub, reporter={"phone": "13907530041"})
    await reviewed(hub, one["id"], **{"class": "general"})
    order = await order_of(hub, one["id"])
    two = await posted(hub, reporter={"phone": "13907530042"})
    await call(hub, "POST", f"/v1/appeals/{two['id']}/link", {"to": one["id"], "relation": "same_event"})
    await hub.settle()
    await completed(hub, order)
    await rated(hub, one, solved=True, satisfaction=5)
    await rated(hub, two, solved=False, satisfaction=1)
    assert (await case_of(hub, one["id"]))["status"] == "answered"
    assert (await case_of(hub, two["id"]))["status"] in ("in_progress", "linked")
    again = await order_of(hub, two["id"])
    await completed(hub, again)
    assert (await feedback_of(hub, one["id"]))["round"] == 1, "nobody who answered is asked again"
    await rated(hub, two, solved=True, satisfaction=3)
    assert (await call(hub, "GET", f"/v1/work-orders/{order['id']}"))["status"] == "closed"


async def test_second_bad_rating_is_level_three_and_waits_for_the_centre(hub: Harness) -> None:
    answer = await posted(hub)
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    await completed(hub, order)
    await rated(hub, answer, solved=False, satisfaction=1)
    await completed(hub, await order_of(hub, answer["id"]))
    await rated(hub, answer, solved=False, satisfaction=1)
    rows = (await call(hub, "GET", "/v1/supervisions", params={"limit": 200}))["items"]
    levels = sorted((r["clock"], r["level"]) for r in rows if r["work_order_id"] == order["id"])
    assert levels == [("rating", 1), ("rating", 3)]
    assert (await order_of(hub, answer["id"]))["status"] == "completed"
    assert (await feedback_of(hub, answer["id"]))["status"] == "awaiting_decision"
    await call(hub, "POST", f"/v1/callbacks/{answer['id']}/decision", {"reason": "已多次上门，市民诉求超出政策"})
    await hub.settle()
    assert (await call(hub, "GET", f"/v1/work-orders/{order['id']}"))["status"] == "closed"
    assert (await case_of(hub, answer["id"]))["status"] == "answered"


async def test_the_citizen_reads_what_was_decided_about_his_rating_and_why(hub: Harness) -> None:
    answer = await posted(hub)
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    await completed(hub, order)
    await rated(hub, answer, solved=False, satisfaction=1)
    url = f"/v1/callbacks/{answer['id']}/false-completions/1/decision"
    await call(hub, "POST", url, {"confirmed": True, "reason": "现场核实，当时确未修复"})
    await hub.settle()
    await completed(hub, await order_of(hub, answer["id"]))
    await rated(hub, answer, solved=True, satisfaction=3)
    wish = {"appeal_id": answer["id"], "reason": "对象有误，联系人13907530099"}
    asked = await call(hub, "POST", "/v1/exclusions", wish, status=201)
    decision = {"granted": True, "reason": "评价的是另一单位，电话13907530099"}
    await call(hub, "POST", f"/v1/exclusions/{asked['id']}/decision", decision)
    await hub.settle()
    items = (await tracked(hub, answer))["items"]
    told = {item["words"]: item.get("reason") for item in items}
    assert told["认定为虚假办结"] == "现场核实，当时确未修复"
    assert told["同意剔除评价：不计入对承办单位的考核"] == "评价的是另一单位，电话〔电话〕"
    assert not any("申请" in item["words"] for item in items), "what the unit asked for is not his to read"


async def test_a_sure_repeat_joins_the_open_order_and_both_are_asked(hub: Harness) -> None:
    reporter = {"phone": "13907530051"}
    first, order = await dispatched(hub, reporter=reporter)
    second = (await posted(hub, channel="phone", reporter=reporter))["id"]
    case = await case_of(hub, second)
    assert case["labels"]["repeat_of"]["appeal_id"] == first
    assert [o["id"] for o in case["work_orders"]] == [order["id"]]
    assert case["status"] == "linked"
    await completed(hub, order)
    assert (await feedback_of(hub, first))["method"] == "link"
    assert (await feedback_of(hub, second))["method"] == "callback"


async def test_a_repeat_in_the_same_moment_joins_too(hub: Harness) -> None:
    body = {"channel": "web", "text": LAMP, "reporter": {"phone": "13907530061"}}
    answers = await asyncio.gather(*(call(hub, "POST", "/v1/appeals", body, status=201) for _ in range(3)))
    await hub.settle()
    orders = {(await order_of(hub, answer["id"]))["id"] for answer in answers}
    assert len(orders) == 1


async def test_an_unlinked_appeal_gets_its_own_order_with_the_original_clocks(hub: Harness) -> None:
    first, order = await dispatched(hub, reporter={"phone": "13907530071"})
    second, _ = await dispatched(hub, reporter={"phone": "13907530072"})
    received = instant((await case_of(hub, second))["received_at"])
    await call(hub, "POST", f"/v1/appeals/{second}/link", {"to": first, "relation": "same_event"})
    await hub.settle()
    await hub.advance(HOUR)
    await call(hub, "POST", f"/v1/appeals/{second}/unlink", {})
    await hub.settle()
    own = await order_of(hub, second)
    assert own["id"] != order["id"]
    clocks = await clocks_of(hub, own)
    assert instant(clocks["complete", 1]["started_at"]) == received
    assert instant(clocks["accept", 1]["started_at"]) == hub.clock.now()
    assert (await order_of(hub, first))["appeal_ids"] == [first]
    assert (await case_of(hub, second))["links"] == []


async def test_a_repeat_after_closing_tells_the_handler_and_counts(hub: Harness) -> None:
    reporter = {"phone": "13907530081"}
    answer = await posted(hub, reporter=reporter)
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    await completed(hub, order)
    await rated(hub, answer, solved=True, satisfaction=5)
    month = f"{hub.clock.now():%Y-%m}"

    async def repeats() -> int:
        items = (await call(hub, "GET", f"/v1/evaluations/{month}", params={"limit": 200}))["items"]
        return int(next(i for i in items if i["id"] == order["lead"])["counts"]["repeats"])

    before = await repeats()
    await hub.advance(HOUR)
    second = (await posted(hub, reporter=reporter))["id"]
    again = await order_of(hub, second)
    assert again["id"] != order["id"]
    assert again["repeat_of"] == answer["id"]
    assert await repeats() == before + 1


async def test_safety_words_make_an_appeal_urgent_at_once_and_it_is_reviewed_beside(hub: Harness) -> None:
    answer = await posted(hub, "龙华区金贸街道某小区楼道里燃气泄漏，味道很大，大家不敢回家")
    case = await case_of(hub, answer["id"])
    assert case["labels"]["class"] == "urgent"
    order = await order_of(hub, answer["id"])
    assert order["status"] == "dispatched"
    assert any(a["rule"] == "emergency_roster" and a["outcome"] == "chosen" for a in order["decision"]), order
    clocks = await clocks_of(hub, order)
    assert clocks["accept", 1]["allowed_s"] == 600
    assert clocks["complete", 1]["allowed_s"] == 2 * HOUR
    for text in ("燃气公司来过，现在不漏气了，感谢师傅", "小区路灯不亮，没有漏电，只是晚上看不清路"):
        label = (await case_of(hub, (await posted(hub, text))["id"]))["labels"]
        assert label["safety_words"] == [], text
        assert label["class"] != "urgent", text


async def test_a_person_lowers_the_class_of_an_order_that_is_with_its_unit(hub: Harness) -> None:
    answer = await posted(hub, "龙华区金贸街道小区路灯漏电，有孩子差点触电，请马上处理")
    order = await order_of(hub, answer["id"])
    assert order["class"] == "urgent"
    await act(hub, order, "accept")
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    assert (order["status"], order["class"], order["in_review"]) == ("accepted", "general", False)
    clocks = await clocks_of(hub, order)
    received = instant((await case_of(hub, answer["id"]))["received_at"])
    assert instant(clocks["complete", 1]["due_at"]) == received + timedelta(days=7)
    assert clocks["accept", 1]["stopped_at"] is not None


async def test_the_return_window_follows_the_class(hub: Harness) -> None:
    appeal, order = await dispatched(hub)
    until = instant(order["return_until"])
    assert until - instant(order["dispatched_at"]) >= timedelta(hours=4)
    await reviewed(hub, appeal, **{"class": "livelihood"})
    raised = await order_of(hub, appeal)
    assert raised["lead"] == order["lead"]
    assert raised["dispatch_no"] == 1
    assert instant(raised["return_until"]) == instant(order["dispatched_at"]) + timedelta(minutes=30)
    clocks = await clocks_of(hub, order)
    assert clocks["accept", 1]["due_at"] == raised["return_until"]


async def test_an_extension_is_at_most_the_original_length(hub: Harness) -> None:
    appeal = (await posted(hub, "请问路灯坏了应该打哪个电话报修", kind="consult"))["id"]
    await reviewed(hub, appeal, **{"class": "general"})
    order = await order_of(hub, appeal)
    assert order["kind"] == "consult"
    await act(hub, order, "accept")
    allowed = (await clocks_of(hub, order))["complete", 1]
    assert allowed["unit_of_time"] == "working"
    wish = {"seconds": 5 * 7 * HOUR + 1, "reason": "需专家会商"}
    await act(hub, order, "extend", wish, status=409)
    await act(hub, order, "extend", {**wish, "seconds": 5 * 7 * HOUR})


async def test_two_units_that_name_each_other_are_ruled_and_the_timeline_tells_it_truly(hub: Harness) -> None:
    appeal, order = await dispatched(hub)
    first = order["lead"]
    other = (await act(hub, order, "return", {"reason": "not_my_duty", "suggested_unit": "460106-cityadmin"}))["lead"]
    assert other != first
    order = await act(hub, order, "return", {"reason": "not_my_duty", "suggested_unit": first})
    assert order["status"] == "disputed"
    clocks = await clocks_of(hub, order)
    assert [clocks["accept", number]["stop_reason"] for number in (1, 2)] == ["returned", "returned"]
    assert clocks["ruling", 1]["allowed_s"] == 4 * HOUR
    assert clocks["ruling", 1]["unit_of_time"] == "working"
    assert clocks["complete", 1]["stopped_at"] is None, "the citizen's clocks keep running"
    body = {"lead": first, "scope": "case", "reason": "管养单位为该中心"}
    await call(hub, "POST", f"/v1/disputes/{order['dispute_id']}/ruling", body)
    await hub.settle()
    clocks = await clocks_of(hub, order)
    assert clocks["ruling", 1]["stop_reason"] == "ruled"
    assert clocks["accept", 3]["stopped_at"] is None
    shirked = await act(hub, order, "return", {"reason": "not_my_duty"})
    assert (shirked["status"], shirked["lead"]) == ("dispatched", first)
    items = (await call(hub, "GET", f"/v1/appeals/{appeal}/timeline"))["items"]
    told = {item["type"]: f"{item['words']} {item.get('reason')}" for item in items}
    assert shirked["lead_name"] in told["work_order.disputed"], "people read names, not codes"
    assert "12345" not in told["work_order.ruled"], "the centre rules, it does not lead"
    assert shirked["lead_name"] in told["work_order.dispatched"]
    assert "not_my_duty" not in str(told)
    assert "完成" not in told["clock.stopped"], "a return completes nothing"


async def test_rates_of_a_mixed_month_equal_a_hand_count(hub: Harness) -> None:
    # a month of its own
    hub.clock.set(datetime(2026, 12, 1, 1, 30, tzinfo=UTC))
    await hub.settle()

    async def one(channel: str = "web") -> tuple[dict[str, Any], dict[str, Any]]:
        answer = await posted(hub, channel=channel)
        await reviewed(hub, answer["id"], **{"class": "general"})
        return answer, await order_of(hub, answer["id"])

    happy, order = await one()
    unit = order["lead"]
    await completed(hub, order)
    await rated(hub, happy, solved=True, satisfaction=5)

    second, order = await one()  # bad, then good
    await completed(hub, order)
    await rated(hub, second, solved=False, satisfaction=1)
    await completed(hub, await order_of(hub, second["id"]))
    await rated(hub, second, solved=True, satisfaction=3)

    refused, order = await one("phone")
    await completed(hub, order)
    await call(hub, "POST", f"/v1/callbacks/{refused['id']}/attempts", {"outcome": "refused"})

    unsure, order = await one("phone")  # answers only one question
    await completed(hub, order)
    body = {"outcome": "reached", "contacted": False}
    await call(hub, "POST", f"/v1/callbacks/{unsure['id']}/attempts", body)

    _, silent = await one()  # link expires
    await completed(hub, silent)

    _, late = await one()  # becomes due
    await act(hub, late, "accept")

    gone, order = await one()  # excluded
    await completed(hub, order)
    await rated(hub, gone, solved=True, satisfaction=1)
    again = await order_of(hub, gone["id"])
    await completed(hub, again)
    await rated(hub, gone, solved=True, satisfaction=1)
    await call(hub, "POST", f"/v1/callbacks/{gone['id']}/decision", {"reason": "恶意差评"})
    await hub.settle()
    asked = await call(hub, "POST", "/v1/exclusions", {"appeal_id": gone["id"], "reason": "恶意差评"}, status=201)
    await call(hub, "POST", f"/v1/exclusions/{asked['id']}/decision", {"granted": True, "reason": "属实"})

    _, order = await one()
    await act(hub, order, "return", {"reason": "not_my_duty"})

    await hub.advance(8 * 24 * HOUR)
    await act(hub, late, "complete", {"result": "迟了", "solved": True})
    await hub.advance(16 * 24 * HOUR)  # both links expire
    items = (await call(hub, "GET", "/v1/evaluations/2026-12", params={"limit": 200}))["items"]
    mine = next(item for item in items if item["id"] == unit)
    rates = {name: (rate["numerator"], rate["denominator"]) for name, rate in mine["rates"].items()}
    assert rates.pop("tag_coverage") == (7, 7)
    right, judged = rates.pop("tag_accuracy")  # how many tags a text has is the tagger's
    assert right == judged > 0
    assert rates == {
        "response": (2, 4),
        "solution": (2, 4),
        "satisfaction": (2, 2),
        "second_handling": (1, 4),
        "on_time": (6, 7),
        "return": (1, 8),
        "repeat": (0, 7),
    }


async def test_a_case_shows_the_fields_that_integrators_rely_on(hub: Harness) -> None:
    appeal, order = await dispatched(hub)
    case = await case_of(hub, appeal)
    assert {"id", "reference_no", "status", "received_at", "region_code", "labels", "work_orders"} <= set(case)
    assert {"clocks", "feedback", "links"} <= set(case)
    assert {"id", "status", "lead", "version"} <= set(case["work_orders"][0])
    assert {"matter", "candidates", "tags", "class", "kind"} <= set(case["labels"])
    assert {clock["clock"] for clock in case["clocks"]} >= {"accept", "first_contact", "complete"}
    wanted = {"id", "appeal_ids", "status", "lead", "co_handlers", "class", "matter", "round", "version"}
    assert wanted | {"decision", "actions"} <= set(order)
    assert all({"rule", "outcome", "reason"} <= set(entry) for entry in order["decision"])
    answer = await hub.http.get(f"/v1/work-orders/{order['id']}", headers=hub.admin)
    assert answer.headers["etag"] == f'"{order["version"]}"'
    for text in [case["received_at"], *(clock["due_at"] for clock in case["clocks"]), order["received_at"]]:
        assert instant(text)
    clock = (await call(hub, "GET", f"/v1/clocks/{order['id']}"))["items"][0]
    fields = {"clock", "round", "started_at", "due_at", "stopped_at", "lamp", "used_s", "allowed_s", "provisional"}
    assert fields | {"explanation"} <= set(clock)


async def test_lists_are_walked_to_their_end_without_a_gap_or_a_repeat(hub: Harness) -> None:
    month = f"{hub.clock.now():%Y-%m}"
    for path in (
        "/v1/appeals",
        "/v1/work-orders",
        "/v1/lamps",
        "/v1/supervisions",
        "/v1/matters",
        "/v1/units",
        "/v1/reviews",
        "/v1/callbacks",
        "/v1/disputes",
        "/v1/duties",
        "/v1/tags",
        f"/v1/evaluations/{month}",
        f"/v1/rankings/{month}",
    ):
        whole = (await call(hub, "GET", path, params={"limit": 200}))["items"]
        seen: list[Any] = []
        after: dict[str, str] = {}
        for _ in range(400):
            page = await call(hub, "GET", path, params={"limit": 3, **after})
            seen += page["items"]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert seen[: len(whole)] == whole, path


async def test_a_person_links_a_repeat_of_a_closed_case_and_it_counts_within_thirty_days(hub: Harness) -> None:
    answer = await posted(hub, reporter={"phone": "13907530085"})
    await reviewed(hub, answer["id"], **{"class": "general"})
    order = await order_of(hub, answer["id"])
    await completed(hub, order)
    await rated(hub, answer, solved=True, satisfaction=5)
    period = f"{hub.clock.now():%Y-%m}"

    async def repeats() -> int:
        items = (await call(hub, "GET", f"/v1/evaluations/{period}", params={"limit": 200}))["items"]
        return int(next(i for i in items if i["id"] == order["lead"])["counts"]["repeats"])

    before = await repeats()
    later = await posted(hub, "金贸街道那盏灯还是老样子，你们到底修没修", reporter={"phone": "13907530086"})
    for _ in range(2):  # said twice, it counts once
        link = {"to": answer["id"], "relation": "repeat"}
        await call(hub, "POST", f"/v1/appeals/{later['id']}/link", link)
        await hub.settle()
    again = await order_of(hub, later["id"])
    assert (again["id"] != order["id"], again["repeat_of"]) == (True, answer["id"])
    assert await repeats() == before + 1
    timeline = (await call(hub, "GET", f"/v1/appeals/{later['id']}/timeline"))["items"]
    assert [item["type"] for item in timeline].count("work_order.repeat_found") == 1
    await hub.advance(31 * 24 * HOUR)
    last = await posted(hub, "路灯问题", reporter={"phone": "13907530087"})
    await call(hub, "POST", f"/v1/appeals/{last['id']}/link", {"to": answer["id"], "relation": "repeat"})
    await hub.settle()
    assert (await order_of(hub, last["id"]))["repeat_of"] is None, "after thirty days it is another matter"
