"""A province pulls the events of its cities: its ranking shows their numbers, and nobody else's are believed."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from nacl.signing import SigningKey

from services.journal.peers import puller
from services.journal.peers.answers import STREAMS, TYPES
from services.journal.peers.puller import Puller
from services.journal.sharing import WITHHELD
from shared.federation.peers import Peers
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.federation.towns import Atlas, serving_app, towns, until
from tests.truth.calculation import expected
from tests.truth.delivery import batches, record_of
from tests.truth.lives import World

PROVINCE, CITY, COUNTY, STRANGER = "460000", "460100", "460106", "110000"
MONTH = "2026-10"
PAGES = ("journal", "evaluate")
LEVELS = {PROVINCE: (1, None), CITY: (2, PROVINCE), COUNTY: (3, CITY), STRANGER: (1, None)}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller, "LIMIT", 40)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def city(
    server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Atlas, Harness, World]]:
    """A city with a month of known truth."""
    atlas = Atlas(tmp_path_factory.mktemp("platforms"), LEVELS)
    world = World(seed=5, cases=80, months=(MONTH,), units=4)
    async with towns(server_url, atlas, {CITY: PAGES}) as hubs:
        for batch in batches(map(record_of, world.events())):
            await hubs[CITY].transport.publish(batch)
        await hubs[CITY].settle(60)
        yield atlas, hubs[CITY], world


async def counts(hub: Harness, level: str) -> dict[str, Any]:
    path = f"/v1/evaluations/{MONTH}?level={level}"
    return {item["id"]: item["counts"] for item in (await hub.http.get(path, headers=hub.admin)).json()["items"]}


async def told_of(hub: Harness) -> dict[str, Any]:
    items = (await hub.http.get("/v1/events/peers", headers=hub.admin)).json()["items"]
    return {item["platform"]: item for item in items}


async def pulled_all(province: Harness, city: Harness) -> None:
    """Until the province has everything of the city and has counted it."""
    wanted = await city.query("SELECT max(position) AS last FROM journal.events WHERE type = ANY($1)", list(TYPES))

    async def there() -> bool:
        row = (await told_of(province)).get(CITY)
        return row is not None and int(row["position"]) >= wanted[0]["last"]

    await until(there, "the end of the city's journal", 60)
    await province.settle(60)


async def ids(hub: Harness, sql: str, *values: Any) -> list[str]:
    return [row["id"] for row in await hub.query(sql, *values)]


OF_JOURNAL = "SELECT id FROM journal.events WHERE type = ANY($1) ORDER BY id"
OF_LOG = (
    "SELECT h.value ->> 1 AS id FROM bus.log, jsonb_array_elements(headers::jsonb) h(value)"
    " WHERE topic LIKE 'peer.%' AND h.value ->> 0 = 'ce_id' ORDER BY 1"
)


async def test_the_ranking_of_a_province_shows_the_numbers_of_its_city(
    server_url: str, city: tuple[Atlas, Harness, World]
) -> None:
    atlas, below, world = city
    async with towns(server_url, atlas, {PROVINCE: PAGES}) as hubs:
        province = hubs[PROVINCE]
        await pulled_all(province, below)
        truth = expected(world.truth, MONTH)["city"][CITY]["counts"]
        assert (await counts(below, "city"))[CITY] == truth
        assert (await counts(province, "platform"))[CITY] == truth
        ranking = (await province.http.get(f"/v1/rankings/{MONTH}?level=platform", headers=province.admin)).json()
        best = ranking["items"][0]
        assert (best["id"], best["rank"], best["asked"]) == (CITY, 1, truth["asked"])
        assert await counts(province, "unit") == {}, "units of other platforms must not mix with the own ones"
        assert await counts(province, "district") == {}

        events = await province.query("SELECT topic, value FROM bus.log WHERE topic LIKE 'peer.%'")
        assert {row["topic"] for row in events} == set(STREAMS.values())
        for row in events:
            data = orjson.loads(row["value"])
            assert data.pop("actor") == f"platform:{CITY}", "who did it is not shared"
            for path in WITHHELD:
                assert path.split(".")[-1] not in data.get("after", {})
        assert await province.query("SELECT 1 FROM journal.events") == [], "the city's journal has them"


async def test_a_child_that_begins_later_is_pulled_too_and_news_come_at_once(server_url: str, tmp_path: Path) -> None:
    atlas = Atlas(tmp_path, {PROVINCE: (1, None), CITY: (2, PROVINCE)})
    world = World(seed=6, cases=12, months=(MONTH,), units=2)
    records = list(map(record_of, world.events()))
    async with towns(server_url, atlas, {PROVINCE: PAGES}) as above:
        province = above[PROVINCE]

        async def away() -> bool:
            return bool((await told_of(province))[CITY]["error"])

        await until(away, "the word that the city is away")
        async with towns(server_url, atlas, {CITY: ("journal",)}) as hubs:
            await hubs[CITY].transport.publish(records[:50])
            await hubs[CITY].settle()
            await pulled_all(province, hubs[CITY])
            assert (await told_of(province))[CITY]["error"] is None
            await hubs[CITY].transport.publish(records[50:])
            await hubs[CITY].settle()
            await pulled_all(province, hubs[CITY])
            whole = await ids(hubs[CITY], OF_JOURNAL, list(TYPES))
            assert await ids(province, OF_LOG) == whole

            counted = await counts(province, "platform")
            path = f"/v1/events/peers/{CITY}/replay"
            answer = await province.http.post(path, json={"after": "0"}, headers=province.admin)
            assert (answer.status_code, answer.json()["position"]) == (200, "0")
            await pulled_all(province, hubs[CITY])
            assert await ids(province, OF_LOG) == sorted(whole * 2)
            assert await counts(province, "platform") == counted, "repeats change nothing"
            unknown = path.replace(CITY, STRANGER)
            answer = await province.http.post(unknown, json={"after": "0"}, headers=province.admin)
            assert answer.status_code == 404


async def test_pullers_that_take_the_lease_from_each_other_skip_and_double_nothing(
    server_url: str, city: tuple[Atlas, Harness, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas, below, _ = city
    monkeypatch.setattr(puller, "LIMIT", 20)
    monkeypatch.setattr(puller, "LOOK_S", 0.05)
    own = atlas.write(tmp_path / "platforms.yaml", without=[CITY])
    async with towns(server_url, atlas, {PROVINCE: PAGES}, {PROVINCE: own}) as hubs:
        province = hubs[PROVINCE]
        database = province.runners["journal"].service.database
        dice = random.Random(3)

        async def replica() -> None:
            """A replica that is killed again and again."""
            while True:
                task = asyncio.create_task(Puller(Peers(province.settings), database).run())
                try:
                    await asyncio.sleep(dice.uniform(0.2, 1.5))
                finally:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

        async def steal() -> None:
            while True:
                await province.query("UPDATE journal.peer_feeds SET leased_until = now() - interval '1 s'")
                await asyncio.sleep(0.4)

        tasks = [asyncio.create_task(one()) for one in (replica, replica, steal)]
        atlas.write(own)
        try:
            await pulled_all(province, below)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await ids(province, OF_LOG) == await ids(below, OF_JOURNAL, list(TYPES))
        assert (await counts(province, "platform"))[CITY] == (await counts(below, "city"))[CITY]


async def ask(
    atlas: Atlas, hub: Harness, by: str, query: str = "limit=5", signed: str | None = None, **more: Any
) -> Any:
    headers = atlas.signed(by, CITY, "GET", "/v1/events", b"", query=query if signed is None else signed, **more)
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"{atlas.urls[CITY]}/v1/events?{query}", headers=headers)


async def test_a_platform_above_reads_the_feed_with_its_signature(city: tuple[Atlas, Harness, World]) -> None:
    atlas, hub, _ = city
    answer = await ask(atlas, hub, PROVINCE)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["items"]) == 5
    assert all("actor" not in item["data"] for item in answer.json()["items"])


@pytest.mark.parametrize(
    ("by", "more", "status", "code"),
    [
        (PROVINCE, {"key": SigningKey(os.urandom(32))}, 401, "signature_wrong"),
        (PROVINCE, {"keyid": f"{PROVINCE}#9"}, 401, "unknown_key"),
        (PROVINCE, {"keyid": f"{STRANGER}#1"}, 401, "signature_wrong"),
        (PROVINCE, {"created": int(time.time()) - 400}, 401, "signature_stale"),
        (PROVINCE, {"signed": "limit=1"}, 401, "signature_wrong"),
        (PROVINCE, {"signed": ""}, 401, "signature_missing"),
        (STRANGER, {}, 403, "not_above"),
        (COUNTY, {}, 403, "not_above"),
        (CITY, {}, 401, "own_key"),
    ],
)
async def test_whoever_is_not_above_or_not_believed_gets_a_problem(
    city: tuple[Atlas, Harness, World], by: str, more: dict[str, Any], status: int, code: str
) -> None:
    atlas, hub, _ = city
    answer = await ask(atlas, hub, by, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    audit = (await hub.http.get("/ops/journal/audit", params={"limit": 200}, headers=hub.admin)).json()["items"]
    newest = max(audit, key=lambda item: item["position"])
    assert (newest["action"], newest["reason"]) == ("peer_call_refused", code)


async def test_a_signed_request_is_answered_once(city: tuple[Atlas, Harness, World]) -> None:
    atlas, hub, _ = city
    nonce = os.urandom(9).hex()
    assert (await ask(atlas, hub, PROVINCE, nonce=nonce)).status_code == 200
    again = await ask(atlas, hub, PROVINCE, nonce=nonce)
    assert (again.status_code, again.json()["code"]) == (401, "replayed")


async def test_a_city_that_sends_events_of_others_is_not_believed(server_url: str, tmp_path: Path) -> None:
    atlas = Atlas(tmp_path, {PROVINCE: (1, None), CITY: (2, PROVINCE)})
    asked: list[str] = []
    foreign = {
        "id": uuid7(),
        "type": "clock.turned_red",
        "source": "/460200/sla",
        "subject": uuid7(),
        "time": "2026-10-02T08:00:00Z",
        "sequence": "1",
        "sushuposition": 1,
        "data": {},
    }

    async def liar(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["query_string"].decode())
        body = orjson.dumps({"items": [foreign], "next": "1"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with serving_app(liar, atlas.urls[CITY]), towns(server_url, atlas, {PROVINCE: ("journal",)}) as hubs:
        hub = hubs[PROVINCE]

        async def told() -> Any:
            return (await told_of(hub))[CITY]["error"]

        await until(told, "the word that it is not believed")
        row = (await told_of(hub))[CITY]
        assert (row["position"], row["events"]) == ("0", 0)
        assert "/460200/sla" in row["error"]
        assert await ids(hub, OF_LOG) == []
        assert 1 <= len(asked) < 20, "who is not believed is left alone for a while"
