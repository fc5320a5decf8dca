"""`POST /v1/appeals` and the batch, through HTTP (api.md, intake)."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from shared.testing.harness import Harness


def appeal(**changes: Any) -> dict[str, Any]:
    return {"channel": "phone", "text": "龙华区海垦街道的路灯不亮，晚上很危险"} | changes


async def post(hub: Harness, body: dict[str, Any], **headers: str) -> Any:
    return await hub.http.post("/v1/appeals", json=body, headers=hub.admin | headers)


async def batch(hub: Harness, *lines: bytes | dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    raw = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    answer = await hub.http.post("/v1/appeals/batch", content=raw, headers=hub.admin | headers)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_an_appeal_is_answered_with_its_numbers_and_told_to_the_others(hub: Harness) -> None:
    answer = await post(hub, appeal(occurred_at="2026-11-02T09:30:00+08:00", kind="complaint"))
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"id", "reference_no", "status", "received_at", "query_code"}
    assert body["status"] == "received"
    assert body["reference_no"].startswith("460100-20261102-")
    await hub.settle()
    (event,) = await hub.events("intake.appeals.v1", key=body["id"])
    assert event.type == "appeal.received"
    assert event.sequence == 1
    after = event.data.after
    assert after.place.region_code == "460106005"
    assert after.reference_no == body["reference_no"]
    assert len(after.rating_token_sha256) == 3


async def test_a_2xx_is_committed_and_can_be_read_at_once(hub: Harness) -> None:
    body = (await post(hub, appeal())).json()
    read = await hub.http.get(f"/v1/appeals/{body['id']}", headers=hub.admin)
    assert read.status_code == 200
    case = read.json()
    assert case["status"] == "received"
    assert case["labels"] is None
    assert case["work_orders"] == []
    timeline = (await hub.http.get(f"/v1/appeals/{body['id']}/timeline", headers=hub.admin)).json()
    assert [item["type"] for item in timeline["items"]] == ["appeal.received"]
    assert timeline["items"][0]["actor"] == "citizen"
    assert body["reference_no"] in timeline["items"][0]["words"]


async def test_an_equal_body_gets_the_first_answer_for_ever(hub: Harness) -> None:
    sent = appeal(external_id=str(uuid4()), occurred_at="2026-11-02T09:30:00+08:00")
    first = await post(hub, sent)
    hub.clock.advance(86400 * 40)
    again = await post(hub, sent | {"occurred_at": "2026-11-02T01:30:00Z"})
    assert (first.status_code, again.status_code) == (
        201,
        409,
    )  # another instant form is another body only if parsed so
    same = await post(hub, sent)
    assert same.status_code == 200
    assert same.json() == first.json()


async def test_another_body_under_a_known_external_id_is_a_conflict(hub: Harness) -> None:
    sent = appeal(external_id=str(uuid4()))
    first = (await post(hub, sent)).json()
    answer = await post(hub, sent | {"text": "别的事情"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "external_id_conflict"
    assert answer.json()["id"] == first["id"]


async def test_external_ids_belong_to_their_platform(hub: Harness) -> None:
    sent = appeal(external_id=str(uuid4()))
    assert (await post(hub, sent)).status_code == 201
    assert (await post(hub, sent | {"source_platform": "460200"})).status_code == 201
    token = hub.tokens.issue("feeder", ["platform"], platform="460300")[0]
    own = {"Authorization": f"Bearer {token}"}
    assert (await hub.http.post("/v1/appeals", json=sent, headers=own)).status_code == 201
    foreign = await hub.http.post("/v1/appeals", json=sent | {"source_platform": "460200"}, headers=own)
    assert foreign.status_code == 403


async def test_an_idempotency_key_covers_clients_without_ids(hub: Harness) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = await post(hub, appeal(), **key)
    again = await post(hub, appeal(), **key)
    other = await post(hub, appeal(text="别的事情"), **key)
    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 409]
    assert again.json() == first.json()
    assert other.json()["code"] == "idempotency_conflict"


async def test_one_bad_line_harms_no_other(hub: Harness) -> None:
    twice = appeal(external_id=str(uuid4()))
    answers = await batch(
        hub,
        appeal(),
        b'{"channel": "phone", "text":',
        {"channel": "smoke", "text": "x"},
        b"\xff\xfe",
        twice,
        twice,
        twice | {"text": "另一件"},
        b'{"channel": "phone", "text": "a\\u0000b"}',
        b'{"channel": "phone", "text": "\\ud800"}',
        b"[" * 10_000,
        b"",
        appeal(),
    )
    assert [answer["line"] for answer in answers] == list(range(1, 13))
    assert [answer["status"] for answer in answers] == [201, 422, 422, 422, 201, 200, 409, 422, 422, 422, 422, 201]
    assert answers[5]["id"] == answers[4]["id"] == answers[6]["id"]
    assert answers[2]["errors"][0]["pointer"] == "/channel"
    assert answers[6]["code"] == "external_id_conflict"


async def test_a_batch_sent_again_finds_everything_there(hub: Harness) -> None:
    lines = [appeal(external_id=str(uuid4())) for _ in range(600)]
    first = await batch(hub, *lines)
    again = await batch(hub, *lines)
    assert {answer["status"] for answer in first} == {201}
    assert {answer["status"] for answer in again} == {200}
    assert [answer["id"] for answer in again] == [answer["id"] for answer in first]


async def test_a_batch_key_covers_its_lines(hub: Harness) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = await batch(hub, appeal(), appeal(), **key)
    again = await batch(hub, appeal(), appeal(), **key)
    assert [answer["status"] for answer in again] == [200, 200]
    assert [answer["id"] for answer in again] == [answer["id"] for answer in first]


async def test_too_many_lines_and_too_many_bytes_are_refused_whole(hub: Harness) -> None:
    line = orjson.dumps(appeal()) + b"\n"
    before = await hub.query("SELECT count(*) FROM intake.appeals")
    many = await hub.http.post("/v1/appeals/batch", content=line * 5001, headers=hub.admin)
    big = await hub.http.post("/v1/appeals/batch", content=b"x" * 32_000_001, headers=hub.admin)
    single = await hub.http.post("/v1/appeals", content=b"x" * 20_000_000, headers=hub.admin)
    empty = await hub.http.post("/v1/appeals/batch", content=b"\n\n", headers=hub.admin)
    assert [answer.status_code for answer in (many, big, single, empty)] == [413, 413, 413, 422]
    assert await hub.query("SELECT count(*) FROM intake.appeals") == before


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"text": ""}, "/text"),
        ({"text": " \n"}, "/text"),
        ({"text": "字" * 20_001}, "/text"),
        ({"text": 5}, "/text"),
        ({"channel": "fax"}, "/channel"),
        ({"kind": "wish"}, "/kind"),
        ({"occurred_at": "2027-01-01T00:00:00+08:00"}, "/occurred_at"),
        ({"occurred_at": "2026-01-01"}, "/occurred_at"),
        ({"occurred_at": 1767225600}, "/occurred_at"),
        ({"reporter": {"phone": 13800138000}}, "/reporter/phone"),
        ({"reporter": {"phone": "call me"}}, "/reporter/phone"),
        ({"reporter": {"id_number": "?"}}, "/reporter/id_number"),
        ({"reporter": {"groups": ["rich"]}}, "/reporter/groups/0"),
        ({"location": {"lon": "110.3"}}, "/location/lon"),
        ({"location": {"lat": 91}}, "/location/lat"),
        ({"location": {"region_code": "990000"}}, "/location/region_code"),
        (
            {"emergency_action": {"taken_at": "2027-01-01T00:00:00+08:00", "by": "x", "what": "y"}},
            "/emergency_action/taken_at",
        ),
        ({"emergency_action": {"by": "x", "what": "y"}}, "/emergency_action/taken_at"),
        ({"external_id": "a\nb"}, "/external_id"),
    ],
)
async def test_a_wrong_field_is_named_with_a_remedy(hub: Harness, change: dict[str, Any], pointer: str) -> None:
    hub.clock.set(hub.clock.now().replace(year=2026, month=11, day=20))
    answer = await post(hub, appeal(**change))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe\x00",
        b'{"channel": "phone", "text": "a\x00b"}',
        b'{"channel": "phone", "text": "a\\u0000b"}',
        b'{"channel": "phone", "text": "\\ud83d"}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"channel": "phone", "text": "x", "location": {"lon": NaN}}',
    ],
    ids=lambda raw: repr(raw[:12]),
)
async def test_hostile_bodies_get_a_problem_document(hub: Harness, raw: bytes) -> None:
    answer = await hub.http.post("/v1/appeals", content=raw, headers=hub.admin | {"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["code"] in ("invalid", "invalid_json")


async def test_sending_needs_a_token_and_a_role(hub: Harness) -> None:
    assert (await hub.http.post("/v1/appeals", json=appeal())).status_code == 401
    for role in ("handler", "leader", "auditor", "supervisor"):
        headers = hub.token(role, units=["u1"])
        assert (await hub.http.post("/v1/appeals", json=appeal(), headers=headers)).status_code == 403
    assert (await hub.http.post("/v1/appeals", json=appeal(), headers=hub.token("seat"))).status_code == 201


async def test_the_clocks_of_an_emergency_can_count_from_the_action(hub: Harness) -> None:
    taken = (hub.clock.now() - timedelta(minutes=20)).isoformat()
    emergency = {"taken_at": taken, "by": "王师傅 13800138000", "what": "关阀，联系人：李建国"}
    body = (await post(hub, appeal(emergency_action=emergency))).json()
    await hub.settle()
    (event,) = await hub.events("intake.appeals.v1", key=body["id"])
    action = event.data.after.emergency_action
    assert action.taken_at.isoformat() == taken
    assert action.by == "〔姓名〕师傅 〔电话〕"
    assert action.what == "关阀，联系人：〔姓名〕"


async def test_the_same_phone_has_the_same_pseudonym_and_anonymous_has_none(hub: Harness) -> None:
    found = []
    for reporter in (
        {"phone": "13800138000", "name": "甲"},
        {"phone": "+86 138-0013-8000"},
        {"phone": "13900139000"},
        {"phone": "13800138000", "anonymous": True},
    ):
        body = (await post(hub, appeal(reporter=reporter))).json()
        await hub.settle()
        (event,) = await hub.events("intake.appeals.v1", key=body["id"])
        found.append(event.data.after.reporter.pseudonym)
    assert found[0] == found[1]
    assert len({found[0], found[2], found[3]}) == 3
    assert found[3] is None


async def test_place_comes_from_the_code_then_the_address_then_the_words(hub: Harness) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"location": {"region_code": "460107"}}, "460107"),
        ({"location": {"region_code": "460107", "address": "琼山区府城街道"}}, "460107002"),
        ({"location": {"region_code": "460107", "address": "美兰区灵山镇"}}, "460107"),
        ({"location": {"address": "美兰区灵山镇"}}, "460108101"),
        ({"location": {"lon": 110.3284, "lat": 20.0310}, "text": "路灯坏了"}, "460106"),
        ({"text": "三亚市吉阳区酒店不退押金"}, "460203"),
        ({"text": "路灯坏了", "location": {"region_code": "460106005003"}}, "460106005003"),
        ({"text": "路灯坏了"}, "460100"),
    ]
    for change, code in cases:
        body = (await post(hub, appeal(**change))).json()
        case = (await hub.http.get(f"/v1/appeals/{body['id']}", headers=hub.admin)).json()
        assert case["region_code"] == code, change


async def test_coordinates_leave_rounded(hub: Harness) -> None:
    body = (await post(hub, appeal(location={"lon": 110.328449, "lat": 20.031049}))).json()
    await hub.settle()
    (event,) = await hub.events("intake.appeals.v1", key=body["id"])
    assert (event.data.after.place.lon, event.data.after.place.lat) == (110.33, 20.03)


async def test_tokens_of_a_rating_are_known_to_events_by_digest_only(hub: Harness) -> None:
    body = (await post(hub, appeal())).json()
    await hub.settle()
    (event,) = await hub.events("intake.appeals.v1", key=body["id"])
    assert all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in event.data.after.rating_token_sha256)
