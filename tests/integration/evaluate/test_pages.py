"""What evaluate shows in a browser: every number opens its cases, nothing runs, nobody sees more than as JSON."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.testing.harness import Harness
from tests.integration.evaluate.test_publication import deliver, journalling, post
from tests.truth.lives import World

LINK = re.compile(r'<a href="(/v1/evaluations/[^"]+/cases[^"]+)">([^<]*)</a>')
PAGES = (
    "/v1/rankings/2026-10?level={level}",
    "/v1/evaluations/2026-10/incentives",
    "/v1/portraits/460100-u001?period=2026-10",
    "/v1/evaluations/2026-10/cases?unit=460100-u001&count=solved",
    "/v1/evaluations/2026-10/signs",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    """Two months, the first published; one unit has a hostile name."""
    async with journalling(server_url) as fresh:
        await deliver(fresh, World(seed=8, cases=500, months=("2026-09", "2026-10"), units=8).events())
        await fresh.query("UPDATE evaluate.units SET name = '<script>alert(1)</script>\"&' WHERE unit LIKE '%u001'")
        fresh.clock.set(datetime(2026, 11, 3, tzinfo=UTC))
        await post(fresh, "/v1/evaluations/2026-09/publish")
        yield fresh


async def browse(hub: Harness, path: str, token: dict[str, str] | None = None) -> httpx.Response:
    """As a browser asks once its person has given the token as password."""
    bearer = (token or hub.admin)["Authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"anybody:{bearer}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer: httpx.Response = await hub.http.get(path, headers=headers)
    return answer


async def counted(hub: Harness, path: str) -> int:
    found, after = 0, ""
    while True:
        page = (await hub.http.get(f"{path}&limit=200&after={after}", headers=hub.admin)).json()
        found += len(page["items"])
        if page["next"] is None:
            return found
        after = page["next"]


@pytest.mark.parametrize("level", ["unit", "street", "district", "city"])
@pytest.mark.parametrize("period", ["2026-09", "2026-10"])
async def test_every_number_of_the_ranking_opens_as_many_cases(hub: Harness, level: str, period: str) -> None:
    page = (await browse(hub, f"/v1/rankings/{period}?level={level}")).text
    numbers = {(html.unescape(path), shown) for path, shown in LINK.findall(page) if shown.replace(",", "").isdigit()}
    assert len(numbers) >= 10
    for path, shown in sorted(numbers):
        assert await counted(hub, path) == int(shown.replace(",", "")), path


async def test_the_page_ranks_as_the_answer_in_json(hub: Harness) -> None:
    page = (await browse(hub, "/v1/rankings/2026-10")).text
    rows = re.findall(r'<tr><td class="rank"><strong>(\d+)</strong>.*?<strong>([\d.]+)</strong>', page)
    items = (await hub.http.get("/v1/rankings/2026-10?limit=200", headers=hub.admin)).json()["items"]
    ranked = [(str(one["rank"]), f"{one['score']:.2f}") for one in items if one["rank"] is not None]
    assert rows == ranked
    assert page.count("样本不足</span>") == len(items) - len(ranked)
    assert "草稿" in page
    assert "草稿" not in (await browse(hub, "/v1/rankings/2026-09")).text


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_runs_nothing_and_loads_nothing(hub: Harness, path: str) -> None:
    answer = await browse(hub, path.format(level="unit"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert " style=" not in answer.text, "the policy allows the one style sheet only"
    assert "signs" in path or "&lt;script&gt;" in answer.text, "the hostile name is shown as it is"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_browser_is_asked_for_a_token_and_writing_routes_never_take_it_so(hub: Harness) -> None:
    asked = await hub.http.get("/v1/rankings/2026-10", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="sushu", charset="UTF-8"')
    program = await hub.http.get("/v1/rankings/2026-10")
    assert program.headers["www-authenticate"].startswith("Bearer")
    for wrong in ("Basic !!!", "Basic " + base64.b64encode(b"admin:guess").decode(), "Basic", "Basic gA=="):
        headers = {"Authorization": wrong, "Accept": "text/html"}
        assert (await hub.http.get("/v1/rankings/2026-10", headers=headers)).status_code == 401
    bearer = hub.admin["Authorization"].removeprefix("Bearer ")
    basic = {"Authorization": "Basic " + base64.b64encode(f":{bearer}".encode()).decode()}
    assert (await hub.http.post("/v1/evaluations/2026-10/publish", json={}, headers=basic)).status_code == 401
    assert (await hub.http.post("/v1/formulas/trial", json={}, headers=basic)).status_code == 401
    assert (await hub.http.get("/v1/evaluations/2026-09/snapshot", headers=basic)).status_code == 200


async def test_a_handler_sees_the_lines_and_cases_of_his_unit_only(hub: Harness) -> None:
    own = hub.token("handler", units=["460100-u002"])
    page = (await browse(hub, "/v1/rankings/2026-10", own)).text
    assert "460100-u002" in page
    assert not re.search(r"460100-u00[013-9]", page)
    assert (await browse(hub, "/v1/portraits/460100-u001", own)).status_code == 404
    path = "/v1/evaluations/2026-10/cases?count=closed&unit=460100"
    everybody = (await hub.http.get(f"{path}&level=city&limit=200", headers=hub.admin)).json()["items"]
    his = (await hub.http.get(f"{path}&level=city&limit=200", headers=own)).json()["items"]
    alone = (await hub.http.get(f"{path}-u002&limit=200", headers=own)).json()["items"]
    assert his == alone
    assert len(his) < len(everybody)
    stranger = hub.token("leader", regions=["460300"])
    assert (await browse(hub, f"{path}&level=city", stranger)).status_code == 404


async def test_a_portrait_shows_tags_beside_all_others(hub: Harness) -> None:
    items = (await hub.http.get("/v1/rankings/2026-10?limit=200", headers=hub.admin)).json()["items"]
    unit = max(items, key=lambda one: int(one["asked"]))["id"]
    path = f"/v1/portraits/{unit}?period=2026-10"
    found: dict[str, Any] = (await hub.http.get(path, headers=hub.admin)).json()
    rows = await hub.query(
        "SELECT tag, count(*) AS closed, sum(solved) AS solved, sum(asked) AS asked FROM evaluate.cases c, LATERAL"
        " (SELECT tags FROM evaluate.labels l WHERE l.appeal_id = c.appeal_id ORDER BY sequence DESC LIMIT 1) last,"
        f" unnest(tags) tag WHERE period = '2026-10' AND unit = '{unit}' GROUP BY tag"
    )
    told = {(one["tag"], one["closed"], one["numerator"], one["denominator"]) for one in found["tags"]}
    assert told == {tuple(row) for row in rows}
    assert len(told) >= 4
    assert {(one["tag"], one["name"], one["family"]) for one in found["tags"]} == {
        (tag, f"标签{tag}", "nature") for tag, *_ in told
    }
    assert f"标签{found['tags'][0]['tag']}" in (await browse(hub, path)).text
