"""Corrections enter the memory at once: the next same-worded appeal follows, on every replica, and so does an undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest_asyncio

from shared.http.app import gated, running, service_app
from shared.service.process import build_service
from shared.service.runner import Runner
from shared.testing.harness import Harness
from tests.integration.classify.sayings import LAMP, LEAK, label, receive
from tests.integration.classify.test_keeping import CSV

WAGE, NOISE = "07010101", "04010101"
TEXT = "家门口那块地方又开始了，天天这样谁受得了，请管一管那些人"
NEARLY = "家门口那块地方又开始了，天天这样谁受得了，请管管那些人吧"


@pytest_asyncio.fixture(loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "classify") as hub:
        yield hub


@asynccontextmanager
async def replica(hub: Harness) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of classify on the same database and bus, by itself: its HTTP."""
    service = await build_service("classify", hub.settings, hub.clock, hub.transport)
    runner = Runner(service, hub.transport, paced=False)
    app = gated(service_app(runner, hub.settings, hub.tokens), "classify")
    async with (
        running([runner]),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://second.test") as http,
    ):
        yield http


async def tried(http: httpx.AsyncClient, hub: Harness, text: str) -> dict[str, Any]:
    answer = await http.post("/v1/classify", json={"text": text}, headers=hub.token("seat"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def decide(hub: Harness, appeal_id: str, matter: str, by: str = "wang") -> None:
    headers = hub.token("supervisor", sub=by)
    answer = await hub.http.post(f"/v1/reviews/{appeal_id}", json={"matter": matter}, headers=headers)
    assert answer.status_code == 200, answer.text


async def said(hub: Harness, text: str) -> str:
    appeal_id = await receive(hub, text)
    await hub.settle()
    return appeal_id


async def test_the_next_same_worded_appeal_follows_on_every_replica_and_after_a_restart(hub: Harness) -> None:
    async with replica(hub) as second:
        for http in (hub.http, second):
            before = await tried(http, hub, TEXT)
            assert (before["matter"]["code"], before["remembered"]) != (WAGE, None)
        await decide(hub, await said(hub, TEXT), WAGE)
        for http in (hub.http, second):
            for text, least in ((TEXT, 1.0), (NEARLY, 0.6)):
                found = await tried(http, hub, text)
                assert found["matter"]["code"] == WAGE
                assert found["remembered"]["persons"] == 1
                assert found["remembered"]["similarity"] >= least
                assert found["model"].endswith("+memory")
                assert found["needs_review"], "one person's word is not enough to dispatch alone"
        assert (await tried(second, hub, LAMP))["remembered"] is None
        # the stream is shared by both replicas: whichever reads it follows
        for _ in range(4):
            fact = await label(hub, TEXT)
            assert fact.data.after.matter.code == WAGE
            assert "措辞相同的诉求曾由 1 人定为该事项" in fact.data.reason
    async with replica(hub) as restarted:
        assert (await tried(restarted, hub, TEXT))["matter"]["code"] == WAGE


async def test_an_undone_correction_is_undone_in_the_memory(hub: Harness) -> None:
    before = await tried(hub.http, hub, TEXT)
    appeal_id = await said(hub, TEXT)
    async with replica(hub) as second:
        await decide(hub, appeal_id, WAGE)
        assert (await tried(second, hub, TEXT))["matter"]["code"] == WAGE
        await decide(hub, appeal_id, before["matter"]["code"])
        assert (await tried(second, hub, TEXT))["matter"]["code"] == before["matter"]["code"]
        await decide(hub, appeal_id, WAGE)
        await decide(hub, appeal_id, NOISE, by="supervisor-li")
        for http in (hub.http, second):
            found = await tried(http, hub, TEXT)
            assert (found["matter"]["code"], found["remembered"]["persons"]) == (NOISE, 1)
            assert WAGE not in [one["code"] for one in found["candidates"] if one["probability"] > 0.3]


async def test_contradicting_persons_leave_the_case_to_a_person(hub: Harness) -> None:
    await decide(hub, await said(hub, TEXT), WAGE, by="wang")
    hub.clock.advance(60)
    await decide(hub, await said(hub, TEXT), NOISE, by="li")
    found = await tried(hub.http, hub, TEXT)
    assert found["matter"]["code"] == NOISE
    assert found["needs_review"]
    assert {one["code"] for one in found["candidates"][:2]} == {WAGE, NOISE}


async def test_a_mass_of_one_persons_decisions_moves_only_that_text_and_not_against_two_others(hub: Harness) -> None:
    for name in ("wang", "li"):
        await decide(hub, await said(hub, TEXT), NOISE, by=name)
    lamp = await tried(hub.http, hub, LAMP)
    poisoned = [await receive(hub, TEXT) for _ in range(30)]
    await hub.settle()
    for appeal_id in poisoned:
        await decide(hub, appeal_id, WAGE, by="mallory")
    async with replica(hub) as second:
        for http in (hub.http, second):
            assert (await tried(http, hub, TEXT))["matter"]["code"] == NOISE
            assert (await tried(http, hub, LAMP))["matter"] == lamp["matter"]
    ((rows,),) = await hub.query("SELECT count(*) FROM classify.memory")
    assert rows == 3


async def test_safety_words_raise_the_class_whatever_is_remembered(hub: Harness) -> None:
    for name in ("wang", "li", "zhao"):
        await decide(hub, await said(hub, LEAK), LAMP_MATTER, by=name)
    found = await tried(hub.http, hub, LEAK)
    assert (found["matter"]["code"], found["class"]) == (LAMP_MATTER, "urgent")
    assert found["needs_review"]


LAMP_MATTER = "02010201"


async def test_a_decision_is_remembered_under_the_matters_present_code(hub: Harness) -> None:
    await decide(hub, await said(hub, TEXT), WAGE)
    lines = CSV.replace(f"\n{WAGE},", "\n07010177,").replace(f"\n{NOISE},", "\n04010177,")
    made = await hub.http.post(
        "/v1/catalogue/versions", content=lines.encode(), headers={**hub.admin, "Content-Type": "text/csv"}
    )
    assert made.status_code == 201, made.text
    await hub.http.post(f"/v1/catalogue/versions/{made.json()['version']}/activate", headers=hub.admin)
    found = await tried(hub.http, hub, TEXT)
    assert (found["matter"]["code"], found["remembered"]["persons"]) == ("07010177", 1)
