"""Row scope has two forms, a rule about one row and conditions of a query; here they meet on the same rows."""

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest_asyncio

from shared.db.database import plain_url
from shared.db.where import Where
from shared.security.principal import ROLES, Principal

# "_" and "%" are codes too: a city names its units as it likes, and a token may hold anything
REGIONS = (
    "",
    "46",
    "460000",
    "460100",
    "460106",
    "460106003",
    "460106000000",
    "460200",
    "110000",
    "110101",
    "4_0100",
    "%",
)
UNITS = ("city-water", "city-roads", "_", "%", "")
SHAPES: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    # how the queries of the services name the units of a row
    "lead = ANY(?)": lambda row: [row["lead"]],
    "helpers && ?": lambda row: row["helpers"],
    "(lead = ANY(?) OR (helpers && ? AND helpers <> '{}'))": lambda row: [row["lead"], *row["helpers"]],
    "": lambda row: [],
}


@pytest_asyncio.fixture(loop_scope="session")
async def pg(server_url: str) -> AsyncIterator[Any]:
    connection: Any = await asyncpg.connect(plain_url(server_url))
    yield connection
    await connection.close()


def somebody(dice: random.Random) -> Principal:
    return Principal(
        "somebody",
        frozenset(dice.sample(sorted(ROLES), dice.randint(1, 3))),
        units=frozenset(dice.sample(UNITS, dice.choice((0, 0, 1, 2)))),
        regions=frozenset(dice.sample(REGIONS, dice.choice((0, 0, 1, 2)))),
    )


async def test_a_query_finds_exactly_the_rows_that_the_rule_shows(pg: Any) -> None:
    dice = random.Random(12345)
    rows: list[dict[str, Any]] = [
        {
            "id": number,
            "region_code": dice.choice(REGIONS),
            "lead": dice.choice((*UNITS, None)),
            "helpers": dice.sample(UNITS, dice.choice((0, 1, 2))),
        }
        for number in range(200)
    ]
    await pg.execute("CREATE TEMP TABLE seen (id int, region_code text, lead text, helpers text[])")
    await pg.executemany("INSERT INTO seen VALUES ($1, $2, $3, $4)", [tuple(row.values()) for row in rows])
    shown = 0
    for _ in range(400):
        who = somebody(dice)
        for units, units_of in SHAPES.items():
            where = Where("id >= 0")
            where.add("id < ?", len(rows))
            who.scope.narrow(where, region="region_code", units=units)
            found = {row["id"] for row in await pg.fetch(f"SELECT id FROM seen WHERE {where}", *where.values)}

            assert found == {
                row["id"]
                for row in rows
                if who.sees_region(row["region_code"]) and (not units or who.sees_unit(*units_of(row)))
            }, (who, units)
            shown += len(found)
    assert 0 < shown < 400 * len(SHAPES) * len(rows)
