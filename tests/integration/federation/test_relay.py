"""What the common ancestor passes on, and when: each message at once, in both directions, and once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import Response

from shared.testing.harness import Harness
from tests.integration.federation.towns import Atlas, Stranger, call, offer, serving_app, towns, until

PROVINCE, HAIKOU, SANYA = "460000", "460100", "460200"
AT = "2026-11-02T10:00:00+08:00"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder: Path = tmp_path_factory.mktemp("platforms")
    return Atlas(folder, {PROVINCE: (1, None), HAIKOU: (2, PROVINCE), SANYA: (2, PROVINCE)})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str, atlas: Atlas) -> AsyncIterator[Harness]:
    async with towns(server_url, atlas, {PROVINCE: ("intake", "dispatch")}) as found:
        yield found[PROVINCE]


@pytest_asyncio.fixture(loop_scope="session")
async def sender(atlas: Atlas) -> AsyncIterator[Stranger]:
    found = Stranger()
    async with serving_app(found, atlas.urls[HAIKOU]):
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def receiver(atlas: Atlas) -> AsyncIterator[Stranger]:
    found = Stranger()
    async with serving_app(found, atlas.urls[SANYA]):
        yield found


async def accepted(hub: Harness, atlas: Atlas, receiver: Stranger) -> str:
    """An offer that went through here, and that the receiver accepts."""
    body = offer(HAIKOU, [HAIKOU, PROVINCE, SANYA])
    answer = await call(hub, atlas, HAIKOU, PROVINCE, "POST", "/v1/handoffs", json.dumps(body).encode())
    assert answer.status_code == 201, answer.text
    handoff_id = str(body["handoff_id"])
    await heard(receiver, handoff_id, "offered")
    assert (await tell(hub, atlas, SANYA, handoff_id, "accepted")).json()["state"] == "offered"
    return handoff_id


async def tell(
    hub: Harness, atlas: Atlas, by: str, handoff_id: str, state: str, seq: int = 1, **more: Any
) -> httpx.Response:
    body = json.dumps({"handoff_id": handoff_id, "seq": seq, "state": state, "at": AT} | more).encode()
    return await call(hub, atlas, by, PROVINCE, "POST", f"/v1/handoffs/{handoff_id}/receipts", body)


async def heard(stranger: Stranger, handoff_id: str, *states: str) -> None:
    """The stranger is told just this of a hand-over, in this order."""

    def told() -> list[str]:
        return [body.get("state", "offered") for body in stranger.got if body["handoff_id"] == handoff_id]

    async def all_of_it() -> bool:
        assert told() == list(states)[: len(told())]
        return len(told()) == len(states)

    await until(all_of_it, f"{states} (so far {told()})")


async def left(hub: Harness, handoff_id: str) -> Any:
    async def nothing() -> bool:
        rows = await hub.query("SELECT FROM intake.peer_messages WHERE handoff_id = $1", handoff_id)
        return not rows

    await until(nothing, "the last message")
    (row,) = await hub.query("SELECT state FROM intake.handoffs WHERE id = $1", handoff_id)
    return row["state"]


async def test_an_acceptance_and_its_confirmation_pass_once_each(
    hub: Harness, atlas: Atlas, sender: Stranger, receiver: Stranger
) -> None:
    handoff_id = await accepted(hub, atlas, receiver)
    await heard(sender, handoff_id, "accepted")
    assert await left(hub, handoff_id) == "offered", "the sender has not let go"
    for _ in range(2):
        assert (await tell(hub, atlas, HAIKOU, handoff_id, "confirmed")).json()["state"] == "accepted"
    await heard(receiver, handoff_id, "offered", "confirmed")
    assert await left(hub, handoff_id) == "accepted"
    await heard(receiver, handoff_id, "offered", "confirmed")


async def test_only_the_sender_confirms(hub: Harness, atlas: Atlas, sender: Stranger, receiver: Stranger) -> None:
    handoff_id = await accepted(hub, atlas, receiver)
    assert (await tell(hub, atlas, SANYA, handoff_id, "confirmed")).status_code == 404
    assert await left(hub, handoff_id) == "offered"


async def test_an_acceptance_that_comes_too_late_is_answered_all_the_way_back(
    hub: Harness, atlas: Atlas, sender: Stranger, receiver: Stranger
) -> None:
    sender.answers = [Response(json.dumps({"code": "handoff_withdrawn", "state": "withdrawn"}), 409)]
    handoff_id = await accepted(hub, atlas, receiver)
    await heard(receiver, handoff_id, "offered", "withdrawn")
    assert await left(hub, handoff_id) == "withdrawn"
    assert (await tell(hub, atlas, SANYA, handoff_id, "accepted")).json()["code"] == "handoff_withdrawn"


async def test_of_receipts_that_wait_the_newest_is_sent(
    hub: Harness, atlas: Atlas, sender: Stranger, receiver: Stranger
) -> None:
    handoff_id = await accepted(hub, atlas, receiver)
    await heard(sender, handoff_id, "accepted")
    assert (await tell(hub, atlas, HAIKOU, handoff_id, "confirmed")).status_code == 200
    sender.stumbles_over.add(handoff_id)
    for seq, state, status in ((2, "accepted", "dispatched"), (3, "accepted", "in_progress"), (4, "completed", "done")):
        assert (await tell(hub, atlas, SANYA, handoff_id, state, seq, status=status)).status_code == 200
    waiting = await hub.query("SELECT seq FROM intake.peer_messages WHERE handoff_id = $1 AND seq > 1", handoff_id)
    assert len(waiting) <= 2, "the newest, and at most one that is on its way"
    sender.got.clear()
    sender.stumbles_over.clear()
    assert await left(hub, handoff_id) == "completed"
    assert sender.got[-1]["seq"] == 4
