"""Two whole stacks, a province and a city: cases finish in the city, the province is killed while it pulls them over a
line that cuts answers off, and in the end it ranks the city by the city's own numbers."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.intake.domain.appeal import query_code
from shared.clock import SystemClock, period_of
from shared.ids import uuid7
from tests.bench.stack import Stack, free_port
from tests.federation.proxy import Line
from tests.federation.run import EAST, HEADERS, NOT_NOW, PLACES, PROVINCE, TEXTS, Town
from tests.integration.federation.towns import Atlas

CASES = 12
PATIENCE_S = 120.0
ANSWERS = (
    {"contacted": True, "solved": True, "satisfaction": 5},
    {"contacted": True, "solved": True, "satisfaction": 3},
)


class Play:
    """A city whose cases are lived through, and the province above it."""

    def __init__(self, client: httpx.AsyncClient, towns: dict[str, Town]) -> None:
        self.client = client
        self.towns = towns
        self.city = towns[EAST]

    async def get(self, town: Town, path: str, **params: Any) -> Any:
        answer = await self.client.get(f"{town.stack.url}{path}", params=params)
        answer.raise_for_status()
        return answer.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(f"{self.city.stack.url}{path}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def live(self, number: int) -> None:
        """A citizen's case from his appeal to his rating."""
        appeal = await self.post(
            "/v1/appeals",
            {
                "channel": "web",
                "text": f"{TEXTS[number % len(TEXTS)]}（第{number}件）",
                "external_id": f"life-{number}-{uuid7()}",
                "reporter": {"name": "王小明", "phone": f"139{number:08d}"},
                "location": {"region_code": PLACES[EAST]},
            },
        )
        order = await until(lambda: self.dispatched(appeal["id"]), "a dispatched order")
        await self.post(f"/v1/work-orders/{order}/accept", {})
        await self.post(f"/v1/work-orders/{order}/complete", {"result": "已派人处理并恢复原状", "solved": True})
        codes = json.loads((self.city.atlas.key_dir(EAST) / "intake.json").read_bytes())["codes"]
        code = query_code(base64.b64decode(codes), appeal["id"])
        asked = {"reference_no": appeal["reference_no"], "query_code": code}

        async def link() -> Any:
            return (await self.get(self.city, "/v1/track", **asked)).get("rating_url")

        url = await until(link, "the citizen's link")
        await self.post("/" + url.partition("://")[2].partition("/")[2], ANSWERS[number % len(ANSWERS)])

    async def dispatched(self, appeal_id: str) -> str | None:
        """The order of an appeal; a person reviews its label when it waits for one."""
        case = await self.get(self.city, f"/v1/appeals/{appeal_id}")
        orders = case["work_orders"]
        if orders and orders[0]["status"] == "pending":
            await self.post(f"/v1/reviews/{appeal_id}", {"matter": case["labels"]["matter"]["code"]})
        return orders[0]["id"] if orders and orders[0]["status"] == "dispatched" else None

    async def counts(self, code: str, level: str) -> dict[str, Any] | None:
        """Of the city, as a platform shows them."""
        period = period_of(SystemClock().now())
        items = (await self.get(self.towns[code], f"/v1/evaluations/{period}", level=level))["items"]
        return next((item["counts"] for item in items if item["id"] == EAST), None)

    async def same(self) -> bool:
        """Whether every case is counted in the city, and the province says the same of it."""
        own = await self.counts(EAST, "city")
        if own is None or own["closed"] < CASES:
            return False
        return bool(await self.counts(PROVINCE, "platform") == own)


async def until(found: Callable[[], Awaitable[Any]], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if result := await found():
                return result
        except NOT_NOW:
            pass
        await asyncio.sleep(0.2)
    raise AssertionError(f"{what} did not come")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_province_that_is_killed_while_it_pulls_ranks_its_city_by_the_citys_numbers(tmp_path: Path) -> None:
    atlas = Atlas(tmp_path, {PROVINCE: (1, None), EAST: (2, PROVINCE)})
    towns = {}
    for code in atlas.levels:
        port, data = free_port(), tmp_path / f"data-{code}"
        data.mkdir()
        line = Line(int(atlas.urls[code].rpartition(":")[2]), port, random.Random(code), cut=1.0)
        towns[code] = Town(code, Stack("embedded", data, port), line, atlas)
    try:
        for town in towns.values():
            await town.line.start()
            town.start()
        await asyncio.gather(*(asyncio.to_thread(town.wait) for town in towns.values()))
        async with httpx.AsyncClient(headers=HEADERS, timeout=30, trust_env=False) as client:
            play, province = Play(client, towns), towns[PROVINCE]
            first = [asyncio.create_task(play.live(number)) for number in range(CASES // 2)]
            cuts = play.city.line.cuts

            async def cut_off() -> bool:
                return play.city.line.cuts >= cuts + 3

            await until(cut_off, "answers that never arrive")
            play.city.line.cut = 0.2

            async def something() -> bool:
                return bool((await play.get(province, "/v1/events/peers"))["items"][0]["events"])

            await until(something, "the first events of the city")
            await asyncio.to_thread(province.kill)
            await asyncio.gather(*first, *(play.live(number) for number in range(CASES // 2, CASES)))
            province.start()
            await asyncio.to_thread(province.wait)
            await until(play.same, "the city's numbers in the province")
            city = await play.counts(EAST, "city")
            assert city is not None
            assert (city["closed"], city["asked"], city["solved"]) == (CASES, CASES, CASES)
            streams = await province.rows(
                "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM bus.log,"
                " LATERAL (SELECT h.value ->> 1 AS id FROM jsonb_array_elements(headers::jsonb) h(value)"
                " WHERE h.value ->> 0 = 'ce_id') e WHERE topic LIKE 'peer.%'"
            )
            known = await towns[EAST].rows(
                "SELECT count(*) AS n FROM journal.events WHERE topic IN ('classify.labels.v1',"
                " 'dispatch.work-orders.v1', 'sla.clocks.v1', 'feedback.ratings.v1')"
            )
            assert streams[0]["ids"] == known[0]["n"], "none is missing"
            rows = await province.rows("SELECT events FROM journal.peer_feeds")
            assert rows[0]["events"] == known[0]["n"], "none was published twice"
    finally:
        await asyncio.gather(*(asyncio.to_thread(town.stop) for town in towns.values()))
        for town in towns.values():
            await town.line.stop()
