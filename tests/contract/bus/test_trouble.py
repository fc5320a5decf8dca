"""What goes wrong around a worker, a relay or the timers, and must not stop them for ever."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.bus import timers as timers_module
from shared.bus import worker as worker_module
from shared.bus.records import Consumer, Partition, Record, partition_of
from shared.bus.timers import Timers
from shared.clock import ManualClock
from shared.db import database as database_module
from shared.db.database import Database
from shared.errors import Poison, Transient
from shared.events.event import Message
from shared.outbox.uow import Timer, Uow
from shared.transport.embedded import EmbeddedTransport, member
from tests.contract.bus.counting import PARTITIONS, Counting, fact, running


def key_in(number: int) -> str:
    """A key that falls into partition `number`."""
    return next(key for key in (f"key-{n}" for n in range(1000)) if partition_of(key, PARTITIONS) == number)


async def test_a_paused_partition_that_is_taken_away_and_given_back_flows_again(counting: Counting) -> None:
    def trouble(_message: Message[Any]) -> None:
        raise Transient("for a while")

    counting.trouble = trouble
    keys = [key_in(number) for number in range(PARTITIONS)]
    await counting.transport.publish([fact(key, 1, counting.topic) for key in keys])
    async with running(counting):
        while counting.calls < 8:
            await asyncio.sleep(0.05)
        second = asyncio.create_task(counting.worker().run())
        await asyncio.sleep(2.5)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        counting.trouble = None
        await counting.until(4, 40)
    assert await counting.seen() == {key: [1] for key in keys}


async def test_ids_of_a_day_that_had_no_partition_yet_do_not_stop_the_worker(local: Counting) -> None:
    local.order = "latest"
    early = fact("k", 1, local.topic)
    async with local.database.transaction() as uow:
        await uow.pg.execute(
            "INSERT INTO inbox_events SELECT current_date + n, gen_random_uuid() FROM generate_series(-1, 3) n"
        )
    async with running(local):
        await local.transport.publish([early, early])
        await local.until(1)
        await asyncio.sleep(0.2)
    assert await local.seen() == {"k": [1]}
    async with local.database.read() as pg:
        assert await pg.fetchval("SELECT count(*) FROM inbox_events_other") == 1  # the day furthest ahead


async def test_an_id_in_capitals_is_the_same_id(local: Counting) -> None:
    local.order = "latest"
    now = f"{int(datetime.now(UTC).timestamp() * 1000):012x}".upper()
    loud = fact("k", 1, local.topic, event_id=f"{now[:8]}-{now[8:]}-7CCC-8DDD-EEEEFFFF0000")
    async with running(local):
        await local.transport.publish([loud, loud])
        await local.until(1)
        await local.transport.publish([loud])
        await asyncio.sleep(0.3)
    assert await local.seen() == {"k": [1]}


async def test_a_consumer_beyond_mending_is_replaced(local: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "BACK_OFF_S", (0.01, 0.02))
    made: list[Consumer] = []
    original = local.transport.consumer

    def consumer(*arguments: Any, **options: Any) -> Consumer:
        made.append(original(*arguments, **options))
        if len(made) == 1:
            monkeypatch.setattr(made[0], "poll", broken)
        return made[-1]

    async def broken(*_: Any) -> Any:
        raise Transient("the coordinator is gone")

    monkeypatch.setattr(local.transport, "consumer", consumer)
    async with running(local):
        await local.transport.publish([fact("k", 1, local.topic)])
        await local.until(1)


async def test_a_partition_that_lags_is_read_while_others_are_busy(local: Counting) -> None:
    quiet, busy = key_in(0), key_in(1)
    elsewhere = EmbeddedTransport(local.database.url)  # another process
    await elsewhere.start()
    stop = asyncio.Event()
    handled = 0

    def count(_message: Message[Any]) -> None:
        nonlocal handled
        handled += 1

    local.trouble = count

    async def flood() -> None:
        sequence = 0
        while not stop.is_set():
            if sequence - handled < 400:  # always something to read in memory
                await local.transport.publish([fact(busy, sequence + n, local.topic) for n in range(1, 101)])
                sequence += 100
            await asyncio.sleep(0.001)

    async with running(local):
        flooding = asyncio.create_task(flood())
        await local.until(300)
        await elsewhere.publish([fact(quiet, 1, local.topic)])
        try:
            async with asyncio.timeout(20):  # passed over, it would wait as long as the flood lasts
                while quiet not in await local.seen():
                    await asyncio.sleep(0.1)
        finally:
            stop.set()
            await flooding
            await elsewhere.stop()


async def test_a_member_that_could_not_join_does_not_count_as_one(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = local.transport.consumer("counting", [local.topic])
    original = local.transport.ends

    async def away(_topics: Any) -> Any:
        raise Transient("just now")

    monkeypatch.setattr(local.transport, "ends", away)
    with suppress(Transient):
        await failing.start()
    monkeypatch.setattr(local.transport, "ends", original)
    second = local.transport.consumer("counting", [local.topic])
    await second.start()
    assert len(second.assigned()) == PARTITIONS
    await second.stop()


async def test_a_member_that_hangs_loses_its_partitions(local: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "STALLED_S", 1)
    monkeypatch.setattr(member, "REBALANCE_S", 0.2)
    hanging = member.EmbeddedConsumer(local.transport, "counting", frozenset([local.topic]))  # type: ignore[arg-type]
    await hanging._join()
    await hanging._balance()  # and never again
    second = local.transport.consumer("counting", [local.topic])
    await second.start()
    async with asyncio.timeout(10):
        while len(second.assigned()) < PARTITIONS:
            await asyncio.sleep(0.1)
    await second.stop()
    await hanging.stop()


async def test_a_process_that_hangs_in_a_transaction_lets_go_of_its_rows(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STALLED_S", 1)
    hanging = Database(local.database.url, "counting", ManualClock(), platform="460100")
    row = "SELECT next_offset FROM counting.inbox_offsets FOR UPDATE"
    async with local.database.transaction() as uow:
        await uow.pg.execute("INSERT INTO inbox_offsets VALUES ($1, 0, 0)", local.topic)

    async def hang() -> None:
        async with hanging.transaction() as uow:
            await uow.pg.execute(row)
            async with asyncio.timeout(10), local.database.transaction() as other:
                await other.pg.execute(row)  # it waits for nobody for ever

    with pytest.raises(Transient, match="database"):
        await hang()
    await hanging.close()


async def test_a_partition_that_waits_says_so_and_why_until_it_flows(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BACK_OFF_S", (0.01, 0.02))

    def trouble(message: Message[Any]) -> None:
        if message.key == stuck:
            raise Transient("the registry is away")

    stuck, free = key_in(0), key_in(1)
    local.trouble = trouble
    async with running(local) as (worker,):
        await local.transport.publish([fact(key, 1, local.topic) for key in (stuck, free)])
        async with asyncio.timeout(20):
            while not worker.waits:
                await asyncio.sleep(0.02)
        assert list(worker.waits.values()) == [f"{local.topic}/0 waits: the registry is away"]
        local.trouble = None
        await local.until(2)
        async with asyncio.timeout(5):
            while worker.waits:
                await asyncio.sleep(0.02)


async def arm(service: Counting, *keys: str) -> ManualClock:
    """Timers a minute apart, all of them due."""
    clock = service.database.clock
    assert isinstance(clock, ManualClock)
    async with service.database.transaction() as uow:
        for number, key in enumerate(keys):
            uow.arm(Timer("due", key, clock.now() + timedelta(minutes=number)))
    clock.advance(3600)
    return clock


async def test_only_the_timer_that_fails_is_put_off(local: Counting) -> None:
    fired: list[str] = []

    async def on_timer(timers: Sequence[Timer], _uow: Uow) -> None:
        if any(timer.key == "bad" for timer in timers):
            raise ValueError("fails")
        fired.extend(timer.key for timer in timers)

    await arm(local, "claimed elsewhere", "bad", "good")
    timers = Timers(local.database, local.transport, [], {"due": on_timer})
    async with local.database.transaction() as other:
        await other.pg.execute("SELECT 1 FROM timers WHERE key = 'claimed elsewhere' FOR UPDATE")
        async with asyncio.timeout(5):
            await timers.fire_due()
    assert fired == ["good"]
    async with local.database.read() as pg:
        left = await pg.fetch("SELECT key, retry_at IS NOT NULL AS put_off FROM timers ORDER BY due_at")
    assert [(row["key"], row["put_off"]) for row in left] == [("claimed elsewhere", False), ("bad", True)]


async def test_timers_do_not_wait_for_a_log_that_was_made_anew(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers_module, "ASK_AGAIN_S", 0.0)
    fired: list[str] = []

    async def on_timer(timers: Sequence[Timer], _uow: Uow) -> None:
        fired.extend(timer.key for timer in timers)

    await local.transport.publish([fact("k", sequence, local.topic) for sequence in range(1, 10)])
    await arm(local, "one")
    timers = Timers(local.database, local.transport, [local.topic], {"due": on_timer})
    assert await timers.fire_due() == 0  # nine records are not read yet
    connection: Any = await asyncpg.connect(local.database.url)
    await connection.execute("DELETE FROM bus.log; UPDATE bus.partitions SET next_offset = 0")
    await connection.close()
    async with asyncio.timeout(5):
        while not fired:
            await timers.fire_due()
            await asyncio.sleep(0.02)


async def test_too_many_dead_letters_in_a_row_stop_the_worker_and_the_rest_stays_unread(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "DEAD_IN_A_ROW", 3)

    def trouble(_message: Message[Any]) -> None:
        raise Poison("a column is missing")

    local.trouble = trouble
    async with running(local) as (worker,):
        await local.transport.publish([fact(f"key-{number}", 1, local.topic) for number in range(30)])
        async with asyncio.timeout(20):
            while "dead letters in a row" not in (worker.stopped_because or ""):
                await asyncio.sleep(0.05)
    async with local.database.read() as pg:
        assert await pg.fetchval("SELECT count(*) FROM dead_letters") == 3
    local.trouble = None
    async with running(local):  # mended and started again
        await local.until(27)


async def test_a_partition_whose_last_owner_is_still_at_work_is_not_read_from_its_start(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.order = "latest"
    async with running(local):
        await local.transport.publish([fact("k", n, local.topic, event_id=f"foreign-{n}") for n in range(1, 6)])
        await local.until(5)
    original = local.transport.ends
    asked = asyncio.Event()

    async def ends(topics: Any) -> Any:
        found = await original(topics)
        monkeypatch.setattr(local.transport, "ends", original)
        async with local.database.transaction() as uow:  # the last owner handles a record that comes just now
            await uow.pg.execute("UPDATE inbox_offsets SET next_offset = next_offset + 1 WHERE next_offset > 0")
        await local.transport.publish([fact("k", 6, local.topic)])
        asked.set()
        return found

    consumer = local.transport.consumer("counting", [local.topic])
    await consumer.start()  # has asked for its share already
    monkeypatch.setattr(local.transport, "consumer", lambda *_, **__: consumer)
    monkeypatch.setattr(consumer, "start", lambda: asyncio.sleep(0))
    monkeypatch.setattr(local.transport, "ends", ends)
    async with running(local):
        await asked.wait()
        await local.transport.publish([fact("k", 7, local.topic)])
        await local.until(6)
        await asyncio.sleep(0.3)
    assert await local.seen() == {"k": [1, 2, 3, 4, 5, 7]}


async def test_transient_trouble_is_waited_out_however_often_it_comes(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BACK_OFF_S", (0.01, 0.02))
    local.order = "latest"
    failed = 0

    def trouble(_message: Message[Any]) -> None:
        nonlocal failed
        if failed < 4 * worker_module.ATTEMPTS:
            failed += 1
            raise Transient("not yet")

    local.trouble = trouble
    async with running(local):
        await local.transport.publish([fact("k", n, local.topic) for n in (1, 2, 3)])
        await local.until(3)
    assert await local.seen() == {"k": [1, 2, 3]}
    async with local.database.read() as pg:
        assert await pg.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_the_log_forgets_what_is_older_than_its_retention_and_readers_go_on(
    local: Counting,
) -> None:
    topic = "intake.appeals.v1"
    await local.transport.ensure_topics({topic: 1})
    await local.transport.publish([Record(topic, f"key-{number}", (), b"{}") for number in range(7)])
    transport = local.transport
    assert isinstance(transport, EmbeddedTransport)
    await transport.fetch(
        "UPDATE bus.log SET appended_at = now() - interval '15 days' WHERE topic = $1 AND log_offset < 4", topic
    )
    assert await transport.trim() == 4
    assert await transport.trim() == 0
    assert await transport.ends([topic]) == {Partition(topic, 0): (4, 7)}
