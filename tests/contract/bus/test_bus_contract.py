"""One suite for both transports: what a service may rely on, whatever carries the events.

A small counting service stands for any. Everything is real: PostgreSQL, the log, workers and relays.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.bus.records import Record
from shared.bus.timers import Timers
from shared.clock import ManualClock
from shared.errors import Poison, Transient
from shared.events.catalog.appeals import AppealReceived
from shared.events.event import Message
from shared.outbox.relay import Relay
from shared.outbox.uow import Timer, Uow
from shared.service.dead_letter_desk import DeadLetterDesk
from shared.transport.kafka import KafkaTransport
from tests.contract.bus.counting import PARTITIONS, Counting, fact, running


async def test_every_fact_takes_effect_once_and_in_order_despite_duplicates_and_disorder(counting: Counting) -> None:
    chance = random.Random(7)
    keys = [f"key-{number}" for number in range(40)]
    records = [fact(key, sequence, counting.topic) for key in keys for sequence in range(1, 16)]
    deliveries = [record for record in records for _ in range(chance.randint(1, 3))]
    chance.shuffle(deliveries)
    async with running(counting):
        for start in range(0, len(deliveries), 100):
            await counting.transport.publish(deliveries[start : start + 100])
        await counting.until(len(records))
        await asyncio.sleep(0.3)
        assert await counting.seen() == {key: list(range(1, 16)) for key in keys}


async def test_a_crash_at_any_moment_loses_nothing_and_doubles_nothing(counting: Counting) -> None:
    chance = random.Random(11)
    keys = [f"key-{number}" for number in range(30)]
    await counting.transport.publish([fact(key, sequence, counting.topic) for sequence in range(1, 21) for key in keys])
    for _ in range(6):
        counting.start()
        await asyncio.sleep(chance.uniform(0.0, 0.25))
        await counting.crash()
    async with running(counting):
        await counting.until(600)
        await asyncio.sleep(0.3)
    assert await counting.seen() == {key: list(range(1, 21)) for key in keys}


async def test_members_that_join_and_leave_under_load_change_nothing(counting: Counting) -> None:
    keys = [f"key-{number}" for number in range(30)]
    sequences = dict.fromkeys(keys, 0)
    first = counting.start(workers=1)
    tasks = list(counting.tasks)
    for round_no in range(4):
        records = []
        for key in keys:
            for _ in range(3):
                sequences[key] += 1
                records.append(fact(key, sequences[key], counting.topic))
        await counting.transport.publish(records)
        if round_no == 1:
            counting.start(workers=2)
        if round_no == 2:
            for task in tasks:
                task.cancel()
        await asyncio.sleep(0.4)
    await counting.until(sum(sequences.values()), 60)
    await asyncio.sleep(0.3)
    assert await counting.seen() == {key: list(range(1, count + 1)) for key, count in sequences.items()}
    assert first


async def test_poison_becomes_a_dead_letter_and_later_facts_of_its_key_wait(counting: Counting) -> None:
    def trouble(message: Message[Any]) -> None:
        if message.key == "bad" and message.sequence == 2:
            raise Poison("cannot ever work")

    counting.trouble = trouble
    async with running(counting) as workers:
        await counting.transport.publish(
            [fact(key, sequence, counting.topic) for sequence in range(1, 5) for key in ("good", "bad", "other")]
        )
        await counting.until(4 + 4 + 1)
        await asyncio.sleep(0.5)
        assert await counting.seen() == {"good": [1, 2, 3, 4], "other": [1, 2, 3, 4], "bad": [1]}
        async with counting.database.transaction() as uow:
            letters = await DeadLetterDesk(workers[0]).list(uow.pg, status=None, after=0, limit=10)
        assert [letter["status"] for letter in letters] == ["parked", "waiting", "waiting"]
        assert "cannot ever work" in letters[0]["reason"]
        counting.trouble = None
        assert await DeadLetterDesk(workers[0]).replay(letters[0]["id"]) == {"replayed": 3, "left": 0}
        assert (await counting.seen())["bad"] == [1, 2, 3, 4]
        await counting.transport.publish([fact("bad", 5, counting.topic)])
        await counting.until(13)
        assert (await counting.seen())["bad"] == [1, 2, 3, 4, 5]


async def test_undecodable_bytes_never_stick_a_partition(counting: Counting) -> None:
    async with running(counting):
        hostile = [
            Record(counting.topic, "k", (), b""),
            Record(counting.topic, "k2", (("ce_id", b"\xff\xfe"),), b"\x00"),
            Record(counting.topic, "k3", fact("k3", 1, counting.topic).headers, b'{"actor":' + b"[" * 5000),
            Record(counting.topic, "k4", fact("k4", 1, counting.topic).headers, b"\x80not json"),
        ]
        hostile.append(Record(counting.topic, "k5", (("x\x00", b"a header's name"),), b"{}"))
        if isinstance(counting.transport, KafkaTransport):  # others may write there, keys of ours hold no NUL
            hostile.append(Record(counting.topic, "k\x006", (), b"{}"))
        await counting.transport.publish([*hostile, fact("fine", 1, counting.topic)])
        await counting.until(1)
        await asyncio.sleep(0.5)
        assert await counting.seen() == {"fine": [1]}
        async with counting.database.transaction() as uow:
            found = await uow.pg.fetchval("SELECT count(*) FROM dead_letters WHERE status = 'parked'")
        assert found == len(hostile)


@pytest.mark.parametrize("order", ["facts", "latest"])
async def test_types_of_a_later_release_are_passed_over_and_hold_nobody_up(counting: Counting, order: str) -> None:
    counting.order = order
    known = [fact("k", sequence, counting.topic) for sequence in (1, 2, 3)]
    headers = tuple(
        (name, b"appeal.from-the-future" if name == "ce_type" else value) for name, value in known[1].headers
    )
    future = Record(counting.topic, "k", headers, b'{"a body": ["of another shape"]}')
    async with running(counting):
        await counting.transport.publish([known[0], future, known[2]])
        await counting.until(2)
    assert await counting.seen() == {"k": [1, 3]}
    async with counting.database.read() as pg:
        assert await pg.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_transient_trouble_is_waited_out_and_never_dead_letters(counting: Counting) -> None:
    chance = random.Random(3)
    failed = 0

    def trouble(_message: Message[Any]) -> None:
        nonlocal failed
        if chance.random() < 0.02:
            failed += 1
            raise Transient("the database hiccups")

    counting.trouble = trouble
    keys = [f"key-{number}" for number in range(20)]
    async with running(counting):
        await counting.transport.publish([fact(key, n, counting.topic) for n in range(1, 11) for key in keys])
        await counting.until(200, 60)
    assert failed > 0
    assert await counting.seen() == {key: list(range(1, 11)) for key in keys}
    async with counting.database.transaction() as uow:
        assert await uow.pg.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_one_key_that_always_has_transient_trouble_holds_only_its_partition(counting: Counting) -> None:
    def trouble(message: Message[Any]) -> None:
        if message.key == "key-0":
            raise Transient("for ever")

    counting.trouble = trouble
    keys = [f"key-{number}" for number in range(20)]
    async with running(counting):
        await counting.transport.publish([fact(key, 1, counting.topic) for key in keys])
        async with asyncio.timeout(20):
            while len(await counting.seen()) < 10:  # three of four partitions flow
                await asyncio.sleep(0.1)
        counting.trouble = None
        await counting.until(20)
    assert await counting.seen() == {key: [1] for key in keys}


async def test_what_a_handler_emits_leaves_once_its_transaction_commits(counting: Counting) -> None:
    attempts = 0

    def trouble(message: Message[Any]) -> None:
        nonlocal attempts
        if message.key == "key-1" and attempts < 2:
            attempts += 1
            raise RuntimeError("fails twice")

    counting.trouble = trouble
    out = AppealReceived.topic
    await counting.transport.ensure_topics({out: PARTITIONS})
    before = sum(end - first for first, end in (await counting.transport.ends([out])).values())
    async with running(counting, relay=True):
        await counting.transport.publish([fact(f"key-{number}", 1, counting.topic) for number in range(10)])
        await counting.until(10)
        async with asyncio.timeout(10):
            while True:
                after = sum(end - first for first, end in (await counting.transport.ends([out])).values())
                if after - before >= 10:
                    break
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert after - before == 10
        async with counting.database.transaction() as uow:
            assert await uow.pg.fetchval("SELECT count(*) FROM outbox") == 0
    assert attempts == 2


async def test_two_relays_send_each_row_once_and_keep_the_order_of_a_key(counting: Counting) -> None:
    async def write(key: str) -> None:
        for sequence in range(1, 11):
            async with counting.database.transaction() as uow:
                uow.publish(fact(key, sequence, counting.topic))

    relays = [asyncio.create_task(Relay(counting.database, counting.transport).run()) for _ in range(2)]
    counting.tasks += relays
    async with running(counting):
        await asyncio.gather(*(write(f"key-{number}") for number in range(8)))
        await counting.until(80)
    assert await counting.seen() == {f"key-{number}": list(range(1, 11)) for number in range(8)}
    ends = await counting.transport.ends([counting.topic])
    assert sum(upcoming - first for first, upcoming in ends.values()) == 80


async def test_timer_fires_only_after_the_input_was_read_up_to_its_instant(counting: Counting) -> None:
    fired: list[str] = []

    async def on_timer(timers: Sequence[Timer], uow: Uow) -> None:
        rows = await uow.pg.fetch("SELECT key FROM seen")
        stopped = {row["key"] for row in rows}
        fired.extend(timer.key for timer in timers if timer.key not in stopped)

    clock = counting.database.clock
    assert isinstance(clock, ManualClock)
    now = clock.now()
    async with counting.database.transaction() as uow:
        uow.arm(Timer("due", "stopped-in-time", now + timedelta(minutes=5)))
        uow.arm(Timer("due", "never-stopped", now + timedelta(minutes=5)))
        uow.arm(Timer("due", "later", now + timedelta(minutes=50)))
    timers = Timers(counting.database, counting.transport, [counting.topic], {"due": on_timer})
    await counting.transport.publish([fact("stopped-in-time", 1, counting.topic)])
    clock.advance(600)
    assert await timers.fire_due() == 0  # the stop is in the log and not read yet
    async with running(counting):
        await counting.until(1)
        async with asyncio.timeout(10):
            while not await timers.fire_due():
                await asyncio.sleep(0.02)
        assert await timers.fire_due() == 0
    assert fired == ["never-stopped"]


async def test_timers_are_fired_once_by_several_workers(counting: Counting) -> None:
    async def on_timer(timers: Sequence[Timer], uow: Uow) -> None:
        await uow.pg.executemany("INSERT INTO seen VALUES ($1, 1, 0)", [(timer.key,) for timer in timers])
        await asyncio.sleep(0.01)

    clock = counting.database.clock
    assert isinstance(clock, ManualClock)
    async with counting.database.transaction() as uow:
        for number in range(1500):
            uow.arm(Timer("due", f"timer-{number}", clock.now() + timedelta(seconds=number % 60)))
    clock.advance(120)
    replicas = [Timers(counting.database, counting.transport, [], {"due": on_timer}) for _ in range(3)]
    tasks = [asyncio.create_task(replica.run()) for replica in replicas]
    await asyncio.sleep(0.05)
    tasks[0].cancel()
    try:
        await counting.until(1500)
        await asyncio.sleep(0.2)
        found = await counting.seen()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(found) == 1500
    assert all(sequences == [1] for sequences in found.values())
