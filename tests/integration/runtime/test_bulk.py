"""Writing many rows, and several tables, in one round trip."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import Column, Integer, MetaData, Table, Text

from shared.db import bulk
from shared.db.database import plain_url
from shared.testing.postgres import fresh_database

metadata = MetaData(schema="bulk_test")
birds = Table("birds", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
nests = Table("nests", metadata, Column("id", Integer, primary_key=True), Column("eggs", Integer))


@pytest_asyncio.fixture(loop_scope="session")
async def pg(server_url: str) -> Any:
    async with fresh_database(server_url) as url:
        connection: Any = await asyncpg.connect(plain_url(url))
        await connection.execute(
            "CREATE SCHEMA bulk_test; CREATE TABLE bulk_test.birds (id int PRIMARY KEY, name text);"
            "CREATE TABLE bulk_test.nests (id int PRIMARY KEY, eggs int); INSERT INTO bulk_test.nests VALUES (1, 2)"
        )
        yield connection
        await connection.close()


async def contents(pg: Any) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return (
        [tuple(row) for row in await pg.fetch("SELECT * FROM bulk_test.birds ORDER BY id")],
        [tuple(row) for row in await pg.fetch("SELECT * FROM bulk_test.nests ORDER BY id")],
    )


async def test_several_tables_are_written_in_one_statement(pg: Any) -> None:
    await bulk.write(
        pg,
        bulk.insert_of(birds, [{"id": 1, "name": "who?"}, {"id": 2, "name": None}]),
        bulk.insert_of(birds, []),
        bulk.update_of(nests, [{"id": 1, "eggs": 3}, {"id": 9, "eggs": 9}], key=["id"]),
        bulk.Statement("INSERT INTO bulk_test.nests VALUES (?, ?::int)", (4, 5)),
    )
    assert await contents(pg) == ([(1, "who?"), (2, None)], [(1, 3), (4, 5)])


async def test_nothing_to_write_asks_nobody() -> None:
    await bulk.write(None, bulk.NOTHING, bulk.insert_of(birds, []), bulk.update_of(birds, [], key=["id"]))


async def test_a_fault_in_one_table_writes_none(pg: Any) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await bulk.write(
            pg, bulk.insert_of(birds, [{"id": 7, "name": "x"}]), bulk.insert_of(nests, [{"id": 1, "eggs": 0}])
        )
    assert await contents(pg) == ([], [(1, 2)])


async def test_known_rows_are_kept_or_replaced_as_told(pg: Any) -> None:
    await bulk.insert(pg, nests, [{"id": 1, "eggs": 7}], conflict=["id"])
    assert (await contents(pg))[1] == [(1, 2)]
    told = await bulk.insert(
        pg,
        nests,
        [{"id": 1, "eggs": 7}],
        conflict=["id"],
        update=["eggs"],
        where="excluded.eggs > t.eggs",
        returning="id",
    )
    assert ([row["id"] for row in told], (await contents(pg))[1]) == ([1], [(1, 7)])
