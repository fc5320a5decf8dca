"""The journal keeps every event, in one order, and hands it on."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from services.journal import repository
from shared.bus.records import Record
from shared.events.catalog.appeals import Appeal, AppealReceived, AppealWithdrawn, Place, Reporter
from shared.ids import uuid7
from shared.testing.harness import Harness

TOPIC = "intake.appeals.v1"


def appeal(identifier: str, status: str = "received") -> Appeal:
    return Appeal(
        id=identifier,
        platform="460100",
        reference_no="460100-20261102-000001",
        channel="web",
        text="小区门口路灯不亮",
        received_at=datetime(2026, 11, 2, 2, tzinfo=UTC),
        source_platform="460100",
        reporter=Reporter(),
        place=Place(region_code="460106"),
        rating_token_sha256=[],
        status=status,
    )


def received(identifier: str) -> AppealReceived:
    return AppealReceived(actor="citizen", after=appeal(identifier))


async def feed(hub: Harness, after: str = "", **query: str) -> dict[str, Any]:
    answer = await hub.http.get("/v1/events", params={"after": after, **query}, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_feed_holds_every_event_once_in_the_order_of_its_aggregate(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        ids = [uuid7() for _ in range(30)]
        for identifier in ids:  # the second fact first, both twice
            withdrawn = AppealWithdrawn(actor="citizen", after=appeal(identifier, "withdrawn"))
            second = await hub.emit(withdrawn, key=identifier, sequence=2)
            first = await hub.emit(received(identifier), key=identifier, sequence=1)
            await hub.emit(withdrawn, key=identifier, sequence=2, event_id=second)
            await hub.emit(received(identifier), key=identifier, sequence=1, event_id=first)
        await hub.settle()
        items, after = [], ""
        while True:
            page = await feed(hub, after, limit="7")
            if page["next"] is None:
                break
            items += page["items"]
            after = page["next"]
        assert [item["sushuposition"] for item in items] == list(range(1, 61))
        for identifier in ids:
            own = [item["type"] for item in items if item["subject"] == identifier]
            assert own == ["appeal.received", "appeal.withdrawn"]
        only = await feed(hub, types="appeal.withdrawn")
        assert len(only["items"]) == 30
        checks = await hub.http.get("/ops/journal/reconcile", headers=hub.admin)
        assert checks.json()["differences"] == 0


async def test_event_types_of_a_newer_release_are_kept_as_they_are(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        identifier = uuid7()
        headers = tuple(
            (f"ce_{name}", value.encode())
            for name, value in {
                "specversion": "1.0",
                "id": uuid7(),
                "type": "appeal.reopened",
                "source": "/460100/intake",
                "subject": identifier,
                "time": "2026-11-02T02:00:00Z",
                "sequence": "1",
            }.items()
        )
        await hub.publish(Record(TOPIC, identifier, headers, b'{"unheard":"of"}'))
        await hub.emit(received(identifier), key=identifier, sequence=2)
        await hub.settle()
        items = (await feed(hub))["items"]
        assert [item["type"] for item in items] == ["appeal.reopened", "appeal.received"]
        assert items[0]["data"] == {"unheard": "of"}


async def test_damaged_event_is_a_dead_letter_and_harms_no_other_key(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        await hub.publish(Record(TOPIC, "damaged", (("ce_id", b"\xff"),), b"\x00\xff"))
        good = uuid7()
        await hub.emit(received(good), key=good, sequence=1)
        await hub.settle()
        assert [item["subject"] for item in (await feed(hub))["items"]] == [good]
        letters = (await hub.http.get("/ops/journal/dead-letters", headers=hub.admin)).json()["items"]
        assert [letter["status"] for letter in letters] == ["parked"]
        assert "UTF-8" in letters[0]["reason"]
        answer = await hub.http.post(f"/ops/journal/dead-letters/{letters[0]['id']}/replay", headers=hub.admin)
        assert answer.status_code == 409
        answer = await hub.http.post(f"/ops/journal/dead-letters/{letters[0]['id']}/discard", headers=hub.admin)
        assert answer.status_code == 200, answer.text


async def test_reader_at_the_end_is_woken_by_the_next_event(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        waiting = asyncio.create_task(feed(hub, wait_s="10"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        identifier = uuid7()
        await hub.emit(received(identifier), key=identifier, sequence=1)
        page = await asyncio.wait_for(waiting, 5)
        assert [item["subject"] for item in page["items"]] == [identifier]


async def test_feed_needs_a_token_and_a_role(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        assert (await hub.http.get("/v1/events")).status_code == 401
        assert (await hub.http.get("/v1/events", headers=hub.token("handler", units=["u"]))).status_code == 403
        answer = await hub.http.get("/v1/events?after=abc", headers=hub.token("auditor"))
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["pointer"] == "/after"


async def test_counts_add_up_to_what_the_feed_holds(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal") as hub:
        for identifier in (uuid7(), uuid7()):
            await hub.emit(received(identifier), key=identifier, sequence=1)
        await hub.settle()
        first = (await hub.http.get("/v1/events/counts", headers=hub.admin)).json()
        assert first == {"counts": {"appeal.received": 2}, "next": "2"}
        again = (await hub.http.get("/v1/events/counts?after=2", headers=hub.admin)).json()
        assert again == {"counts": {}, "next": "2"}


async def test_rare_types_are_found_piece_by_piece(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "LOOK_AT", 10)
    async with Harness.fresh(server_url, "journal") as hub:
        for number in range(35):
            await hub.emit(received(rare := uuid7()), key=rare, sequence=1)
            if number == 20:
                await hub.emit(AppealWithdrawn(actor="citizen", after=appeal(rare, "withdrawn")), key=rare, sequence=2)
            await hub.settle()
        found, after, pages = [], "", 0
        while (page := await feed(hub, after, types="appeal.withdrawn"))["next"] is not None:
            found += page["items"]
            after, pages = page["next"], pages + 1
        assert [item["type"] for item in found] == ["appeal.withdrawn"]
        assert pages == 3, "ten positions at a time, of 36"
        counts: Counter[str] = Counter()
        after = ""
        while (answer := await counted(hub, after))["counts"]:
            counts.update(answer["counts"])
            after = answer["next"]
        assert counts == {"appeal.received": 35, "appeal.withdrawn": 1}
        assert await counted(hub, "latest") == {"counts": {}, "next": "36"}


async def counted(hub: Harness, after: str) -> dict[str, Any]:
    answer = await hub.http.get("/v1/events/counts", params={"after": after}, headers=hub.admin)
    found: dict[str, Any] = answer.json()
    return found
