"""Facts and dead letters: whoever fails is the one who is parked, and whatever an operator does, the key goes on."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.bus import worker as worker_module
from shared.bus.records import Partition, Record
from shared.bus.timers import Timers
from shared.bus.worker import Worker
from shared.errors import Poison, Transient
from shared.events.event import Message
from shared.outbox.uow import Timer, Uow
from shared.service.dead_letter_desk import DeadLetterDesk
from tests.contract.bus.counting import Counting, fact, running


def refuses(*sequences: int) -> Callable[[Message[Any]], None]:
    def trouble(message: Message[Any]) -> None:
        if message.sequence in sequences:
            raise Poison(f"number {message.sequence} cannot work")

    return trouble


async def letters(service: Counting, worker: Worker) -> list[tuple[int, int, str, str]]:
    """(id, sequence, status, reason) by id."""
    async with service.database.read() as pg:
        rows = await pg.fetch("SELECT id, headers, status, reason FROM dead_letters ORDER BY id")
    return [
        (row["id"], int(dict(row["headers"])["ce_sequence"]), row["status"], row["reason"].split(":")[0])
        for row in rows
    ]


async def discard(service: Counting, worker: Worker, letter: int) -> None:
    async with service.database.transaction() as uow:
        topic, key = await DeadLetterDesk(worker).discard(uow, letter)
    await DeadLetterDesk(worker).follow(topic, key)


async def read_all(service: Counting) -> None:
    """Until the inbox is at the end of the log."""
    async with asyncio.timeout(20):
        while True:
            async with service.database.read() as pg:
                rows = await pg.fetch("SELECT topic, partition, next_offset FROM inbox_offsets")
            at = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            ends = await service.transport.ends([service.topic])
            if all(at.get(place, -1) >= upcoming for place, (_, upcoming) in ends.items()):
                return
            await asyncio.sleep(0.05)


async def test_the_fact_that_fails_is_parked_not_the_one_that_let_it_through(local: Counting) -> None:
    local.trouble = refuses(2)
    async with running(local) as (worker,):
        for sequence in (3, 2):
            await local.transport.publish([fact("k", sequence, local.topic)])
            await read_all(local)
        await local.transport.publish([fact("k", 1, local.topic)])
        await read_all(local)
        await asyncio.sleep(0.3)
        assert await local.seen() == {"k": [1]}
        assert [letter[1:] for letter in await letters(local, worker)] == [(2, "parked", "Poison")]
        await local.transport.publish([fact("k", 4, local.topic)])
        await read_all(local)
        local.trouble = None
        assert (await DeadLetterDesk(worker).replay((await letters(local, worker))[0][0]))["left"] == 0
        assert await local.seen() == {"k": [1, 2, 3, 4]}


async def test_later_facts_do_not_wait_for_a_discarded_one(local: Counting) -> None:
    local.trouble = refuses(2)
    async with running(local) as (worker,):
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (5, 1, 2, 3)])
        await read_all(local)
        parked = next(letter for letter in await letters(local, worker) if letter[2] == "parked")
        await discard(local, worker, parked[0])
        assert await local.seen() == {"k": [1, 3]}
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (4, 6)])
        await local.until(5)
        assert await local.seen() == {"k": [1, 3, 4, 5, 6]}


async def test_a_letter_discarded_before_its_turn_leaves_those_before_it_to_come(local: Counting) -> None:
    async with running(local) as (worker,):
        damaged = fact("k", 3, local.topic)
        await local.transport.publish(
            [
                fact("k", 1, local.topic),
                Record(damaged.topic, damaged.key, damaged.headers, b"no JSON"),
                fact("k", 4, local.topic),
            ]
        )
        await read_all(local)
        found = await letters(local, worker)
        assert [letter[1:3] for letter in found] == [(3, "parked"), (4, "waiting")]
        await discard(local, worker, found[0][0])
        assert await local.seen() == {"k": [1]}
        await local.transport.publish([fact("k", 2, local.topic)])
        await local.until(3)
        assert await local.seen() == {"k": [1, 2, 4]}


async def test_a_replay_that_fails_again_parks_the_letter_that_fails_with_its_reason(local: Counting) -> None:
    local.trouble = refuses(2)
    async with running(local) as (worker,):
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (1, 2, 3, 4)])
        await read_all(local)

        def other(message: Message[Any]) -> None:
            if message.sequence == 3:
                raise ValueError("another reason")

        local.trouble = other
        with pytest.raises(ValueError, match="another reason"):
            await DeadLetterDesk(worker).replay((await letters(local, worker))[0][0])
        assert [letter[1:] for letter in await letters(local, worker)] == [
            (2, "replayed", "Poison"),
            (3, "parked", "ValueError"),
            (4, "waiting", "waits behind a dead letter of its key"),
        ]
        local.trouble = None
        await DeadLetterDesk(worker).replay((await letters(local, worker))[1][0])
        assert await local.seen() == {"k": [1, 2, 3, 4]}


async def test_a_stop_between_two_released_facts_is_made_good_by_the_next_of_the_key(local: Counting) -> None:
    async with running(local):
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (1, 3)])
        await read_all(local)
        async with local.database.transaction() as uow:  # as if 2 had been handled alone just before the stop
            await uow.pg.execute("UPDATE inbox_sequences SET last_sequence = 2")
        await local.transport.publish([fact("k", 5, local.topic)])
        await local.until(2)
        await local.transport.publish([fact("k", 4, local.topic)])
        await local.until(4)
        assert await local.seen() == {"k": [1, 3, 4, 5]}


async def test_who_waited_for_another_reader_sees_the_letter_that_it_wrote(local: Counting) -> None:
    local.order = "latest"
    worker = local.worker()
    await local.transport.publish([fact("k", sequence, local.topic) for sequence in (1, 2)])
    async with running(local):
        await local.until(2)
    async with local.database.transaction() as uow:
        await uow.pg.execute("DELETE FROM inbox_events; DELETE FROM seen; UPDATE inbox_offsets SET next_offset = 0")
    consumer = local.transport.consumer("counting", [local.topic])
    await consumer.start()
    for place in consumer.assigned():
        consumer.seek(place, 0)
    records = await consumer.poll(10, 1)
    await consumer.stop()
    async with local.database.transaction() as uow:  # a reader that has lost the partition buries the first one
        await uow.pg.execute("UPDATE inbox_offsets SET next_offset = 1 WHERE partition = $1", records[0].partition[1])
        await worker.dead_letters.add(uow, records[:1], "cannot work", 1, "parked")
        waits = asyncio.create_task(worker._apply(records))
        await asyncio.sleep(0.3)
    await waits
    assert await local.seen() == {}
    assert [letter[2] for letter in await letters(local, worker)] == ["parked", "waiting"]


async def test_early_facts_are_let_through_although_a_passing_trouble_came_just_then(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BACK_OFF_S", (0.01, 0.1))
    told: list[int] = []

    def trouble(message: Message[Any]) -> None:
        told.append(message.sequence)
        if message.sequence == 3:
            raise Poison("cannot ever work")
        if told.count(2) == 2 and message.sequence == 2:  # the first time it came with 1 and 3, now it is let through
            raise Transient("just now")

    local.trouble = trouble
    async with running(local):
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (2, 3)])
        async with asyncio.timeout(10), local.database.read() as pg:
            while await pg.fetchval("SELECT count(*) FROM inbox_early") < 2:
                await asyncio.sleep(0.02)
        await local.transport.publish([fact("k", 1, local.topic)])
        await local.until(2, 10)
    assert await local.seen() == {"k": [1, 2]}


async def between_two_kept_facts(service: Counting) -> None:
    """1 was handled, 3 and 4 are kept; then, as if 2 had been handled alone, it is the turn of 3."""
    async with running(service):
        await service.transport.publish([fact("k", sequence, service.topic) for sequence in (1, 3, 4)])
        await read_all(service)
    async with service.database.transaction() as uow:
        await uow.pg.execute("UPDATE inbox_sequences SET last_sequence = 2")


async def test_timers_wait_until_kept_facts_whose_turn_has_come_are_handed_over(local: Counting) -> None:
    fired: list[list[int]] = []

    async def on_timer(timers: Sequence[Timer], uow: Uow) -> None:
        fired.append([row["sequence"] for row in await uow.pg.fetch("SELECT sequence FROM seen ORDER BY place")])

    await between_two_kept_facts(local)
    async with local.database.transaction() as uow:
        uow.arm(Timer("due", "k", local.database.clock.now()))
    timers = Timers(local.database, local.transport, [local.topic], {"due": on_timer})
    assert await timers.fire_due() == 0
    await local.worker().release(local.topic, "k")
    assert await timers.fire_due() == 1
    assert fired == [[1, 3, 4]]


async def test_who_takes_over_a_partition_hands_over_the_kept_facts_of_a_dead_reader(local: Counting) -> None:
    await between_two_kept_facts(local)
    local.start(workers=1)
    await local.until(3)  # its first care
    local.start(workers=1)
    await asyncio.sleep(1)
    await local.transport.publish([fact("j", sequence, local.topic) for sequence in (1, 3)])
    await read_all(local)
    async with local.database.transaction() as uow:
        await uow.pg.execute("UPDATE inbox_sequences SET last_sequence = 2 WHERE key = 'j'")
    local.tasks.pop(0).cancel()
    await local.until(5, 15)
    await local.crash()


async def test_kept_facts_that_nobody_handed_over_are_found_by_looking(
    local: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LOOK_S", 0.3)
    async with running(local):
        await local.transport.publish([fact("k", sequence, local.topic) for sequence in (1, 3)])
        await read_all(local)
        async with local.database.transaction() as uow:  # as if who discarded 2 had lost the database just then
            await uow.pg.execute("UPDATE inbox_sequences SET last_sequence = 2")
        await local.until(2, 10)


async def test_two_who_release_the_same_kept_fact_park_it_once(local: Counting) -> None:
    await between_two_kept_facts(local)
    local.trouble = refuses(3)
    worker = local.worker()
    await asyncio.gather(worker.release(local.topic, "k"), local.worker().release(local.topic, "k"))
    assert [letter[1:3] for letter in await letters(local, worker)] == [(3, "parked")]
    async with local.database.read() as pg:
        assert await pg.fetchval("SELECT array_agg(sequence) FROM inbox_early") == [4]
