"""Look-ups that arrive together: one statement for all who wait, and nobody is answered from before he asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.clock import ManualClock
from shared.db.database import Database, role_of
from shared.db.lookups import Lookups
from shared.db.migrate import migrate
from shared.errors import Transient
from shared.testing.postgres import fresh_database

SQL = "SELECT asked.id AS key, asked.id::int * 2 AS twice FROM unnest($1::text[]) AS asked(id) WHERE asked.id <> 'none'"


@pytest.fixture
async def database(server_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_database(server_url) as url:
        await migrate(url, "looking", tmp_path / "none")
        database = Database(url, "looking", ManualClock(), platform="460100", role=role_of("looking"))
        yield database
        await database.close()


class Counted(Lookups):
    """Remembers how many keys each statement took."""

    def __init__(self, database: Database, sql: str) -> None:
        super().__init__(database, sql)
        self.statements: list[int] = []

    async def _answer(self, asked: dict[str, asyncio.Future[Any]]) -> None:
        self.statements.append(len(asked))
        await super()._answer(asked)


async def test_who_comes_while_one_is_asked_is_answered_with_all_the_others(database: Database) -> None:
    lookups = Counted(database, SQL)
    first = asyncio.create_task(lookups.row("1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rows = await asyncio.gather(first, *(lookups.row(str(number)) for number in range(2, 50)), lookups.row("2"))
    assert [row["twice"] for row in rows] == [2 * number for number in range(1, 50)] + [4]
    assert lookups.statements == [1, 48]
    assert await lookups.row("none") is None


async def test_keys_are_asked_in_ascending_order_so_that_a_statement_can_bound_them(database: Database) -> None:
    lookups = Counted(database, SQL + ' AND asked.id COLLATE "C" BETWEEN $1[1] AND $1[cardinality($1)]')
    rows = await asyncio.gather(*(lookups.row(str(number)) for number in (5, 3, 90, 4, 8, 11)))
    assert [row["twice"] for row in rows] == [10, 6, 180, 8, 16, 22]
    assert lookups.statements == [6]


async def test_one_bad_key_harms_no_other(database: Database) -> None:
    lookups = Lookups(database, SQL)
    answers: Any = await asyncio.gather(
        lookups.row("7"), lookups.row("seven"), lookups.row("8"), return_exceptions=True
    )
    assert isinstance(answers[1], asyncpg.DataError)
    assert (answers[0]["twice"], answers[2]["twice"]) == (14, 16)


async def test_who_leaves_takes_the_answer_from_nobody_else(database: Database) -> None:
    lookups = Lookups(database, SQL)
    leaving = asyncio.create_task(lookups.row("3"))
    staying = asyncio.create_task(lookups.row("3"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)["twice"] == 6
    assert leaving.cancelled()


async def test_a_reader_reads_what_was_written_before_he_asked(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.pg.execute("CREATE TABLE looking.notes (id text PRIMARY KEY, words text)")
    lookups = Lookups(
        database, "SELECT n.id AS key, n.words FROM unnest($1::text[]) AS asked(id) JOIN looking.notes n USING (id)"
    )
    stop = asyncio.Event()

    async def keep_asking() -> None:
        while not stop.is_set():
            await lookups.row("0")

    busy = asyncio.create_task(keep_asking())
    for number in range(1, 60):
        async with database.transaction() as uow:
            await uow.pg.execute("INSERT INTO looking.notes VALUES ($1, $2)", str(number), f"note {number}")
        assert (await lookups.row(str(number)))["words"] == f"note {number}"
    stop.set()
    await busy


async def test_all_who_wait_are_told_that_the_database_is_away() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none", "looking", ManualClock(), platform="460100")
    lookups = Lookups(away, SQL)
    answers = await asyncio.gather(*(lookups.row(str(number)) for number in range(5)), return_exceptions=True)
    assert all(isinstance(answer, Transient) for answer in answers)
