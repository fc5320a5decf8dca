"""What is wrong with a call of another platform is told in a problem document and audited; nothing of it is stored."""

import base64
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from nacl.signing import SigningKey

from shared.federation.keys import seal
from shared.federation.signatures import content_digest
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.federation.towns import Atlas, call, offer, serving

PROVINCE, HAIKOU, SANYA, BEIJING = "460000", "460100", "460200", "110000"
PHONE = "13876540912"
MB = 1_000_000


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    levels = {PROVINCE: (1, None), HAIKOU: (2, PROVINCE), SANYA: (2, PROVINCE), BEIJING: (1, None)}
    agreements = [
        {"platforms": [HAIKOU, SANYA], "until": "2030-12-31"},
        {"platforms": [BEIJING, SANYA], "until": "2026-11-01"},  # one day before the tests' clock
    ]
    return Atlas(folder, levels, agreements)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sanya(server_url: str, atlas: Atlas) -> AsyncIterator[Harness]:
    """One platform whose dispatch is away, so that offers stay as they came."""
    given: dict[str, Any] = {
        "platforms": str(atlas.path),
        "key_dir": atlas.key_dir(SANYA),
        "base_url": atlas.urls[SANYA],
    }
    async with (
        Harness.fresh(server_url, "intake", platform=SANYA, **given) as hub,
        serving(hub, atlas.urls[SANYA]),
    ):
        yield hub


async def stored(hub: Harness) -> dict[str, int]:
    """How much there is of all that a call could leave, but for the audit and the nonces."""
    tables = ("handoffs", "peer_messages", "appeals", "vault", "outbox", "idempotency_keys")
    return {name: (await hub.query(f"SELECT count(*) AS n FROM intake.{name}"))[0]["n"] for name in tables}


async def audited(hub: Harness) -> list[dict[str, Any]]:
    answer = await hub.http.get("/ops/intake/audit", params={"limit": 200}, headers=hub.admin)
    return [item for item in answer.json()["items"] if item["action"] == "peer_call_refused"]


async def refused(hub: Harness, answer: httpx.Response, status: int, code: str, before: dict[str, int]) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert PHONE not in answer.text
    assert await stored(hub) == before
    newest = max(await audited(hub), key=lambda item: item["position"])
    assert (newest["reason"], newest["detail"]["status"]) == (code, status)


def sealed(atlas: Atlas, handoff_id: str, **more: Any) -> str:
    content = {"handoff_id": handoff_id, "phone": PHONE} | more
    return base64.b64encode(seal(atlas.own_keys(SANYA).public()[1], json.dumps(content).encode())).decode()


def good(atlas: Atlas, **case: Any) -> dict[str, Any]:
    body = offer(HAIKOU, [HAIKOU, SANYA], **case)
    return body | {"contact": sealed(atlas, body["handoff_id"])}


async def send(atlas: Atlas, hub: Harness, body: Any, by: str = HAIKOU, **more: Any) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(hub, atlas, by, SANYA, "POST", "/v1/handoffs", raw, **more)


async def test_a_good_offer_is_stored_once_however_often_it_comes(sanya: Harness, atlas: Atlas) -> None:
    body = good(atlas)
    first = await send(atlas, sanya, body)
    assert (first.status_code, first.json()) == (201, {"handoff_id": body["handoff_id"], "state": "offered"})
    before = await stored(sanya)
    again = await send(atlas, sanya, body | {"contact": sealed(atlas, body["handoff_id"])})
    assert (again.status_code, again.json()) == (200, first.json())
    assert await stored(sanya) == before
    (event,) = await sanya.events("intake.peers.v1", key=body["handoff_id"])
    assert (event.type, event.data.after.role) == ("peer.offered", "receiver")
    seen = await call(sanya, atlas, HAIKOU, SANYA, "GET", f"/v1/handoffs/{body['handoff_id']}")
    assert (seen.status_code, seen.json()["state"]) == (200, "offered")


async def test_a_replayed_request_is_refused(sanya: Harness, atlas: Atlas) -> None:
    raw = json.dumps(good(atlas)).encode()
    headers = atlas.signed(HAIKOU, SANYA, "POST", "/v1/handoffs", raw)
    async with httpx.AsyncClient(trust_env=False) as client:
        url = atlas.urls[SANYA] + "/v1/handoffs"
        assert (await client.post(url, content=raw, headers=headers)).status_code == 201
        before = await stored(sanya)
        await refused(sanya, await client.post(url, content=raw, headers=headers), 401, "replayed", before)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"key": SigningKey(os.urandom(32))}, "signature_wrong"),
        ({"keyid": f"{HAIKOU}#2"}, "unknown_key"),
        ({"keyid": "999999#1"}, "unknown_key"),
        ({"keyid": f"{SANYA}#1"}, "signature_wrong"),
        ({"created": -400}, "signature_stale"),  # seconds from now
        ({"created": 400}, "signature_stale"),
        ({"nonce": "short"}, "signature_parameters"),
    ],
)
async def test_who_cannot_prove_it_is_refused(sanya: Harness, atlas: Atlas, more: dict[str, Any], code: str) -> None:
    if "created" in more:
        more = {"created": int(time.time()) + more["created"]}
    before = await stored(sanya)
    await refused(sanya, await send(atlas, sanya, good(atlas), **more), 401, code, before)


