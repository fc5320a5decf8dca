"""The relay: what was committed leaves, whatever happens on the way."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.bus.records import Record, Rejected
from shared.errors import Transient
from shared.outbox.relay import Relay
from tests.contract.bus.counting import Counting, fact, running


async def write(service: Counting, *records: Record) -> None:
    async with service.database.transaction() as uow:
        for record in records:
            uow.publish(record)


async def test_rows_stay_until_the_bus_has_them(local: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    original = local.transport.publish
    calls = 0

    async def flaky(records: Sequence[Record]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Transient("the broker is away")
        if calls == 2:
            await original(records)
            raise Transient("it took them, and its answer was lost")
        await original(records)

    monkeypatch.setattr(local.transport, "publish", flaky)
    await write(local, *(fact("k", sequence, local.topic) for sequence in range(1, 6)))
    local.order = "latest"
    local.tasks.append(asyncio.create_task(Relay(local.database, local.transport).run()))
    async with running(local):
        await local.until(5)
        await asyncio.sleep(0.3)
    assert calls >= 3
    assert await local.seen() == {"k": [1, 2, 3, 4, 5]}


async def test_a_relay_that_stops_while_it_sends_loses_nothing(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = local.transport.publish
    sending = asyncio.Event()

    async def endless(_records: Sequence[Record]) -> None:
        sending.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(local.transport, "publish", endless)
    await write(local, fact("k", 1, local.topic))
    first = asyncio.create_task(Relay(local.database, local.transport).run())
    await asyncio.wait_for(sending.wait(), 5)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    monkeypatch.setattr(local.transport, "publish", original)
    local.tasks.append(asyncio.create_task(Relay(local.database, local.transport).run()))
    async with running(local):
        await local.until(1)


async def test_a_bus_that_hangs_is_told_before_the_send_gives_up(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, answer = local.transport.publish, asyncio.Event()

    async def hanging(records: Sequence[Record]) -> None:
        await answer.wait()
        await original(records)

    monkeypatch.setattr(local.transport, "publish", hanging)
    monkeypatch.setattr("shared.outbox.relay.SLOW_S", 0.1)
    await write(local, fact("k", 1, local.topic))
    relay = Relay(local.database, local.transport)
    local.tasks.append(asyncio.create_task(relay.run()))
    async with asyncio.timeout(10):
        while relay.trouble is None:
            await asyncio.sleep(0.02)
    assert "has not answered" in relay.trouble
    answer.set()
    async with running(local):
        await local.until(1)
    assert relay.trouble is None


async def test_a_row_that_commits_late_leaves_although_higher_ids_went_before(local: Counting) -> None:
    local.tasks.append(asyncio.create_task(Relay(local.database, local.transport).run()))
    async with running(local):
        async with local.database.transaction() as late:
            late.publish(fact("late", 1, local.topic))
            await late.flush()
            await write(local, fact("early", 1, local.topic))
            await local.until(1)
        await local.until(2)
    assert await local.seen() == {"early": [1], "late": [1]}


async def test_a_row_that_the_bus_refuses_holds_only_its_key(local: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    original = local.transport.publish

    async def choosy(records: Sequence[Record]) -> None:
        for record in records:
            if record.key == "too-large" and dict(record.headers)["ce_sequence"] == b"1":
                raise Rejected(record, "too large")
        await original(records)

    monkeypatch.setattr(local.transport, "publish", choosy)
    await write(local, *(fact(key, n, local.topic) for n in (1, 2) for key in ("a", "too-large", "b")))
    local.tasks.append(asyncio.create_task(Relay(local.database, local.transport).run()))
    async with running(local):
        await local.until(4)
        await write(local, fact("too-large", 3, local.topic), fact("a", 3, local.topic))
        await local.until(5)
        await asyncio.sleep(0.3)
    assert await local.seen() == {"a": [1, 2, 3], "b": [1, 2]}
    async with local.database.read() as pg:
        rows: list[Any] = await pg.fetch("SELECT key, parked FROM outbox ORDER BY id")
    assert [(row["key"], row["parked"]) for row in rows] == [
        ("too-large", "too large"),
        ("too-large", None),
        ("too-large", None),
    ]


async def test_a_relay_whose_machine_is_gone_makes_room(local: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.database.STALLED_S", 1)
    gone = await local.database.dedicated()
    assert await gone.fetchval("SELECT pg_try_advisory_lock(hashtext('sushu-relay'), hashtext('counting'))")
    await write(local, fact("k", 1, local.topic))
    local.tasks.append(asyncio.create_task(Relay(local.database, local.transport).run()))
    async with running(local):
        await local.until(1)
    gone.terminate()
