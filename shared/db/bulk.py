"""Many rows in one statement, and several statements in one round trip: the rows travel as one JSON parameter,
PostgreSQL makes the columns of it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _default(value: Any) -> Any:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot become a column")


@cache
def _source(table: Table, columns: tuple[str, ...]) -> str:
    shape = ", ".join(f'"{name}" {table.c[name].type.compile(_DIALECT)}' for name in columns)
    return f"json_to_recordset(?::json) AS r({shape})"


class Statement(NamedTuple):
    """A statement with a `?` for each of its values; the empty one does nothing."""

    sql: str
    values: tuple[Any, ...] = ()


NOTHING = Statement("")


async def write(pg: Any, *statements: Statement) -> None:
    """Run `statements` in one round trip. None may read or write what another of them writes: all see the same rows."""
    given = [statement for statement in statements if statement.sql]
    if not given:
        return
    *first, last = [_numbered(statement.sql, place) for statement, place in zip(given, _places(given), strict=True)]
    sql = ", ".join(f"w{number} AS ({text})" for number, text in enumerate(first))
    values = [value for statement in given for value in statement.values]
    await pg.execute(f"WITH {sql} {last}" if sql else last, *values)


async def fetch(pg: Any, statement: Statement) -> list[Any]:
    """The rows that a statement gives."""
    return list(await pg.fetch(_numbered(statement.sql), *statement.values)) if statement.sql else []


def _places(statements: Sequence[Statement]) -> list[int]:
    places, place = [], 1
    for statement in statements:
        places.append(place)
        place += len(statement.values)
    return places


def _numbered(sql: str, place: int = 1) -> str:
    first, *rest = sql.split("?")
    return first + "".join(f"${place + number}{text}" for number, text in enumerate(rest))


def columns(sql: str, rows: Sequence[tuple[Any, ...]]) -> Statement:
    """`sql` with a `?` for each column of `rows`, which travel as arrays."""
    return Statement(sql, tuple(map(list, zip(*rows, strict=True)))) if rows else NOTHING


def insert_of(
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    conflict: Sequence[str] = (),
    update: Sequence[str] | None = None,
    where: str = "",
) -> Statement:
    """As `insert`, for `write`."""
    if not rows:
        return NOTHING
    columns = tuple(rows[0])
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f"INSERT INTO {table.fullname} AS t ({names}) SELECT {names} FROM {_source(table, columns)}"
    if conflict:
        sql += f" ON CONFLICT ({', '.join(conflict)}) DO "
        if update:
            sql += "UPDATE SET " + ", ".join(f'"{name}" = excluded."{name}"' for name in update)
            sql += f" WHERE {where}" if where else ""
        else:
            sql += "NOTHING"
    return Statement(sql, (orjson.dumps(rows, default=_default).decode(),))


def update_of(table: Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]) -> Statement:
    """As `update`, for `write`."""
    if not rows:
        return NOTHING
    columns = tuple(rows[0])
    assignments = ", ".join(f'"{name}" = r."{name}"' for name in columns if name not in key)
    match = " AND ".join(f't."{name}" = r."{name}"' for name in key)
    sql = f"UPDATE {table.fullname} AS t SET {assignments} FROM {_source(table, columns)} WHERE {match}"
    return Statement(sql, (orjson.dumps(rows, default=_default).decode(),))


async def insert(
    pg: Any,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    conflict: Sequence[str] = (),
    update: Sequence[str] | None = None,
    where: str = "",
    returning: str = "",
) -> list[Any]:
    """Insert `rows` (all with the same keys; keys are column names) into `table` on `uow.pg`.

    `conflict`: unique columns; without `update` a known row is left alone, with it these columns take the new values
    (`where`, e.g. `"excluded.sequence > t.sequence"`, guards that; the table's alias is `t`). `returning`: column list
    or expression, whose rows are returned. A batch must not hold two rows of the same conflict key when `update` is
    given: keep the last one. Values: JSON types, datetime, UUID, bytes, enums' values.
    """
    return await _run(pg, insert_of(table, rows, conflict=conflict, update=update, where=where), returning)


async def update(
    pg: Any, table: Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], returning: str = ""
) -> list[Any]:
    """Set the columns of `rows` where the `key` columns agree; alias of the table `t`, of the rows `r`."""
    return await _run(pg, update_of(table, rows, key=key), returning)


async def _run(pg: Any, statement: Statement, returning: str) -> list[Any]:
    if returning and statement.sql:
        return await fetch(pg, Statement(f"{statement.sql} RETURNING {returning}", statement.values))
    await write(pg, statement)
    return []