async def test_a_changed_request_is_refused(sanya: Harness, atlas: Atlas) -> None:
    raw = json.dumps(good(atlas)).encode()
    other = raw.replace(b"460204", b"460205")
    before = await stored(sanya)
    async with httpx.AsyncClient(base_url=atlas.urls[SANYA], trust_env=False) as client:
        signed = atlas.signed(HAIKOU, SANYA, "POST", "/v1/handoffs", raw)
        answer = await client.post("/v1/handoffs", content=other, headers=signed)
        await refused(sanya, answer, 401, "digest_mismatch", before)
        digest = {"Content-Digest": content_digest(other)}
        answer = await client.post("/v1/handoffs", content=other, headers=signed | digest)
        await refused(sanya, answer, 401, "signature_wrong", before)
        answer = await client.post(f"/v1/handoffs/{uuid7()}/receipts", content=raw, headers=signed)
        await refused(sanya, answer, 401, "signature_wrong", before)
        answer = await client.post("/v1/handoffs", content=raw, headers={"Content-Type": "application/json"})
        await refused(sanya, answer, 401, "signature_missing", before)
        elsewhere = atlas.signed(HAIKOU, PROVINCE, "POST", "/v1/handoffs", raw)
        await refused(
            sanya, await client.post("/v1/handoffs", content=raw, headers=elsewhere), 401, "signature_wrong", before
        )
        token = await client.post("/v1/handoffs", content=raw, headers={"Content-Type": "a/b", **sanya.admin})
        await refused(sanya, token, 401, "signature_missing", before)


async def test_ten_megabytes_are_refused_unread_and_in_chunks(sanya: Harness, atlas: Atlas) -> None:
    before = await stored(sanya)
    huge = json.dumps(good(atlas, text="长" * 100)).encode() + b" " * (10 * MB)
    await refused(sanya, await send(atlas, sanya, huge), 413, "too_large", before)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(huge), 100_000):
            yield huge[start : start + 100_000]

    headers = atlas.signed(HAIKOU, SANYA, "POST", "/v1/handoffs", huge)
    async with httpx.AsyncClient(base_url=atlas.urls[SANYA], trust_env=False) as client:
        answer = await client.post("/v1/handoffs", content=chunks(), headers=headers)
    await refused(sanya, answer, 413, "too_large", before)


@pytest.mark.parametrize(
    ("change", "by", "status", "code"),
    [
        ({"version": 2}, HAIKOU, 422, "unknown_version"),
        ({"version": "1"}, HAIKOU, 422, "unknown_version"),
        ({"sender": PROVINCE}, HAIKOU, 403, "path_refused"),
        ({"path": [HAIKOU, PROVINCE, SANYA]}, HAIKOU, 403, "not_your_offer"),
        ({"path": [HAIKOU, SANYA]}, PROVINCE, 403, "not_your_offer"),
        ({"path": [HAIKOU, PROVINCE]}, HAIKOU, 403, "path_refused"),
        ({"path": [SANYA, HAIKOU], "sender": SANYA}, HAIKOU, 403, "path_refused"),
        ({"path": [HAIKOU, SANYA, HAIKOU]}, HAIKOU, 403, "handoff_loop"),
        ({"path": [HAIKOU, SANYA, PROVINCE, SANYA]}, HAIKOU, 403, "handoff_loop"),
        ({"path": [BEIJING, SANYA], "sender": BEIJING}, BEIJING, 403, "path_refused"),
        ({"path": [HAIKOU]}, HAIKOU, 422, "invalid"),
        ({"handoff_id": "1"}, HAIKOU, 422, "invalid"),
        ({"case": {}}, HAIKOU, 422, "invalid"),
        ({"case": {"text": "x", "region_code": "000000"}}, HAIKOU, 422, "invalid"),
        ({"case": {"text": "x", "came_by": [SANYA]}}, HAIKOU, 403, "handoff_loop"),
        ({"case": {"text": "x", "reference_no": f"{BEIJING}-20261102-000001"}}, HAIKOU, 403, "foreign_case"),
        ({"case": {"text": "x", "received_at": "2020-01-01T00:00:00Z"}}, HAIKOU, 422, "invalid"),
        ({"case": {"text": "x", "received_at": "2030-01-01T00:00:00Z"}}, HAIKOU, 422, "invalid"),
        ({"contact": "!"}, HAIKOU, 422, "invalid"),
        ({"contact": "AAAA"}, HAIKOU, 422, "contact_unreadable"),
    ],
)
async def test_an_offer_that_may_not_be_is_refused(
    sanya: Harness, atlas: Atlas, change: dict[str, Any], by: str, status: int, code: str
) -> None:
    before = await stored(sanya)
    await refused(sanya, await send(atlas, sanya, good(atlas) | change, by), status, code, before)


