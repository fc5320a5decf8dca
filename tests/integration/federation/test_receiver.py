"""The receiver takes a case over only when the sender has let go of it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import Response

from services.intake.federation.repository import lease
from shared.db.database import plain_url
from shared.federation.keys import seal
from shared.testing.harness import Harness
from tests.integration.federation.towns import Atlas, Stranger, call, offer, serving_app, towns, until

HAIKOU, SANYA = "460100", "460200"
PHONE = "13876540912"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    return Atlas(folder, {HAIKOU: (2, None), SANYA: (2, None)}, [{"platforms": [HAIKOU, SANYA]}])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str, atlas: Atlas) -> AsyncIterator[Harness]:
    async with towns(server_url, atlas, {SANYA: ("intake", "dispatch")}) as found:
        yield found[SANYA]


@pytest_asyncio.fixture(loop_scope="session")
async def sender(atlas: Atlas) -> AsyncIterator[Stranger]:
    found = Stranger()
    async with serving_app(found, atlas.urls[HAIKOU]):
        yield found


def state(of: str, status: int = 200, **more: Any) -> Response:
    return Response(json.dumps({"state": of} | more), status)


async def offered(hub: Harness, atlas: Atlas, **case: Any) -> str:
    body = offer(HAIKOU, [HAIKOU, SANYA], **case)
    secrets = {"handoff_id": body["handoff_id"], "phone": PHONE, "text": f"路灯不亮，电话{PHONE}"}
    body["contact"] = base64.b64encode(seal(atlas.own_keys(SANYA).public()[1], json.dumps(secrets).encode())).decode()
    answer = await call(hub, atlas, HAIKOU, SANYA, "POST", "/v1/handoffs", json.dumps(body).encode())
    assert answer.status_code == 201, answer.text
    return str(body["handoff_id"])


async def row(hub: Harness, handoff_id: str) -> Any:
    (found,) = await hub.query("SELECT state, appeal_id, contact FROM intake.handoffs WHERE id = $1", handoff_id)
    return found


async def ended(hub: Harness, handoff_id: str, *states: str) -> Any:
    async def there() -> Any:
        found = await row(hub, handoff_id)
        return found if found["state"] in states else None

    return await until(there, " or ".join(states))


async def receipt(hub: Harness, atlas: Atlas, handoff_id: str, seq: int, said: str) -> httpx.Response:
    body = {"handoff_id": handoff_id, "seq": seq, "state": said, "at": "2026-11-02T10:00:00+08:00"}
    path = f"/v1/handoffs/{handoff_id}/receipts"
    return await call(hub, atlas, HAIKOU, SANYA, "POST", path, json.dumps(body).encode())


async def accepted(sender: Stranger, handoff_id: str, times: int = 1) -> None:
    """The acceptance arrives so many times."""

    async def came() -> bool:
        told = [(body["seq"], body["state"]) for body in sender.got if body["handoff_id"] == handoff_id]
        assert set(told) <= {(1, "accepted")}
        return len(told) >= times

    await until(came, f"{times} acceptances")


async def confirmed(hub: Harness, atlas: Atlas, sender: Stranger, handoff_id: str) -> Any:
    """What becomes of a hand-over that was accepted here once the sender let go."""
    await accepted(sender, handoff_id)
    answer = await receipt(hub, atlas, handoff_id, 1, "confirmed")
    assert (answer.status_code, answer.json()["state"]) == (200, "accepted")
    return await row(hub, handoff_id)


async def test_a_case_is_taken_over_once_the_sender_has_let_go(hub: Harness, atlas: Atlas, sender: Stranger) -> None:
    sender.answers = [Response(status_code=500), Response(status_code=500), state("offered")]
    handoff_id = await offered(hub, atlas)
    await accepted(sender, handoff_id, 3)
    await asyncio.sleep(1)
    assert len(sender.got) == 3, "an acceptance that was acknowledged came again"
    assert (await row(hub, handoff_id))["appeal_id"] is None
    found = await confirmed(hub, atlas, sender, handoff_id)
    assert found["appeal_id"]
    assert found["contact"] is None

    async def told() -> Any:
        return await hub.events("intake.appeals.v1", key=found["appeal_id"])

    (event,) = await until(told, "the event of the appeal")
    assert (event.data.after.channel, event.data.after.source_platform) == ("platform", HAIKOU)
    assert PHONE not in str(event.data)
    case = await hub.http.post(
        f"/v1/appeals/{found['appeal_id']}/unmask", json={"field": "phone", "reason": "联系"}, headers=hub.admin
    )
    assert case.status_code in (200, 403)
    again = await receipt(hub, atlas, handoff_id, 1, "confirmed")
    assert (again.status_code, again.json()["state"]) == (200, "accepted")
    assert await row(hub, handoff_id) == found


async def test_nobody_can_push_a_case_on_who_was_not_told_that_it_is_accepted(
    hub: Harness, atlas: Atlas, sender: Stranger
) -> None:
    sender.answers = [state("offered")]
    handoff_id = await offered(hub, atlas, region_code="460106")  # which will be refused
    answer = await receipt(hub, atlas, handoff_id, 1, "confirmed")
    assert answer.json()["state"] in ("offered", "refused")
    found = await ended(hub, handoff_id, "refused")
    assert (await receipt(hub, atlas, handoff_id, 1, "confirmed")).json()["state"] == "refused"
    assert (await row(hub, handoff_id))["appeal_id"] is found["appeal_id"] is None


async def test_a_message_that_the_other_platform_stumbles_over_holds_up_no_other(
    hub: Harness, atlas: Atlas, sender: Stranger
) -> None:
    body = offer(HAIKOU, [HAIKOU, SANYA])
    sender.stumbles_over.add(body["handoff_id"])
    assert (await call(hub, atlas, HAIKOU, SANYA, "POST", "/v1/handoffs", json.dumps(body).encode())).status_code == 201

    async def stumbled() -> bool:
        return len([one for one in sender.got if one["handoff_id"] == body["handoff_id"]]) >= 2

    await until(stumbled, "the second try")
    for _ in range(3):
        await accepted(sender, await offered(hub, atlas))
    sender.got.clear()
    sender.stumbles_over.clear()
    await accepted(sender, body["handoff_id"])


async def test_what_is_due_longest_is_sent_first(hub: Harness) -> None:
    """Acceptances that are repeated for long must not come before what has not been sent once."""
    for name, due_s in (("a", 1), ("b", 60)):
        await hub.query(
            "INSERT INTO intake.peer_messages (id, handoff_id, to_platform, kind, seq, next_at)"
            " VALUES ($1, $1, '999999', 'receipt', 1, now() - make_interval(secs => $2)) RETURNING id",
            name,
            float(due_s),
        )
    connection: Any = await asyncpg.connect(plain_url(hub.settings.database_url))
    try:
        leased = [letter.id for _ in range(2) for letter in await lease(connection, "999999", 1)]
    finally:
        await connection.close()
    assert leased == ["b", "a"]


@pytest.mark.parametrize("answer", [state("withdrawn", 409, code="handoff_withdrawn"), state("refused")])
async def test_what_the_sender_took_back_never_becomes_a_case(
    hub: Harness, atlas: Atlas, sender: Stranger, answer: Response
) -> None:
    sender.answers = [Response(status_code=500), answer]
    handoff_id = await offered(hub, atlas)
    found = await ended(hub, handoff_id, "withdrawn")
    assert (found["appeal_id"], found["contact"]) == (None, None)
    await hub.settle()
    told = [event.type for event in await hub.events("dispatch.handoffs.v1", key=handoff_id)]
    assert told == ["handoff.accepted", "handoff.withdrawn"]


async def test_a_case_of_another_territory_is_refused_with_the_reason(
    hub: Harness, atlas: Atlas, sender: Stranger
) -> None:
    handoff_id = await offered(hub, atlas, region_code="460106")
    await ended(hub, handoff_id, "refused")

    async def told() -> Any:
        return next((body for body in sender.got if body["handoff_id"] == handoff_id), None)

    receipt = await until(told, "the receipt")
    assert (receipt["seq"], receipt["state"]) == (1, "refused")
    assert HAIKOU in receipt["reason"]
    assert (await row(hub, handoff_id))["contact"] is None
