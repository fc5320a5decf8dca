"""Files of cases over HTTP: taken, refused, read by whom, claimed, evidence, cleaned up."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.intake.attachments.keeper import Keeper
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.dispatch.cases import classified, order_of
from tests.integration.intake.files import JPEG, PDF, REFUSED, photo

CITYADMIN = "460106-cityadmin"
PLACE = {"region_code": "460106001"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "intake", "dispatch") as harness:
        yield harness


async def appeal(hub: Harness, **changes: Any) -> dict[str, Any]:
    body = {"channel": "web", "text": "路口有摊贩占道经营", "location": PLACE, **changes}
    answer = await hub.http.post("/v1/appeals", json=body, headers=hub.token("seat"))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def send(
    hub: Harness, data: bytes | AsyncIterator[bytes], headers: dict[str, str], **query: str
) -> httpx.Response:
    return await hub.http.post("/v1/attachments", content=data, params=query, headers=headers)


async def sent(hub: Harness, data: bytes, headers: dict[str, str], **query: str) -> dict[str, Any]:
    answer = await send(hub, data, headers, **query)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def code(case: dict[str, Any]) -> dict[str, str]:
    return {"reference_no": case["reference_no"], "query_code": case["query_code"]}


def stored(hub: Harness) -> set[str]:
    return {path.name for path in hub.settings.data_dir.glob("attachments/??/*")}


def handler(hub: Harness, unit: str = CITYADMIN) -> dict[str, str]:
    return hub.token("handler", units=[unit], sub=f"handler-{unit}")


async def ordered(hub: Harness, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An appeal with its order at the district's 城市管理局."""
    case = await appeal(hub, **changes)
    await classified(hub, case["id"])
    return case, await order_of(hub, case["id"])


async def test_a_file_is_stored_sealed_and_comes_back_to_be_saved(hub: Harness) -> None:
    case, data = await appeal(hub), photo(300_000)
    seat = hub.token("seat")
    file = await sent(hub, data, seat, appeal_id=case["id"], name="../现场 1.html")
    assert (file["media_type"], file["size"], file["purpose"]) == ("image/jpeg", len(data), "material")
    assert file["sha256"] == hashlib.sha256(data).hexdigest()
    (path,) = hub.settings.data_dir.glob(f"attachments/??/{file['id']}")
    assert data[:64] not in path.read_bytes(), "sealed"
    answer = await hub.http.get(f"/v1/attachments/{file['id']}", headers=seat)
    assert answer.content == data
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"].startswith('attachment; filename="attachment.jpg"')
    assert "%E7%8E%B0%E5%9C%BA%201.jpg" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-store"
    (item,) = (await hub.http.get("/v1/attachments", params={"appeal_id": case["id"]}, headers=seat)).json()["items"]
    assert (item["id"], item["name"], item["readable"]) == (file["id"], "现场 1.jpg", True)
    await hub.settle()
    rows = await hub.query("SELECT convert_from(value, 'UTF8') AS body FROM bus.log WHERE key = $1", file["id"])
    assert len(rows) == 1
    assert "现场" not in rows[0]["body"], "names are not told"
    line = (await hub.http.get(f"/v1/appeals/{case['id']}/timeline", headers=seat)).json()["items"][-1]
    assert line["words"] == "随诉求提交：图片 1 份"


@pytest.mark.parametrize("what", REFUSED)
async def test_other_kinds_are_refused_whatever_they_are_called(hub: Harness, what: str) -> None:
    case, before = await appeal(hub), stored(hub)
    headers = hub.token("seat") | {"Content-Type": "image/jpeg"}
    answer = await send(hub, REFUSED[what], headers, appeal_id=case["id"], name="photo.jpg")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "image/jpeg" in answer.json()["accepted"]
    assert stored(hub) == before


