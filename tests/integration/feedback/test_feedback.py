"""Feedback through its two doors, HTTP and the bus, on a real PostgreSQL with a clock that the test turns."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from shared.clock import ZONE
from shared.http.pages import encode_cursor
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

GOOD: dict[str, object] = {"contacted": True, "solved": True, "satisfaction": 5}
BAD: dict[str, object] = {"contacted": True, "solved": False, "satisfaction": 1, "words": "还是不亮"}
TEN_O_CLOCK = datetime(2026, 11, 2, 10, 0, tzinfo=ZONE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "feedback") as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: Harness) -> Harness:
    shared_hub.clock.set(max(shared_hub.clock.now(), TEN_O_CLOCK))
    return shared_hub


async def at_ten(hub: Harness) -> None:
    """Go on to the next 10:00."""
    now = hub.clock.now().astimezone(ZONE)
    ten = now.replace(hour=10, minute=0, second=0, microsecond=0)
    await hub.advance(((ten if ten >= now else ten + timedelta(days=1)) - now).total_seconds())


async def types(hub: Harness, case: Case) -> list[str]:
    events = await hub.events("feedback.ratings.v1", key=case.id)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    return [e.type.removeprefix("feedback.") for e in events]


async def last(hub: Harness, case: Case) -> Any:
    return (await hub.events("feedback.ratings.v1", key=case.id))[-1].data


async def rate(hub: Harness, case: Case, number: int, body: dict[str, object]) -> Any:
    return await hub.http.post(f"/v1/ratings/{case.tokens[number - 1]}", json=body)


async def test_a_good_rating_closes_the_feedback(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    shown = await hub.http.get(f"/v1/ratings/{case.tokens[0]}")
    assert shown.status_code == 200
    assert shown.json()["result"] == "已更换灯泡"
    answer = await rate(hub, case, 1, GOOD)
    assert answer.status_code == 200, answer.text
    await hub.settle()
    assert await types(hub, case) == ["opened", "answered", "closed"]
    after = (await last(hub, case)).after
    assert (after.status, after.outcome, after.reached, after.unit) == ("closed", "answered", True, "u1")


async def test_a_rating_works_once_and_only_with_its_own_token(hub: Harness) -> None:
    case, other = Case(hub), Case(hub)
    await case.ready_to_rate()
    assert (await hub.http.get("/v1/ratings/guessed")).status_code == 404
    assert (await rate(hub, other, 1, GOOD)).status_code == 404
    assert (await rate(hub, case, 2, GOOD)).status_code == 404, "the second token opens no first round"
    await other.ready_to_rate()
    assert (await rate(hub, other, 1, {**GOOD, "satisfaction": 3})).status_code == 200
    assert (await hub.http.get(f"/v1/ratings/{case.tokens[0]}")).status_code == 200, (
        "the token of another case is another's"
    )
    taps = await asyncio.gather(*(rate(hub, case, 1, GOOD) for _ in range(5)))
    assert sorted(tap.status_code for tap in taps) == [200, 409, 409, 409, 409]
    assert (await hub.http.get(f"/v1/ratings/{case.tokens[0]}")).json()["code"] == "rating_used"
    await hub.settle()
    assert await types(hub, case) == ["opened", "answered", "closed"]


async def test_a_bad_rating_waits_for_second_handling_and_asks_again(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    answer = await rate(hub, case, 1, BAD)
    assert answer.json()["second_handling"] is True
    await hub.settle()
    bad = await last(hub, case)
    assert (bad.bad, bad.after.status, bad.after.bad_ratings) == (True, "second_handling", 1)
    assert bad.after.false_completion_suspected
    await case.reopened()
    await case.completed()
    await hub.settle()
    assert (await rate(hub, case, 1, GOOD)).json()["code"] == "rating_used"
    assert (await rate(hub, case, 2, GOOD)).status_code == 200
    await hub.settle()
    assert await types(hub, case) == ["opened", "answered", "opened", "answered", "closed"]
    after = (await last(hub, case)).after
    assert [a.satisfaction for a in after.answers] == [1, 5]


async def test_second_bad_rating_waits_for_the_centre(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    await rate(hub, case, 1, BAD)
    await case.reopened()
    await case.completed()
    await hub.settle()
    await rate(hub, case, 2, BAD)
    centre = hub.token("leader")
    waiting = await hub.http.get("/v1/callbacks?status=awaiting_decision", headers=centre)
    assert case.id in [item["id"] for item in waiting.json()["items"]]
    url = f"/v1/callbacks/{case.id}/decision"
    assert (await hub.http.post(url, json={"reason": "已核实"}, headers=hub.token("seat"))).status_code == 403
    decided = await hub.http.post(url, json={"reason": "已核实"}, headers=centre)
    assert (decided.status_code, decided.json()["status"]) == (200, "closed")
    assert (await hub.http.post(url, json={"reason": "已核实"}, headers=centre)).status_code == 409
    await hub.settle()
    closed = await last(hub, case)
    assert (closed.type, closed.reason, closed.after.bad_ratings) == ("feedback.closed", "已核实", 2)


async def test_a_link_expires_after_fifteen_days(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    opened_at = hub.clock.now()
    await hub.advance(15 * 86400 - 1)
    assert await types(hub, case) == ["opened"]
    await hub.advance(2)
    assert await types(hub, case) == ["opened", "closed"]
    closed = (await hub.events("feedback.ratings.v1", key=case.id))[-1]
    assert closed.time == opened_at + timedelta(days=15)
    assert (closed.data.after.outcome, closed.data.after.reached) == ("expired", False)
    gone = await rate(hub, case, 1, GOOD)
    assert (gone.status_code, gone.json()["code"]) == (410, "rating_closed")


async def test_phone_reporters_are_called_on_three_half_days(hub: Harness) -> None:
    await at_ten(hub)
    case = Case(hub, channel="phone")
    await case.ready_to_rate()
    seat = hub.token("seat", sub="s1")
    assert (await rate(hub, case, 1, GOOD)).status_code == 404, "who is called has no link"
    url = f"/v1/callbacks/{case.id}/attempts"
    first = await hub.http.post(url, json={"outcome": "no_answer"}, headers=seat)
    assert first.status_code == 200, first.text
    again = await hub.http.post(url, json={"outcome": "no_answer"}, headers=seat)
    assert (again.status_code, again.json()["code"]) == (409, "half_day_already_tried")
    assert again.json()["retry_at"].endswith("13:30:00+08:00")
    await hub.advance(4 * 3600)
    await hub.http.post(url, json={"outcome": "no_answer"}, headers=seat)
    await hub.advance(20 * 3600)
    third = await hub.http.post(url, json={"outcome": "no_answer"}, headers=seat)
    assert third.json()["outcome"] == "unreachable"
    await hub.settle()
    assert await types(hub, case) == ["opened", "attempted", "attempted", "attempted", "closed"]


async def test_a_deaf_phone_reporter_gets_a_link(hub: Harness) -> None:
    case = Case(hub, channel="phone", groups=("deaf",))
    await case.ready_to_rate()
    assert (await rate(hub, case, 1, GOOD)).status_code == 200


async def test_who_cannot_be_phoned_is_asked_in_writing_or_in_sign_language_beside_the_link(hub: Harness) -> None:
    await at_ten(hub)
    deaf, signer = Case(hub, channel="phone", groups=("deaf",)), Case(hub, channel="sign_video")
    await deaf.ready_to_rate()
    await signer.ready_to_rate()
    opened = [(await last(hub, case)).after for case in (deaf, signer)]
    assert [(after.method, after.medium) for after in opened] == [("link", "text"), ("link", "sign_video")]

    async def lease(seat: str, **wish: object) -> dict[str, str]:
        answer = await hub.http.post(
            "/v1/callbacks/lease", json={"limit": 50, **wish}, headers=hub.token("seat", sub=seat)
        )
        assert answer.status_code == 200, answer.text
        return {item["id"]: item["script"]["greeting"] for item in answer.json()["items"]}

    plain, signing = await asyncio.gather(lease("writer"), lease("signer", media=["sign_video"]))
    assert deaf.id in plain
    assert signer.id not in plain, "sign language is for seats that ask for it"
    assert set(signing) == {signer.id}
    assert "短信" in plain[deaf.id]
    assert "手语" in signing[signer.id]
    url = f"/v1/callbacks/{signer.id}/attempts"
    body = {"outcome": "reached", "contacted": True, "solved": True, "satisfaction": 4}
    made = await hub.http.post(url, json=body, headers=hub.token("seat", sub="signer"))
    assert made.json()["status"] == "closed"
    assert (await rate(hub, signer, 1, GOOD)).json()["code"] == "rating_used"
    assert (await rate(hub, deaf, 1, GOOD)).status_code == 200, "the link works while a seat holds the call-back"
    late = await hub.http.post(
        f"/v1/callbacks/{deaf.id}/attempts", json={"outcome": "refused"}, headers=hub.token("seat", sub="writer")
    )
    assert late.json()["code"] == "not_being_asked"


async def test_a_lease_ends_with_the_hours_and_a_repeated_key_gives_the_same_citizens(hub: Harness) -> None:
    await at_ten(hub)
    for _ in range(2):
        await Case(hub, channel="phone").ready_to_rate()
    await hub.advance(10 * 3600 + 59 * 60)  # 20:59
    seat = hub.token("seat", sub="late") | {"Idempotency-Key": f"lease-{uuid7()}"}
    first = await hub.http.post("/v1/callbacks/lease", json={"limit": 1}, headers=seat)
    again = await hub.http.post("/v1/callbacks/lease", json={"limit": 1}, headers=seat)
    assert first.json() == again.json()
    (item,) = first.json()["items"]
    ends = datetime.fromisoformat(item["leased_until"])
    assert ends <= datetime.now(ZONE) + timedelta(seconds=60), "nobody is called after 21:00"


async def test_a_reached_citizens_answer_counts(hub: Harness) -> None:
    case = Case(hub, channel="phone")
    await case.ready_to_rate()
    body = {"outcome": "reached", "solved": True, "words": "打我手机13800138000，身份证460100199001011234"}
    answer = await hub.http.post(f"/v1/callbacks/{case.id}/attempts", json=body, headers=hub.token("seat"))
    assert answer.json()["status"] == "closed"
    await hub.settle()
    assert await types(hub, case) == ["opened", "attempted", "answered", "closed"]
    words = (await last(hub, case)).after.answers[-1].words
    assert "13800138000" not in words
    assert "460100199001011234" not in words
    stored = await hub.query("SELECT count(*) FROM feedback.cases WHERE state::text LIKE '%13800138000%'")
    assert stored[0][0] == 0


async def test_seats_lease_different_citizens_and_nobody_at_night(hub: Harness) -> None:
    await at_ten(hub)
    cases = [Case(hub, channel="phone") for _ in range(4)]
    for case in cases:
        await case.ready_to_rate()
    wanted = {case.id for case in cases}

    async def lease(seat: str) -> list[str]:
        headers = hub.token("seat", sub=seat)
        answer = await hub.http.post("/v1/callbacks/lease", json={"limit": 50}, headers=headers)
        return [item["id"] for item in answer.json()["items"]]

    both = await asyncio.gather(lease("s1"), lease("s2"))
    assert set(both[0]).isdisjoint(both[1])
    assert wanted <= set(both[0]) | set(both[1])
    holder = "s1" if cases[0].id in both[0] else "s2"
    url, body = f"/v1/callbacks/{cases[0].id}/attempts", {"outcome": "refused"}
    taken = await hub.http.post(url, json=body, headers=hub.token("seat", sub="s3"))
    assert (taken.status_code, taken.json()["code"]) == (409, "leased")
    assert (await hub.http.post(url, json=body, headers=hub.token("seat", sub=holder))).status_code == 200
    await hub.advance(12 * 3600)
    assert await lease("s4") == []
    late = await hub.http.post(
        f"/v1/callbacks/{cases[1].id}/attempts", json={"outcome": "no_answer"}, headers=hub.admin
    )
    assert late.json()["code"] in ("outside_calling_hours", "leased")


async def test_the_list_shows_who_is_next_page_by_page(hub: Harness) -> None:
    await at_ten(hub)
    for _ in range(3):
        await Case(hub, channel="phone").ready_to_rate()
    seen: list[str] = []
    after = ""
    while True:
        answer = (await hub.http.get(f"/v1/callbacks?limit=2{after}", headers=hub.token("seat"))).json()
        seen += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        after = f"&after={answer['next']}"
    assert len(seen) == len(set(seen)) >= 3
    elsewhere = await hub.http.get("/v1/callbacks", headers=hub.token("seat", regions=["110000"]))
    assert elsewhere.json()["items"] == []
    assert (await hub.http.get("/v1/callbacks", headers=hub.token("handler", units=["u1"]))).status_code == 403


async def test_a_completion_that_overtakes_its_appeal_is_asked_when_the_appeal_comes(hub: Harness) -> None:
    case = Case(hub)
    await case.completed()
    await hub.settle()
    assert await types(hub, case) == []
    await case.received()
    await hub.settle()
    assert await types(hub, case) == ["opened"]
    assert (await rate(hub, case, 1, GOOD)).status_code == 200


async def test_second_delivery_changes_nothing(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    case.order_sequence = 0
    await case.completed()  # another id, the same sequence
    await case.received()
    await hub.settle()
    assert await types(hub, case) == ["opened"]


async def test_a_withdrawn_appeal_is_asked_no_more(hub: Harness) -> None:
    case, never = Case(hub), Case(hub)
    await case.ready_to_rate()
    await case.withdrawn()
    await never.received()
    await never.withdrawn()
    await hub.settle()  # topics overtake each other: first the withdrawal, then the completion
    await never.completed()
    await hub.settle()
    assert await types(hub, case) == ["opened", "closed"]
    assert (await last(hub, case)).after.outcome == "withdrawn"
    assert await types(hub, never) == []
    assert (await rate(hub, case, 1, GOOD)).status_code == 410


async def test_the_centre_closing_an_order_ends_its_feedback(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    await case.closed()
    await hub.settle()
    assert (await last(hub, case)).after.outcome == "order_closed"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**GOOD, "satisfaction": 9}, "/satisfaction"),
        ({**GOOD, "satisfaction": "5"}, "/satisfaction"),
        ({"contacted": True, "solved": True}, "/satisfaction"),
        ({**GOOD, "words": "好" * 10_000}, "/words"),
    ],
)
async def test_a_wrong_answer_names_the_field(hub: Harness, body: dict[str, object], pointer: str) -> None:
    answer = await hub.http.post("/v1/ratings/any", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "values", [[], ["x"], [1, 2], ["2026-11-02T00:00:00+08:00"], ["0001-01-01T00:00:00+08:00", "a"]]
)
@pytest.mark.parametrize("path", ["/v1/callbacks", "/v1/callbacks?status=awaiting_decision", "/v1/exclusions"])
async def test_a_foreign_cursor_is_refused_or_harmless(hub: Harness, path: str, values: list[Any]) -> None:
    joint = "&" if "?" in path else "?"
    answer = await hub.http.get(f"{path}{joint}after={encode_cursor(values)}", headers=hub.admin)
    assert answer.status_code in (200, 422), answer.text
    nul = await hub.http.get(f"{path}{joint}after={encode_cursor([chr(0)])}", headers=hub.admin)
    assert nul.status_code == 422


async def test_a_foreign_form_is_refused(hub: Harness) -> None:
    answer = await hub.http.post("/v1/ratings/any", data={f"field{n}": "1" for n in range(50)})
    assert answer.status_code == 422


FORM = {"contacted": "yes", "solved": "no", "satisfaction": "2", "words": "<script>alert(1)</script>😀"}


async def test_the_page_works_without_javascript(hub: Harness) -> None:
    case = Case(hub)
    await case.ready_to_rate()
    url = f"/v1/ratings/{case.tokens[0]}"
    shown = await hub.http.get(url, headers={"Accept": "text/html,application/xhtml+xml"})
    assert shown.headers["content-type"].startswith("text/html")
    assert "<script" not in shown.text
    assert "单位u1" in shown.text
    lacking = await hub.http.post(url, data={"contacted": "yes", "words": "</textarea><script>x</script>"})
    assert (lacking.status_code, "还没有填写完整" in lacking.text) == (422, True)
    assert 'name="contacted" value="yes" required checked' in lacking.text, "what was filled in stays"
    assert lacking.text.count("请选择一项") == 2
    assert "<script" not in lacking.text
    long = await hub.http.post(url, data={**FORM, "words": "好" * 10_000})
    assert (long.status_code, "不超过 1000 字" in long.text) == (422, True)
    thanked = await hub.http.post(url, data=FORM)
    assert (thanked.status_code, "谢谢" in thanked.text) == (200, True)
    again = await hub.http.get(url, headers={"Accept": "text/html"})
    assert (again.status_code, "您已经评价过了" in again.text) == (409, True)
    missing = await hub.http.get("/v1/ratings/<script>", headers={"Accept": "text/html"})
    assert (missing.status_code, "<script" in missing.text) == (404, False)


async def test_an_exclusion_is_asked_by_the_scored_unit_and_decided_by_the_centre(hub: Harness) -> None:
    case = Case(hub, unit="u7")
    await case.ready_to_rate()
    own, wish = hub.token("handler", units=["u7"]), {"appeal_id": case.id, "reason": "恶意评价"}
    assert (await hub.http.post("/v1/exclusions", json=wish, headers=own)).json()["code"] == "nothing_rated"
    await rate(hub, case, 1, {"contacted": True, "solved": True, "satisfaction": 3})
    foreign = await hub.http.post("/v1/exclusions", json=wish, headers=hub.token("handler", units=["u8"]))
    assert foreign.status_code == 404
    keyed = own | {"Idempotency-Key": "wish-1"}
    asked = await hub.http.post("/v1/exclusions", json=wish, headers=keyed)
    assert asked.status_code == 201, asked.text
    repeated = await hub.http.post("/v1/exclusions", json=wish, headers=keyed)
    assert (repeated.status_code, repeated.json()) == (200, asked.json())
    url = f"/v1/exclusions/{asked.json()['id']}/decision"
    verdict = {"granted": True, "reason": "属实"}
    assert (await hub.http.post(url, json=verdict, headers=own)).status_code == 403
    decided = await hub.http.post(url, json=verdict, headers=hub.token("leader"))
    assert decided.json()["state"] == "granted"
    assert (await hub.http.post(url, json=verdict, headers=hub.token("leader"))).status_code == 409
    await hub.settle()
    assert (await types(hub, case))[-2:] == ["exclusion_requested", "exclusion_decided"]
    assert (await last(hub, case)).after.exclusion == "granted"
    listed = (await hub.http.get("/v1/exclusions?state=granted", headers=own)).json()["items"]
    assert [item["appeal_id"] for item in listed] == [case.id]
    audited = (await hub.http.get("/ops/feedback/audit/verify", headers=hub.admin)).json()
    assert audited["intact"] is True


async def test_exclusion_is_too_late_after_five_working_days(hub: Harness) -> None:
    case = Case(hub, unit="u9")
    await case.ready_to_rate()
    await rate(hub, case, 1, {"contacted": True, "solved": True, "satisfaction": 3})
    await hub.advance(14 * 86400)
    wish = {"appeal_id": case.id, "reason": "恶意评价"}
    late = await hub.http.post("/v1/exclusions", json=wish, headers=hub.token("handler", units=["u9"]))
    assert (late.status_code, late.json()["code"]) == (409, "too_late")
