"""Group commit and idempotent writes: every caller his own answer, a repeated write the first one (api.md)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from shared.clock import ManualClock
from shared.db.database import Database
from shared.db.migrate import migrate
from shared.errors import Problem
from shared.http.commands import Answer, CommandQueue, IdempotencyKey
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
