"""A seeded hub cannot be told from one that has run for months: through its doors, and by its own reconciliation."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from shared.clock import ManualClock
from shared.settings import Settings
from shared.testing.harness import Harness
from tools.seed.__main__ import database_of, seed_hub
from tools.seed.load import SeedRefused
from tools.seed.rehearsal import Size
from tools.seed.tables import COUNTED, NOT_SEEDED, OF_CASES, OF_RUNTIME, PASSING, REGISTERS

CASES = 300
SMALL = Size(cohorts=3, per_cohort=8, open=20)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seeded(server_url: str) -> AsyncIterator[Harness]:
    """All services with `CASES` seeded cases."""
    async with Harness.fresh(server_url, *OF_CASES, clock=ManualClock(datetime.now(UTC))) as hub:
        figures = await seed_hub(hub.settings, CASES, seed=5, months=4, size=SMALL)
        assert figures["written"] == CASES
        await hub.settle(60)
        yield hub


async def get(hub: Harness, path: str, **query: str) -> dict[str, Any]:
    answer = await hub.http.get(path, params=query, headers=hub.admin)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


async def every(hub: Harness, path: str, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    page = await get(hub, path, limit="200", **query)
    while True:
        items += page["items"]
        if page["next"] is None:
            return items
        page = await get(hub, path, limit="200", after=page["next"], **query)


async def test_reconciliation_finds_no_difference(seeded: Harness) -> None:
    for name in seeded.runners:
        found = await get(seeded, f"/ops/{name}/reconcile")
        assert found["differences"] == 0, (name, found)


async def test_every_case_is_listed_and_most_are_answered(seeded: Harness) -> None:
    listed = await every(seeded, "/v1/appeals")
    assert len({item["id"] for item in listed}) == CASES
    assert len({item["reference_no"] for item in listed}) == CASES
    statuses = Counter(item["status"] for item in listed)
    assert statuses["answered"] > CASES // 2
    assert len(statuses) >= 4, statuses
    assert len({item["received_at"][:7] for item in listed}) >= 3, "months"
    times = [datetime.fromisoformat(item["received_at"]) for item in listed]
    assert max(times) <= seeded.clock.now()
    assert len({item["channel"] for item in listed}) >= 3


async def test_a_seeded_case_has_its_whole_story(seeded: Harness) -> None:
    closed = next(item for item in await every(seeded, "/v1/appeals", status="answered") if item["units"])
    case = await get(seeded, f"/v1/appeals/{closed['id']}")
    assert case["labels"]
    assert case["clocks"]
    assert case["feedback"]["status"] == "closed"
    order = await get(seeded, f"/v1/work-orders/{case['work_orders'][0]['id']}")
    assert closed["id"] in order["appeal_ids"]
    assert (await get(seeded, f"/v1/clocks/{order['id']}"))["items"]
    items = (await get(seeded, f"/v1/appeals/{closed['id']}/timeline"))["items"]
    assert items[0]["type"] == "appeal.received"
    assert case["reference_no"] in items[0]["words"]
    times = [datetime.fromisoformat(item["time"]) for item in items]
    assert times == sorted(times)
    assert times[0] == datetime.fromisoformat(case["received_at"])


async def test_search_finds_a_place_that_few_cases_name(seeded: Harness) -> None:
    listed = await every(seeded, "/v1/appeals")
    place = listed[0]["text"].rpartition("（")[2].rstrip("）")
    assert len(place) == 3
    assert listed[0]["id"] in {item["id"] for item in await every(seeded, "/v1/appeals", q=place)}
    orders = await every(seeded, "/v1/work-orders", q=place)
    assert orders
    for order in orders:
        assert any(place in one["text"] for one in (await get(seeded, f"/v1/work-orders/{order['id']}"))["appeals"])


async def test_a_citizen_tracks_a_seeded_case_and_rates_it_by_its_own_link(seeded: Harness) -> None:
    from services.intake.domain.appeal import query_code
    from services.intake.keys import Keys

    keys = Keys.load(seeded.settings.keys, make=False)
    for item in await every(seeded, "/v1/appeals", status="completed"):
        code = query_code(keys.codes, item["id"])
        track = await get(seeded, "/v1/track", reference_no=item["reference_no"], query_code=code)
        if "rating_url" in track:
            break
    else:
        pytest.fail("no seeded case waits for a rating by link")
    token = track["rating_url"].rsplit("/", 1)[1]
    answer = {"contacted": True, "solved": True, "satisfaction": 5}
    rated = await seeded.http.post(f"/v1/ratings/{token}", json=answer)
    assert rated.status_code == 200, rated.text
    await seeded.settle(60)
    assert (await get(seeded, f"/v1/appeals/{item['id']}"))["status"] == "answered"


async def test_the_journal_goes_on_behind_the_seed(seeded: Harness) -> None:
    [head] = await seeded.query("SELECT position, (SELECT count(*) FROM journal.events) AS count FROM journal.head")
    assert head["position"] == head["count"]
    last = str(head["position"])
    posted = await seeded.http.post(
        "/v1/appeals", json={"channel": "web", "text": "小区门口的路灯坏了"}, headers=seeded.admin
    )
    assert posted.status_code == 201
    await seeded.settle(60)
    page = await get(seeded, "/v1/events", after=last)
    assert page["items"][0]["subject"] == posted.json()["id"]
    assert page["items"][0]["sushuposition"] == int(last) + 1


async def test_open_cases_go_on_by_themselves(seeded: Harness) -> None:
    before = len(await every(seeded, "/v1/supervisions"))
    await seeded.advance(timedelta(days=2).total_seconds())
    assert len(await every(seeded, "/v1/supervisions")) > before


async def test_the_same_command_again_writes_nothing_and_another_n_is_refused(seeded: Harness) -> None:
    again = await seed_hub(seeded.settings, CASES, seed=5, months=4, size=SMALL)
    assert again["written"] == 0
    with pytest.raises(SeedRefused, match="another seed"):
        await seed_hub(seeded.settings, CASES + 1, seed=5, months=4, size=SMALL)


async def test_every_table_of_every_service_is_thought_of(seeded: Harness) -> None:
    for schema, names in OF_CASES.items():
        rows = await seeded.query(
            f"SELECT relname FROM pg_class c WHERE relnamespace = '{schema}'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        own = [name for lists in (COUNTED, REGISTERS, PASSING) for name in lists.get(schema, ())]
        known = {*names, *OF_RUNTIME, *NOT_SEEDED, *own}
        assert {row["relname"] for row in rows} == known, f"tools/seed/tables.py, {schema}"


async def test_a_seed_beside_another_takes_other_reference_numbers_where_they_meet(seeded: Harness) -> None:
    [run] = await seeded.query("SELECT first_number FROM seed.runs WHERE seed = 5")
    # a million later the numbers of a day are the same again
    await seeded.query("SELECT setval('intake.reference_numbers', $1)", run["first_number"] + 999_999)
    figures = await seed_hub(seeded.settings, CASES, seed=6, months=4, size=SMALL)
    assert figures["written"] == CASES
    [found] = await seeded.query("SELECT count(DISTINCT reference_no) AS numbers FROM intake.reference_keys")
    assert found["numbers"] >= 2 * CASES


def test_production_refuses() -> None:
    settings = Settings(env="production", jwks_url="https://issuer.example/jwks", jwt_issuer="https://issuer.example")
    with pytest.raises(SeedRefused, match="production"):
        database_of(settings)
