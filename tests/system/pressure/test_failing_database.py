"""One statement in ten fails, and connections are cut all the time: who is told yes is stored, once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from shared.testing.harness import Harness

APPEALS = 60
SHARE = 0.1


def fail_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the statements of services, and of the embedded log, ends in a serialisation failure."""
    chance = random.Random(11)
    original = asyncpg.Connection._execute

    async def flaky(self: Any, *arguments: Any, **options: Any) -> Any:
        name = str((self._params.server_settings or {}).get("application_name", ""))
        if name.startswith("sushu-") and chance.random() < SHARE:
            raise asyncpg.SerializationError("could not serialize access (on purpose)")
        return await original(self, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "_execute", flaky)


@asynccontextmanager
async def cutting(hub: Harness) -> AsyncIterator[None]:
    """A connection of some service ends, five times a second."""

    async def cut() -> None:
        while True:
            await asyncio.sleep(0.2)
            await hub.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'sushu-%' ORDER BY random() LIMIT 1"
            )

    task = asyncio.create_task(cut())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def received(hub: Harness, number: int) -> str:
    """The id of an appeal, asked for until it is stored; each refusal must say so and when to come again."""
    body = {"channel": "web", "text": f"第{number}盏路灯不亮", "location": {"region_code": "460106"}}
    headers = hub.admin | {"Idempotency-Key": f"appeal-{number}"}
    async with asyncio.timeout(60):
        while True:
            answer = await hub.http.post("/v1/appeals", json=body, headers=headers)
            if answer.status_code in (200, 201):
                return str(answer.json()["id"])
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_what_is_accepted_while_the_database_fails_is_kept_once(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Harness.fresh(server_url, "intake", "journal") as hub:
        with monkeypatch.context() as failing:
            fail_now_and_then(failing)
            async with cutting(hub):
                ids = []
                for first in range(0, APPEALS, 10):
                    ids += await asyncio.gather(*(received(hub, first + n) for n in range(10)))
        await hub.settle(60)
        told = [message.key for message in await hub.events("intake.appeals.v1") if message.sequence == 1]
        kept = await hub.query("SELECT subject, count(*) AS times FROM journal.events WHERE sequence = 1 GROUP BY 1")
        letters = await hub.query(
            "SELECT reason FROM journal.dead_letters UNION ALL SELECT reason FROM intake.dead_letters"
        )
        assert len(set(ids)) == APPEALS
        assert set(told) == set(ids)  # the log may hold one twice
        assert {row["subject"]: row["times"] for row in kept} == dict.fromkeys(ids, 1)
        assert letters == []
        async with asyncio.timeout(15):
            while await hub.runners["journal"].not_ready() or await hub.runners["intake"].not_ready():
                await asyncio.sleep(0.1)
