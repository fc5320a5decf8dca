"""Many rows in one statement: the rows travel as one JSON parameter, PostgreSQL makes the columns of it."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def _source(table: Table, columns: Sequence[str], parameter: str = "$1") -> str:
    shape = ", ".join(f'"{name}" {table.c[name].type.compile(_DIALECT)}' for name in columns)
    return f"json_to_recordset({parameter}::json) AS r({shape})"


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
    if not rows:
        return []
    columns = list(rows[0])
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f"INSERT INTO {table.fullname} AS t ({names}) SELECT {names} FROM {_source(table, columns)}"
    if conflict:
        sql += f" ON CONFLICT ({', '.join(conflict)}) DO "
        if update:
            sql += "UPDATE SET " + ", ".join(f'"{name}" = excluded."{name}"' for name in update)
            sql += f" WHERE {where}" if where else ""
        else:
            sql += "NOTHING"
    body = orjson.dumps(rows, default=_default).decode()
    if returning:
        return list(await pg.fetch(f"{sql} RETURNING {returning}", body))
    await pg.execute(sql, body)
    return []


async def update(
    pg: Any, table: Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], returning: str = ""
) -> list[Any]:
    """Set the columns of `rows` where the `key` columns agree; alias of the table `t`, of the rows `r`."""
    if not rows:
        return []
    columns = list(rows[0])
    assignments = ", ".join(f'"{name}" = r."{name}"' for name in columns if name not in key)
    match = " AND ".join(f't."{name}" = r."{name}"' for name in key)
    sql = f"UPDATE {table.fullname} AS t SET {assignments} FROM {_source(table, columns)} WHERE {match}"
    body = orjson.dumps(rows, default=_default).decode()
    if returning:
        return list(await pg.fetch(f"{sql} RETURNING {returning}", body))
    await pg.execute(sql, body)
    return []
