"""Whole platforms side by side, as a province sees them: rows of other platforms never mix with the own ones."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.integration.evaluate.test_publication import deliver, journalling, post
from tests.truth.calculation import expected
from tests.truth.delivery import record_of
from tests.truth.lives import World

OTHER = "460200"


async def test_each_platform_has_its_own_counts_and_cases(server_url: str) -> None:
    own = World(seed=3, cases=150, months=("2026-10",), units=4)
    other = World(seed=4, cases=260, months=("2026-10",), units=4)
    async with journalling(server_url) as hub:
        await deliver(hub, own.events())
        await hub.transport.publish([record_of(one, OTHER) for one in other.events()])
        await hub.settle(60)
        hub.clock.set(datetime(2026, 11, 3, tzinfo=UTC))
        for published in (False, True):
            if published:
                await post(hub, "/v1/evaluations/2026-10/publish")
            path = "/v1/evaluations/2026-10?level=platform"
            items = (await hub.http.get(path, headers=hub.admin)).json()["items"]
            assert [item["id"] for item in items] == ["460100", OTHER]
            for item, world in zip(items, (own, other), strict=True):
                truth = expected(world.truth, "2026-10")["city"]["460100"]
                assert item["counts"] == truth["counts"], item["id"]
                cases = f"/v1/evaluations/2026-10/cases?level=platform&unit={item['id']}&count=solved&limit=200"
                found = (await hub.http.get(cases, headers=hub.admin)).json()["items"]
                assert len(found) == min(200, truth["counts"]["solved"])
        mine = (await hub.http.get("/v1/evaluations/2026-10?level=city", headers=hub.admin)).json()["items"]
        assert [item["counts"] for item in mine] == [items[0]["counts"]]
        limited = hub.token("leader", regions=[OTHER])
        seen = (await hub.http.get("/v1/rankings/2026-10?level=platform", headers=limited)).json()["items"]
        assert [item["id"] for item in seen] == [OTHER]
