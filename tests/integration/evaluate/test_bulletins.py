"""Rankings with trend and reasons, and the bulletin: Markdown and PDF, of published months and drafts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pypdfium2
import pytest_asyncio

from shared.testing.harness import Harness
from tests.integration.evaluate.test_publication import deliver, journalling, post
from tests.truth.lives import World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    """Two months, the first published."""
    async with journalling(server_url) as fresh:
        await deliver(fresh, World(seed=8, cases=500, months=("2026-09", "2026-10"), units=8).events())
        fresh.clock.set(datetime(2026, 11, 3, tzinfo=UTC))
        await post(fresh, "/v1/evaluations/2026-09/publish")
        yield fresh


async def get(hub: Harness, path: str) -> Any:
    answer = await hub.http.get(path, headers=hub.admin)
    assert answer.status_code == 200, answer.text
    return answer.json() if "json" in answer.headers["content-type"] else answer.content


async def test_a_ranking_tells_trend_peers_races_and_reasons(hub: Harness) -> None:
    before = {one["id"]: one for one in (await get(hub, "/v1/rankings/2026-09"))["items"]}
    now = await get(hub, "/v1/rankings/2026-10")
    assert now["published"] is None
    ranked = [one for one in now["items"] if one["rank"] is not None]
    assert len(ranked) >= 3
    scores = sorted(one["score"] for one in ranked)
    middle = (scores[(len(scores) - 1) // 2] + scores[len(scores) // 2]) / 2
    capped, added_up = set(), 0
    for period in ("2026-09", "2026-10"):
        for item in (await get(hub, f"/v1/evaluations/{period}"))["items"]:
            counts = item["counts"]
            if 2 * counts["shirked"] + 5 * counts["false_completions"] + counts["late"] / 2 > 20:
                capped.add(item["id"])
    for one in ranked:
        earlier = before[one["id"]]
        assert one["trend"]["score"] == earlier["score"]
        assert one["trend"]["rank"] == earlier["rank"]
        assert one["trend"]["score_change"] == round(one["score"] - earlier["score"], 2)
        if earlier["rank"] is not None:
            assert one["trend"]["places"] == earlier["rank"] - one["rank"]
        assert abs(one["peers"]["median_score"] - middle) < 0.011
        assert one["small_sample"] is False
        moved = sum(reason["points"] for reason in one["reasons"])
        if one["id"] not in capped:
            added_up += 1
            assert abs(moved - one["trend"]["score_change"]) < 0.06, "below its cap the formula is a sum"
    assert added_up >= 1
    for rate in ("response", "solution"):
        items = {one["id"]: one for one in (await get(hub, "/v1/evaluations/2026-10"))["items"]}
        for one in ranked:
            own = items[one["id"]]["rates"][rate]
            better = [
                o
                for o in ranked
                if items[o["id"]]["rates"][rate]["numerator"] * own["denominator"]
                > own["numerator"] * items[o["id"]]["rates"][rate]["denominator"]
            ]
            assert one["race"][rate] == 1 + len(better)
    assert all(one["small_sample"] for one in now["items"] if one["asked"] < 20)


async def test_a_bulletin_says_in_chinese_what_the_ranking_says(hub: Harness) -> None:
    text = (await get(hub, "/v1/bulletins/2026-10")).decode()
    assert text.startswith("# 海口市12345热线2026年10月办理情况通报\n")
    assert "草稿" in text
    ranking = (await get(hub, "/v1/rankings/2026-10"))["items"]
    for line in ranking:
        if line["rank"] is not None:
            row = next(row for row in text.splitlines() if f"| {line['name']} | {line['score']:.2f} |" in row)
            assert row.startswith(f"| {line['rank']}")
    published = (await get(hub, "/v1/bulletins/2026-09")).decode()
    digest = (await get(hub, "/v1/evaluations/2026-09"))["published"]["digest"]
    assert digest in published
    assert "草稿" not in published


async def test_a_pdf_can_be_read_and_brings_its_font(hub: Harness) -> None:
    body = await get(hub, "/v1/bulletins/2026-09?format=pdf")
    document = pypdfium2.PdfDocument(body)
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "海口市12345热线2026年9月办理情况通报" in text
    assert "赛马排名" in text
    assert b"/FontFile2" in body, "the glyphs are in the file: no reader needs a Chinese font"
    assert body == await get(hub, "/v1/bulletins/2026-09?format=pdf")
    image = document[0].render(scale=1).to_numpy()
    assert 0.005 < (image < 128).mean() < 0.2, "a page with ink on it"


async def test_an_empty_month_and_strange_names_do_no_harm(hub: Harness) -> None:
    for period in ("2020-02", "0001-01"):
        assert b"%PDF" in await get(hub, f"/v1/bulletins/{period}?format=pdf")
        assert "没有可比的排名" in (await get(hub, f"/v1/bulletins/{period}")).decode()
    await hub.query("UPDATE evaluate.units SET name = '<b>&| *x* [a](java:b)' WHERE unit LIKE '%u007'")
    assert b"%PDF" in await get(hub, "/v1/bulletins/2026-10?format=pdf")
    text = (await get(hub, "/v1/bulletins/2026-10")).decode()
    assert "\\<b\\>&\\| \\*x\\* \\[a\\](java:b)" in text


async def test_the_published_months_are_listed_and_a_limited_token_sees_no_bulletin(hub: Harness) -> None:
    listed = await get(hub, "/v1/bulletins")
    assert [(one["period"], one["url"]) for one in listed["items"]] == [("2026-09", "/v1/bulletins/2026-09")]
    for limited in (hub.token("leader", units=["460100-u001"]), hub.token("leader", regions=["460105"])):
        answer = await hub.http.get("/v1/bulletins/2026-09", headers=limited)
        assert answer.status_code == 403
    answer = await hub.http.get("/v1/bulletins/2026-09?format=exe", headers=hub.admin)
    assert answer.status_code == 422
