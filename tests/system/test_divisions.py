"""A change of the list of divisions, and a day that it waits for, come into force in every service by themselves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from shared.city import CITIES
from shared.clock import ZONE
from shared.regions.directory import OWN_COLUMNS
from shared.testing.harness import Harness

HOME, ZONE_CODE = "460100", "469801"
"""a development zone: no code of it is below the city's by its digits"""


async def test_a_new_division_is_known_to_dispatch_evaluate_and_classify_from_its_first_day_on(
    server_url: str, tmp_path: Path
) -> None:
    city = tmp_path / "city"
    shutil.copytree(CITIES / "demo", city)
    async with Harness.fresh(server_url, "classify", "dispatch", "evaluate", city=str(city)) as hub:
        await hub.settle()
        duty = {"matter": "0101", "region_code": ZONE_CODE, "lead": "460106-market"}

        async def may_hold_a_duty() -> bool:
            answer = await hub.http.post("/v1/duties", json=duty, headers=hub.admin)
            assert answer.status_code in (201, 422), answer.text
            return answer.status_code == 201

        async def named_on_the_page() -> bool:
            page = await hub.http.get("/v1/rankings/2026-10", headers={**hub.admin, "Accept": "text/html"})
            assert page.status_code == 200, page.text
            return "新琼州市" in page.text

        async def read_in_a_text() -> bool:
            answer = await hub.http.post("/v1/classify", json={"text": "云帆开发区停电"}, headers=hub.admin)
            return bool(answer.json()["region"] == ZONE_CODE)

        first = (hub.clock.now().astimezone(ZONE) + timedelta(days=1)).date()
        (city / "regions.csv").write_text(
            f"{','.join(OWN_COLUMNS)}\n{ZONE_CODE},云帆开发区,3,{HOME},,,{first},,\n{HOME},新琼州市,2,460000,,,{first},,\n",
            encoding="utf-8",
        )
        effects = (may_hold_a_duty, named_on_the_page, read_in_a_text)
        for holds in effects:
            assert not await holds()
        hub.clock.advance(86_400)
        for holds in effects:
            await soon(holds)


async def soon(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the services do in the background."""
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)