async def test_a_seal_of_another_hand_over_is_refused(sanya: Harness, atlas: Atlas) -> None:
    before = await stored(sanya)
    stolen = good(atlas) | {"contact": sealed(atlas, uuid7())}
    await refused(sanya, await send(atlas, sanya, stolen), 422, "contact_unreadable", before)
    body = good(atlas)
    absurd = body | {"contact": sealed(atlas, body["handoff_id"], phone=5)}
    await refused(sanya, await send(atlas, sanya, absurd), 422, "invalid", before)


async def test_what_is_no_json_is_refused(sanya: Harness, atlas: Atlas) -> None:
    before = await stored(sanya)
    hostile = (b"", b"null", b"[]", b"{", b"[" * 10_000, b'{"handoff_id": "\xff"}', json.dumps("x").encode())
    for raw in hostile:
        answer = await send(atlas, sanya, raw)
        assert answer.status_code == 422, raw[:20]
        assert await stored(sanya) == before


async def test_the_case_of_others_is_none_of_his_business(sanya: Harness, atlas: Atlas) -> None:
    body = good(atlas)
    assert (await send(atlas, sanya, body)).status_code == 201
    before = await stored(sanya)
    for by in (PROVINCE, BEIJING):
        answer = await call(sanya, atlas, by, SANYA, "GET", f"/v1/handoffs/{body['handoff_id']}")
        await refused(sanya, answer, 404, "not_found", before)
        for state in ("accepted", "acknowledged"):
            receipt = {"handoff_id": body["handoff_id"], "seq": 1, "state": state, "at": "2026-11-02T10:00:00+08:00"}
            path = f"/v1/handoffs/{body['handoff_id']}/receipts"
            answer = await call(sanya, atlas, by, SANYA, "POST", path, json.dumps(receipt).encode())
            await refused(sanya, answer, 404, "not_found", before)
    other = await send(atlas, sanya, body | {"case": body["case"] | {"text": "另一件事"}})
    await refused(sanya, other, 409, "handoff_conflict", before)
    theirs = body | {"sender": PROVINCE, "path": [PROVINCE, SANYA]}
    await refused(sanya, await send(atlas, sanya, theirs, PROVINCE), 409, "handoff_conflict", before)


async def test_receipts_of_the_wrong_side_or_of_nothing_are_refused(sanya: Harness, atlas: Atlas) -> None:
    body = good(atlas)
    assert (await send(atlas, sanya, body)).status_code == 201
    before = await stored(sanya)
    receipt = {"handoff_id": body["handoff_id"], "seq": 1, "state": "accepted", "at": "2026-11-02T10:00:00+08:00"}
    wrong = [
        (receipt, body["handoff_id"], 404, "not_found"),  # only the next platform accepts
        (receipt | {"handoff_id": uuid7()}, body["handoff_id"], 422, "invalid"),
        (receipt | {"state": "offered"}, body["handoff_id"], 422, "invalid"),
        (receipt | {"seq": 0}, body["handoff_id"], 422, "invalid"),
        (receipt | {"version": 9}, body["handoff_id"], 422, "unknown_version"),
    ]
    unknown = uuid7()
    wrong.append((receipt | {"handoff_id": unknown}, unknown, 404, "not_found"))
    for content, handoff_id, status, code in wrong:
        path = f"/v1/handoffs/{handoff_id}/receipts"
        answer = await call(sanya, atlas, HAIKOU, SANYA, "POST", path, json.dumps(content).encode())
        await refused(sanya, answer, status, code, before)


async def test_the_audit_is_whole_after_all_that(sanya: Harness) -> None:
    entries = await audited(sanya)
    assert {"unknown", f"platform:{HAIKOU}"} <= {entry["actor"] for entry in entries}
    answer = await sanya.http.get("/ops/intake/audit/verify", headers=sanya.admin)
    assert answer.json()["intact"]
