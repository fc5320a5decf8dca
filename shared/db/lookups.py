"""Look-ups by key that arrive together are answered together, as writes are committed together.

One reader alone costs one statement. While that is under way the others wait for the next one, which answers all of
them: the busier the service, the cheaper each read. Nobody is answered by a statement that began before he asked, so
whoever has just written reads what he wrote.
"""

import asyncio
from contextvars import copy_context
from typing import Any

from shared.db.database import Database
from shared.errors import Transient


class Lookups:
    """Rows by key, one statement at a time."""

    def __init__(self, database: Database, sql: str) -> None:
        """`sql` takes an array of keys as `$1`, in ascending order, and gives at most one row for each, with the key as
        text in `key`."""
        self.database = database
        self.sql = sql
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._context = copy_context()  # of no caller

    async def row(self, key: str) -> Any:
        """The row of `key`, None when there is none. Raises `Transient` when the database is away."""
        loop = asyncio.get_running_loop()
        if key not in self._waiting:
            self._waiting[key] = loop.create_future()
        answer = self._waiting[key]
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask(), name="lookups", context=self._context.copy())
        return await asyncio.shield(answer)  # who leaves takes the answer from nobody else

    async def _ask(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            await self._answer(asked)

    async def _answer(self, asked: dict[str, asyncio.Future[Any]]) -> None:
        try:
            async with self.database.look_up() as pg:
                found = {row["key"]: row for row in await pg.fetch(self.sql, sorted(asked))}
        except Exception as error:
            if len(asked) > 1 and not isinstance(error, Transient):
                for key, answer in asked.items():  # one bad key harms no other
                    await self._answer({key: answer})
                return
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # told, also when its reader has left
            return
        for key, answer in asked.items():
            answer.set_result(found.get(key))
