"""Group commit and idempotent writes: every caller his own answer, a repeated write the first one (api.md)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared.clock import ManualClock
from shared.db.database import Database, role_of
from shared.db.migrate import known_role, migrate
from shared.errors import Problem, Transient
from shared.http.commands import Answer, CommandQueue, IdempotencyKey, Outcome
from shared.outbox.uow import Uow
from shared.testing.postgres import fresh_database


class Counter:
    """A handler that adds what it is told; `0` is refused, a negative number breaks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transactions = 0

    async def handle(self, commands: Sequence[int], uow: Uow) -> list[Answer | Problem]:
        self.transactions += 1
        answers: list[Answer | Problem] = []
        for number in commands:
            if number < 0:
                raise ValueError("breaks")
            if number == 0:
                answers.append(Problem(409, "refused", "zero adds nothing"))
                continue
            answers.append({"sum": await uow.pg.fetchval("UPDATE counter SET n = n + $1 RETURNING n", number)})
        return answers

    async def sum(self) -> int:
        async with self.database.transaction() as uow:
            found: int = await uow.pg.fetchval("SELECT n FROM counter")
            return found


@pytest.fixture
async def counter(server_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    async with fresh_database(server_url) as url:
        await migrate(url, "counting", tmp_path / "none")
        database = Database(url, "counting", ManualClock(), platform="460100", role="sushu_counting")
        async with database.transaction() as uow:
            await uow.pg.execute("CREATE TABLE counter (n bigint)")
            await uow.pg.execute("INSERT INTO counter VALUES (0)")
        yield Counter(database)
        await database.close()


def key(name: str, body: object, subject: str = "me") -> IdempotencyKey:
    return IdempotencyKey.of(subject, "POST", "/v1/things", name, body)


async def test_writes_that_arrive_together_share_transactions(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    outcomes = await asyncio.gather(*(queue.submit(1) for _ in range(100)))
    assert sorted(outcome.answer["sum"] for outcome in outcomes) == list(range(1, 101))
    assert counter.transactions < 10


async def test_one_that_breaks_harms_no_other(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    results = await asyncio.gather(*(queue.submit(n) for n in (1, -1, 2, 0, 3)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Outcome", "ValueError", "Outcome", "Problem", "Outcome"]
    assert await counter.sum() == 6


async def test_same_key_and_body_gets_the_first_answer_however_often_and_however_close(counter: Counter) -> None:
    queues = [CommandQueue(counter.database, counter.handle) for _ in range(3)]  # three replicas
    outcomes = await asyncio.gather(*(queues[n % 3].submit(5, key("k", {"n": 5})) for n in range(30)))
    assert {outcome.answer["sum"] for outcome in outcomes} == {5}
    assert sum(not outcome.repeated for outcome in outcomes) == 1
    assert await counter.sum() == 5


async def test_same_key_with_another_body_is_a_conflict_and_changes_nothing(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    await queue.submit(5, key("k", {"n": 5}))
    with pytest.raises(Problem) as caught:
        await queue.submit(6, key("k", {"n": 6}))
    assert (caught.value.status, caught.value.code) == (409, "idempotency_conflict")
    assert await counter.sum() == 5


async def test_keys_of_another_subject_are_other_keys(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    await queue.submit(5, key("k", {}, "me"))
    await queue.submit(5, key("k", {}, "you"))
    assert await counter.sum() == 10


async def test_a_refused_write_may_be_sent_again_with_its_key(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    with pytest.raises(Problem):
        await queue.submit(0, key("k", {"n": 0}))
    assert (await queue.submit(7, key("k", {"n": 7}))).answer == {"sum": 7}


async def test_database_away_is_a_503_that_promises_nothing(counter: Counter) -> None:
    away = Database("postgresql://nobody@127.0.0.1:9/none", "counting", ManualClock(), platform="460100")
    with pytest.raises(Problem) as caught:
        await CommandQueue(away, counter.handle).submit(1)
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"]
    await away.close()


async def test_too_many_waiting_writes_are_turned_away(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle, waiting=10)
    results = await asyncio.gather(*(queue.submit(1) for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Problem)]
    assert refused
    assert all(result.status == 503 for result in refused)
    assert await counter.sum() == 50 - len(refused)


async def test_a_refusal_of_one_body_is_no_answer_for_another_with_the_same_key(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    results = await asyncio.gather(
        queue.submit(0, key("k", {"n": 0})), queue.submit(7, key("k", {"n": 7})), return_exceptions=True
    )
    assert isinstance(results[0], Problem)
    assert isinstance(results[1], Outcome)
    assert (results[1].answer, results[1].repeated) == ({"sum": 7}, False)


async def test_a_caller_that_leaves_takes_nobody_with_him(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle)
    leaving = [asyncio.create_task(queue.submit(1)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert (await asyncio.wait_for(queue.submit(5), 5)).answer["sum"] >= 5


async def test_what_is_committed_does_not_fail_because_of_what_comes_after(counter: Counter) -> None:
    async def handle(commands: Sequence[int], uow: Uow) -> list[Answer | Problem]:
        uow.after_commit(lambda: [][0])  # a cache that cannot be dropped
        return await counter.handle(commands, uow)

    outcomes = await asyncio.gather(*(CommandQueue(counter.database, handle).submit(1) for _ in range(3)))
    assert len(outcomes) == 3
    assert await counter.sum() == 3


async def test_a_commit_whose_end_is_not_known_is_not_called_refused(counter: Counter) -> None:
    async with counter.database.transaction() as uow:
        await uow.pg.execute(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON counter DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION linger()"
        )
    writing = asyncio.create_task(CommandQueue(counter.database, counter.handle).submit(1))
    admin: Any = await asyncpg.connect(counter.database.url)
    async with asyncio.timeout(5):
        while not await admin.fetchval(
            "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'sushu-counting' AND query = 'COMMIT;' AND state = 'active'"
        ):
            await asyncio.sleep(0.02)
    await admin.close()
    with pytest.raises(Problem) as caught:
        await writing
    assert caught.value.status == 503
    assert "Nothing was stored" not in caught.value.detail
    assert "Idempotency-Key" in caught.value.detail


async def test_a_database_whose_name_is_not_found_is_away_not_broken() -> None:
    away = Database("postgresql://nobody@no-such-host.invalid/none", "counting", ManualClock(), platform="460100")
    with pytest.raises(Transient):
        async with away.read():
            pass


async def test_a_connection_left_in_the_middle_of_a_transaction_harms_no_later_one(counter: Counter) -> None:
    async def leave() -> None:
        async with counter.database.transaction() as uow:
            await uow.pg.execute("UPDATE counter SET n = n + 100")
            await uow.pg.execute("SELECT pg_sleep(10)")

    for pause in (0.0, 0.001, 0.005, 0.02):
        tasks = [asyncio.create_task(leave()) for _ in range(5)]
        await asyncio.sleep(pause)
        for _ in range(3):  # as a stop that insists
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
    queue = CommandQueue(counter.database, counter.handle)
    await asyncio.gather(*(queue.submit(1) for _ in range(20)))
    assert await counter.sum() == 20


async def test_two_migrations_at_once_make_one_role(server_url: str, tmp_path: Path) -> None:
    name = f"twice_{uuid4().hex[:8]}"
    async with fresh_database(server_url) as one, fresh_database(server_url) as two:
        try:
            await asyncio.gather(*(migrate(url, name, tmp_path / "none") for url in (one, two, one, two)))
            for url in (one, two):
                assert await known_role(url, name) == role_of(name)
        finally:
            for url in (one, two):
                connection: Any = await asyncpg.connect(url)
                await connection.execute(f'DROP OWNED BY "{role_of(name)}" CASCADE')
                await connection.close()
            connection = await asyncpg.connect(server_url)
            await connection.execute(f'DROP ROLE "{role_of(name)}"')
            await connection.close()


async def test_what_streams_in_is_committed_in_groups(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle, pace_s=2)
    await asyncio.gather(queue.submit(1), queue.submit(1))  # two at once: more will come
    stream = []
    for _ in range(20):
        stream.append(asyncio.create_task(queue.submit(1)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*stream)
    assert await counter.sum() == 22
    assert counter.transactions == 2


async def test_a_full_group_does_not_wait(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle, largest=10, pace_s=60)
    await asyncio.gather(queue.submit(1), queue.submit(1))
    await asyncio.wait_for(asyncio.gather(*(queue.submit(1) for _ in range(10))), 20)


async def test_one_caller_alone_does_not_wait_for_others(counter: Counter) -> None:
    queue = CommandQueue(counter.database, counter.handle, pace_s=60)
    for n in range(5):
        assert (await asyncio.wait_for(queue.submit(1), 20)).answer == {"sum": n + 1}