async def test_an_empty_a_too_long_and_an_unfinished_body_leave_nothing(hub: Harness) -> None:
    case, before, seat = await appeal(hub), stored(hub), hub.token("seat")
    assert (await send(hub, b"", seat, appeal_id=case["id"])).status_code == 422

    async def endless() -> AsyncIterator[bytes]:
        yield JPEG
        for _ in range(330):
            yield bytes(64_000)

    answer = await send(hub, endless(), seat, appeal_id=case["id"])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert stored(hub) == before


async def test_the_same_file_is_one_however_often_it_is_sent(hub: Harness) -> None:
    case, data, seat = await appeal(hub), photo(), hub.token("seat")
    before = stored(hub)
    first = await sent(hub, data, seat, appeal_id=case["id"])
    again = await send(hub, data, seat, appeal_id=case["id"])
    assert (again.status_code, again.json()) == (200, first)
    key = seat | {"Idempotency-Key": uuid7()}
    other = await sent(hub, PDF, key, appeal_id=case["id"])
    same = await send(hub, PDF, key, appeal_id=case["id"])
    assert (same.status_code, same.json()) == (200, other)
    conflict = await send(hub, photo(), key, appeal_id=case["id"])
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    together = await asyncio.gather(*(send(hub, b"%PDF-1.7" + data, seat, appeal_id=case["id"]) for _ in range(5)))
    assert sorted(answer.status_code for answer in together) == [200, 200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in together}) == 1
    assert len(stored(hub) - before) == 3, "nothing is left of the others"


