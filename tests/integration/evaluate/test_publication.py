"""Published months: what is frozen, what it is made of, and that anyone with the journal gets the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
import pytest_asyncio

from services.evaluate.publishing import feed, ledger
from services.evaluate.publishing.feed import FileFeed
from services.evaluate.publishing.publication import Publisher
from shared.events import topics
from shared.events.catalog.ratings import Feedback, FeedbackClosed, FeedbackExclusionDecided
from shared.testing.harness import Harness
from tests.truth.calculation import differences
from tests.truth.delivery import badly, batches, record_of
from tests.truth.lives import Told, World

MONTHS = ("2026-08", "2026-09", "2026-10")


async def deliver(hub: Harness, told: Iterable[Told]) -> None:
    for batch in batches(map(record_of, told)):
        await hub.transport.publish(batch)
    await hub.settle(120)


def publisher(hub: Harness) -> Publisher:
    """evaluate's, which reads the journal through the harness's HTTP."""
    found: Publisher = hub.runners["evaluate"].service.state.publisher
    return found


@asynccontextmanager
async def journalling(server_url: str, **settings: Any) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "journal", "evaluate", **settings) as hub:
        publisher(hub).feed.client = hub.http  # type: ignore[attr-defined]
        hub.clock.set(datetime(2026, 11, 2, 2, 0, tzinfo=UTC))
        yield hub


async def post(hub: Harness, path: str, body: dict[str, Any] | None = None, status: int = 200) -> dict[str, Any]:
    answer = await hub.http.post(path, json=body or {}, headers=hub.token("leader"))
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def snapshot(hub: Harness, period: str) -> bytes:
    answer = await hub.http.get(f"/v1/evaluations/{period}/snapshot", headers=hub.token("auditor"))
    assert answer.status_code == 200, answer.text
    return answer.content


class Scene:
    """A hub with three published months of known truth, and the whole journal as a file."""

    def __init__(self, hub: Harness, world: World, told: list[Told], digests: dict[str, str], journal: Path) -> None:
        self.hub, self.world, self.told, self.digests, self.journal = hub, world, told, digests, journal


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    world = World(seed=11, cases=480, months=MONTHS, units=16)
    told = list(world.events())
    async with journalling(server_url) as hub:
        await deliver(hub, told)
        digests = {}
        for period in MONTHS:
            answer = await post(hub, f"/v1/evaluations/{period}/publish", {"reason": "按月发布"})
            digests[period] = answer["digest"]
        await hub.settle()
        journal = tmp_path_factory.mktemp("journal") / "events.ndjson"
        lines, after = [], ""
        while True:
            page = (await hub.http.get(f"/v1/events?limit=1000&after={after}", headers=hub.admin)).json()
            lines += [orjson.dumps(item) for item in page["items"]]
            if page["next"] is None:
                break
            after = page["next"]
        journal.write_bytes(b"\n".join(lines) + b"\n")
        yield Scene(hub, world, told, digests, journal)


async def test_every_published_number_is_the_truth(scene: Scene) -> None:
    compared = 0
    for period in MONTHS:
        document = orjson.loads(await snapshot(scene.hub, period))
        numbers, wrong = differences(document, scene.world.truth)
        compared += numbers
        assert wrong == [], f"{period}: {len(wrong)} of {numbers}"
    assert compared > 3 * 16 * 38


async def test_what_is_shown_is_what_was_published(scene: Scene) -> None:
    body = await snapshot(scene.hub, "2026-09")
    assert sha256(body).hexdigest() == scene.digests["2026-09"]
    assert body == orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS), "canonical"
    shown = (await scene.hub.http.get("/v1/evaluations/2026-09?limit=200", headers=scene.hub.admin)).json()
    assert shown["published"]["digest"] == scene.digests["2026-09"]
    frozen = {line["id"]: line for line in orjson.loads(body)["levels"]["unit"]}
    for item in shown["items"]:
        line = frozen[item["id"]]
        assert (item["counts"], item["rank"], item["name"]) == (line["counts"], line["rank"], line["name"])
        assert item["score"] == (None if line["score"] is None else float(line["score"]))


async def test_a_rebuild_beside_gives_the_same_bytes_and_leaves_nothing(scene: Scene) -> None:
    for period in reversed(MONTHS):
        answer = await post(scene.hub, f"/v1/evaluations/{period}/rebuild")
        assert answer["identical"], answer
        assert (answer["digest"], answer["restored"]) == (scene.digests[period], False)
    left = await scene.hub.query("SELECT count(*) AS n FROM evaluate.rebuild_cases")
    assert left[0]["n"] == 0


async def test_an_empty_database_gets_identical_bytes_back_from_a_file_of_the_journal(
    scene: Scene, server_url: str
) -> None:
    async with Harness.fresh(server_url, "evaluate") as other:
        own = publisher(other)
        own.feed = FileFeed(scene.journal)
        answer = await own.rebuild(MONTHS[-1], lambda *_: None)
        assert answer == {
            "period": MONTHS[-1],
            "identical": True,
            "changed": [],
            "digest": scene.digests[MONTHS[-1]],
            "published_digest": scene.digests[MONTHS[-1]],
            "position": answer["position"],
            "restored": True,
        }
        for period in MONTHS:
            assert await snapshot(other, period) == await snapshot(scene.hub, period)
        again = await own.rebuild(MONTHS[0], lambda *_: None)
        assert (again["identical"], again["restored"]) == (True, False), "what is there is not put back twice"


@pytest.mark.parametrize("partitions", [1, 13])
async def test_repeats_disorder_and_other_partitions_give_the_same_bytes(
    scene: Scene, server_url: str, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    divided = {name: replace(topic, partitions=partitions) for name, topic in topics.load().items()}
    monkeypatch.setattr(topics, "load", lambda: divided)
    async with journalling(server_url) as hub:
        rows = await hub.query("SELECT DISTINCT partitions FROM bus.topics")
        assert [row["partitions"] for row in rows] == [partitions]
        await deliver(hub, badly(scene.told, Random(partitions)))
        for period in MONTHS:
            answer = await post(hub, f"/v1/evaluations/{period}/publish")
            assert answer["digest"] == scene.digests[period], period


async def test_an_interrupted_rebuild_goes_on_where_it_stopped(
    scene: Scene, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PIECE", 100)
    monkeypatch.setattr(feed, "PAGE", 100)

    class Enough(Exception):
        pass

    async with Harness.fresh(server_url, "evaluate") as other:
        own = publisher(other)
        own.feed = FileFeed(scene.journal)
        reached: list[int] = []
        for _ in range(100):
            calls = 0

            def progress(at: int, _of: int) -> None:
                nonlocal calls
                reached.append(at)
                calls += 1
                if calls == 2:
                    raise Enough

            try:
                answer = await own.rebuild(MONTHS[-1], progress)
                break
            except Enough:
                continue
        assert answer["identical"]
        assert len(reached) > 3
        assert reached == sorted(set(reached)), "nothing is counted twice"


async def test_a_changed_journal_or_snapshot_is_seen(scene: Scene, server_url: str, tmp_path: Path) -> None:
    lines = scene.journal.read_bytes().splitlines()
    place = next(n for n, line in enumerate(lines) if b'"feedback.closed"' in line and b'"solved":true' in line)
    lines[place] = lines[place].replace(b'"solved":true', b'"solved":false')
    changed = tmp_path / "changed.ndjson"
    changed.write_bytes(b"\n".join(lines))
    async with Harness.fresh(server_url, "evaluate") as other:
        own = publisher(other)
        own.feed = FileFeed(changed)
        assert (await own.rebuild(MONTHS[-1], lambda *_: None))["changed"] == [MONTHS[0]]
        assert not (await own.rebuild(MONTHS[0], lambda *_: None))["identical"]
        assert (await own.reconcile())["publications_changed"] == 0
        await other.query("UPDATE evaluate.publications SET body = body || ' '")
        assert (await own.reconcile())["publications_changed"] == len(MONTHS)


async def test_late_facts_are_stated_in_the_next_month_and_change_no_published_one(server_url: str) -> None:
    async with journalling(server_url) as hub:
        world = World(seed=5, cases=120, months=("2026-08", "2026-09"), units=3)
        told = list(world.events())
        await deliver(hub, told)
        first = await post(hub, "/v1/evaluations/2026-08/publish")
        before = await snapshot(hub, "2026-08")
        after: Feedback = next(
            one.event.after
            for one in told
            if isinstance(one.event, FeedbackClosed)
            and one.event.after.answers
            and f"{one.time + timedelta(hours=8):%Y-%m}" == "2026-08"
            and not any(o.key == one.key and isinstance(o.event, FeedbackExclusionDecided) for o in told)
        )
        granted = FeedbackExclusionDecided(
            actor="user:centre",
            exclusion_id="e",
            granted=True,
            after=msgspec.structs.replace(after, exclusion="granted"),
        )
        known = max(one.sequence for one in told if one.key == after.appeal_id and one.event.topic == granted.topic)
        await hub.emit(granted, key=after.appeal_id, sequence=known + 1)
        await hub.settle()
        assert await snapshot(hub, "2026-08") == before
        assert (await post(hub, "/v1/evaluations/2026-08/publish")) == first | {"repeated": True}
        second = await post(hub, "/v1/evaluations/2026-09/publish")
        corrections = orjson.loads(await snapshot(hub, "2026-09"))["corrections"]
        [correction] = corrections
        assert (correction["period"], correction["id"]) == ("2026-08", after.unit)
        assert correction["after"]["excluded"] == correction["before"]["excluded"] + 1
        assert correction["after"]["asked"] == correction["before"]["asked"] - 1
        assert correction["score_before"] != correction["score_after"]
        assert await snapshot(hub, "2026-08") == before
        hub.clock.set(datetime(2026, 12, 2, tzinfo=UTC))
        await post(hub, "/v1/evaluations/2026-10/publish")
        assert orjson.loads(await snapshot(hub, "2026-10"))["corrections"] == [], "stated once"
        await hub.settle()
        for period, digest in (("2026-08", first["digest"]), ("2026-09", second["digest"])):
            answer = await post(hub, f"/v1/evaluations/{period}/rebuild")
            assert (answer["identical"], answer["digest"]) == (True, digest)
        late = await post(hub, "/v1/evaluations/2026-07/publish", status=409)
        assert late["code"] == "later_published"


async def test_what_cannot_be_published_is_refused(scene: Scene) -> None:
    assert (await post(scene.hub, "/v1/evaluations/2026-11/publish", status=409))["code"] == "period_not_over"
    assert (await post(scene.hub, "/v1/evaluations/2026-07/rebuild", status=404))["code"] == "not_found"
    assert (await post(scene.hub, "/v1/evaluations/0000-07/publish", status=422))["code"] == "invalid"
    handler = scene.hub.token("handler", units=["460100-u001"])
    for path in ("publish", "rebuild"):
        answer = await scene.hub.http.post(f"/v1/evaluations/2026-10/{path}", json={}, headers=handler)
        assert answer.status_code == 403
    limited = scene.hub.token("auditor", units=["460100-u001"])
    assert (await scene.hub.http.get("/v1/evaluations/2026-10/snapshot", headers=limited)).status_code == 403


async def test_two_who_publish_at_once_publish_once(server_url: str) -> None:
    async with journalling(server_url) as hub:
        await deliver(hub, World(seed=3, cases=40, months=("2026-10",), units=3).events())
        answers = await asyncio.gather(
            *(hub.http.post("/v1/evaluations/2026-10/publish", json={}, headers=hub.admin) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["digest"] for answer in answers}) == 1
        await hub.settle()
        assert len(await hub.events("evaluate.evaluations.v1")) == 1


async def test_without_the_journal_nothing_is_published(server_url: str) -> None:
    async with Harness.fresh(server_url, "evaluate") as hub:  # the harness has no server behind its base URL
        hub.clock.set(datetime(2026, 11, 2, tzinfo=UTC))
        publisher(hub).feed.client.base_url = "http://127.0.0.1:9"  # type: ignore[attr-defined]
        answer = await hub.http.post("/v1/evaluations/2026-10/publish", json={}, headers=hub.admin)
        assert (answer.status_code, answer.json()["code"]) == (503, "journal_away")
        assert answer.headers["retry-after"]


async def test_every_number_opens_the_cases_behind_it(scene: Scene) -> None:
    shown = (await scene.hub.http.get("/v1/evaluations/2026-10?limit=200", headers=scene.hub.admin)).json()["items"]
    item = max(shown, key=lambda one: one["counts"]["closed"])
    for count, number in item["counts"].items():
        path = f"/v1/evaluations/2026-10/cases?unit={item['id']}&count={count}&limit=7"
        found: list[tuple[str, Any, Any]] = []
        after = ""
        while True:
            page = (
                await scene.hub.http.get(f"{path}&after={after}" if after else path, headers=scene.hub.admin)
            ).json()
            found += [(row["work_order_id"], row["appeal_id"], row["place"]) for row in page["items"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert len(found) == len(set(found)) == number, count
    stranger = scene.hub.token("handler", units=["460100-u999"])
    answer = await scene.hub.http.get(f"/v1/evaluations/2026-10/cases?unit={item['id']}", headers=stranger)
    assert answer.status_code == 404
    answer = await scene.hub.http.get(
        f"/v1/evaluations/2026-10/cases?unit={item['id']}&count=__class__", headers=scene.hub.admin
    )
    assert answer.status_code == 422