async def test_a_case_takes_twenty_files_and_one_that_ended_none(hub: Harness) -> None:
    case, seat = await appeal(hub), hub.token("seat")
    answers = await asyncio.gather(*(send(hub, photo(), seat, appeal_id=case["id"]) for _ in range(22)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 2
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"too_many_attachments"}
    gone = await appeal(hub)
    await hub.http.post(f"/v1/appeals/{gone['id']}/withdraw", json={}, headers=seat)
    assert (await send(hub, photo(), seat, appeal_id=gone["id"])).json()["code"] == "invalid_transition"


async def test_who_sees_no_case_sees_none_of_its_files(hub: Harness) -> None:
    case, _ = await ordered(hub)
    file = await sent(hub, photo(), hub.token("seat"), appeal_id=case["id"])
    path, query = f"/v1/attachments/{file['id']}", {"appeal_id": case["id"]}
    for stranger in (
        handler(hub, "460100-roads"),
        hub.token("supervisor", regions=["460108"]),
        hub.token("platform", sub="another"),
    ):
        assert (await hub.http.get(path, headers=stranger)).status_code == 404
        assert (await hub.http.get("/v1/attachments", params=query, headers=stranger)).status_code == 404
    assert (await send(hub, photo(), handler(hub, "460100-roads"), appeal_id=case["id"])).status_code == 404
    assert (await hub.http.get(path)).status_code == 401
    for nobody in (uuid7(), "nonsense", "..%2f..%2fetc%2fpasswd"):
        assert (await hub.http.get(f"/v1/attachments/{nobody}", headers=hub.admin)).status_code == 404


async def test_what_a_citizen_sent_opens_for_the_handler_while_the_order_is_open_and_each_look_is_recorded(
    hub: Harness,
) -> None:
    case, order = await ordered(hub)
    file = await sent(hub, photo(), hub.token("seat", sub="taker"), appeal_id=case["id"])
    path = f"/v1/attachments/{file['id']}"
    assert (await hub.http.get(path, headers=handler(hub))).status_code == 200
    assert (await hub.http.get(path, headers=hub.token("auditor"))).status_code == 403
    audit = await hub.query("SELECT actor, action FROM intake.audit WHERE subject = $1", file["id"])
    assert [tuple(row) for row in audit] == [(f"unit:{CITYADMIN}", "attachment.read")]
    body = {"lead": "460100-roads", "reason": "改派"}
    await hub.http.post(f"/v1/work-orders/{order['id']}/transfer", json=body, headers=hub.admin)
    await hub.settle()
    assert (await hub.http.get(path, headers=handler(hub))).status_code == 404
    assert (await hub.http.get(path, headers=handler(hub, "460100-roads"))).status_code == 200


async def test_files_of_a_confidential_reporter_open_for_the_centre_alone(hub: Harness) -> None:
    case, _ = await ordered(hub, reporter={"phone": "13876543210", "confidential": True})
    file = await sent(hub, photo(), hub.token("seat", sub="taker"), appeal_id=case["id"], name="我家门口.jpg")
    for half in (handler(hub), hub.token("supervisor", regions=["460106"])):
        assert (await hub.http.get(f"/v1/attachments/{file['id']}", headers=half)).status_code == 403
        listed = await hub.http.get("/v1/attachments", params={"appeal_id": case["id"]}, headers=half)
        assert [(item["readable"], item["name"]) for item in listed.json()["items"]] == [(False, None)]
    other = hub.token("seat", sub="another")
    assert (await hub.http.get(f"/v1/attachments/{file['id']}", headers=other)).status_code == 200


async def test_a_citizen_adds_and_sees_his_own_files_by_the_query_code(hub: Harness) -> None:
    case, other = await appeal(hub), await appeal(hub)
    seats = await sent(hub, photo(), hub.token("seat"), appeal_id=case["id"])
    data = photo()
    path = "/v1/track/attachments"
    answer = await hub.http.post(path, content=data, params=code(case) | {"name": "路口.jpg"})
    assert answer.status_code == 201, answer.text
    own = answer.json()["id"]
    assert (await hub.http.post(path, content=data, params=code(case))).status_code == 200
    (item,) = (await hub.http.get(path, params=code(case))).json()["items"]
    assert (item["id"], item["name"]) == (own, "路口.jpg")
    assert (await hub.http.get(f"{path}/{own}", params=code(case))).content == data
    wrong = code(case) | {"query_code": "AAAA-AAAA"}
    for query, identifier in ((wrong, own), (code(other), own), (code(case), seats["id"])):
        assert (await hub.http.get(f"{path}/{identifier}", params=query)).status_code == 404
    assert (await hub.http.post(path, content=data, params=wrong)).status_code == 404


async def test_an_appeal_takes_along_the_files_that_were_sent_before_it(hub: Harness) -> None:
    seat, stranger = hub.token("seat", sub="a"), hub.token("seat", sub="b")
    file = await sent(hub, photo(), seat)
    assert file["appeal_id"] is None
    assert (await hub.http.get(f"/v1/attachments/{file['id']}", headers=stranger)).status_code == 404
    body = {"channel": "phone", "text": "路灯不亮", "attachments": [file["id"]], "external_id": uuid7()}
    refused = await hub.http.post("/v1/appeals", json=body, headers=stranger)
    assert refused.json()["errors"][0]["pointer"] == "/attachments/0"
    first = await hub.http.post("/v1/appeals", json=body, headers=seat)
    assert first.status_code == 201, first.text  # also the external id was given back
    again = await hub.http.post("/v1/appeals", json=body, headers=seat)
    assert (again.status_code, again.json()) == (200, first.json())
    listed = await hub.http.get("/v1/attachments", params={"appeal_id": first.json()["id"]}, headers=seat)
    assert [item["id"] for item in listed.json()["items"]] == [file["id"]]
    twice = await hub.http.post("/v1/appeals", json=body | {"external_id": uuid7()}, headers=seat)
    assert twice.status_code == 422
    named = await hub.http.post(
        "/v1/appeals", json=body | {"external_id": uuid7(), "attachments": ["x:1"]}, headers=seat
    )
    assert named.status_code == 201, "what another platform calls its own files is kept as it is"
    both = await asyncio.gather(
        *(hub.http.post("/v1/appeals", json=body | {"external_id": "same-one"}, headers=stranger) for _ in range(3))
    )
    assert {answer.status_code for answer in both} == {422}


async def test_evidence_is_a_file_of_the_case(hub: Harness) -> None:
    case, order = await ordered(hub)
    unit = handler(hub)
    path = f"/v1/work-orders/{order['id']}"
    await hub.http.post(f"{path}/accept", json={}, headers=unit)
    assert (await send(hub, photo(), unit)).json()["errors"][0]["pointer"] == "/appeal_id"
    file = await sent(hub, photo(), unit, appeal_id=case["id"])
    assert file["purpose"] == "evidence"
    await hub.settle()
    other = await appeal(hub)
    foreign = await sent(hub, photo(), hub.token("seat"), appeal_id=other["id"])
    await hub.settle()
    for wrong in (foreign["id"], uuid7()):
        body = {"result": "已清理", "solved": True, "evidence": [file["id"], wrong]}
        refused = await hub.http.post(f"{path}/complete", json=body, headers=unit)
        assert refused.json()["errors"][0]["pointer"] == "/evidence/1", refused.text
    body = {"reason": "等待鉴定", "days": 3, "evidence": [file["id"], "鉴定委托书13800138000"]}
    asked = await hub.http.post(f"{path}/suspend", json=body, headers=unit)
    assert asked.status_code == 200, asked.text
    done = {"result": "已清理", "solved": True, "evidence": [file["id"]]}
    answer = await hub.http.post(f"{path}/complete", json=done, headers=unit)
    assert answer.json()["evidence"] == [file["id"]], answer.text
    await hub.settle()
    # who sees the case reads what proves its end, also when nothing is open any more
    assert (await hub.http.get(f"/v1/attachments/{file['id']}", headers=hub.token("auditor"))).status_code == 200


async def test_files_of_a_withdrawn_appeal_and_files_without_one_are_deleted_after_their_time(server_url: str) -> None:
    async with Harness.fresh(server_url, "intake") as hub:
        keeper = _keeper(hub)
        seat, case, kept = hub.token("seat"), await appeal(hub), await appeal(hub)
        mine = await sent(hub, photo(), seat, appeal_id=case["id"])
        stays = await sent(hub, photo(), seat, appeal_id=kept["id"])
        waits = await sent(hub, photo(), seat)
        await hub.http.post(f"/v1/appeals/{case['id']}/withdraw", json={}, headers=seat)
        assert await keeper.remove_due() == 0
        await hub.advance(25 * 3600)
        assert await keeper.remove_due() == 1
        assert (await hub.http.get(f"/v1/attachments/{waits['id']}", headers=seat)).status_code == 410
        await hub.advance(30 * 86400)
        assert await keeper.remove_due() == 1
        assert (await hub.http.get(f"/v1/attachments/{mine['id']}", headers=seat)).json()["code"] == "gone"
        assert (await hub.http.get(f"/v1/attachments/{stays['id']}", headers=seat)).status_code == 200
        assert stored(hub) == {stays["id"]}
        await hub.settle()
        events = await hub.events("intake.attachments.v1", key=mine["id"])
        assert [(event.type, event.sequence) for event in events] == [
            ("attachment.stored", 1),
            ("attachment.removed", 2),
        ]


async def test_what_an_upload_left_that_was_cut_off_is_swept_up_and_damage_is_told(server_url: str) -> None:
    async with Harness.fresh(server_url, "intake") as hub:
        keeper, seat = _keeper(hub), hub.token("seat")
        case = await appeal(hub)
        file = await sent(hub, photo(), seat, appeal_id=case["id"])
        orphan = uuid7()
        for name in (orphan, f"{orphan}.draft"):
            path = hub.settings.data_dir / "attachments" / orphan[34:36] / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
        assert await keeper.sweep(datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await keeper.sweep(datetime.now(UTC) + timedelta(seconds=1)) == 2
        assert stored(hub) == {file["id"]}
        (path,) = hub.settings.data_dir.glob(f"attachments/??/{file['id']}")
        os.truncate(path, 60)
        answer = await hub.http.get(f"/v1/attachments/{file['id']}", headers=seat)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        path.unlink()
        assert (await hub.http.get(f"/v1/attachments/{file['id']}", headers=seat)).status_code == 503


def _keeper(hub: Harness) -> Keeper:
    tasks = (getattr(task, "__self__", None) for task in hub.runners["intake"].service.background)
    return next(one for one in tasks if isinstance(one, Keeper))
