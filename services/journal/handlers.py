"""What the journal does: append every event, once, each aggregate in its order."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from services.journal import repository
from shared.db.database import Database
from shared.events.event import Message
from shared.outbox.uow import Uow


class Handlers:
    """The journal of one platform."""

    def __init__(self, database: Database, platform: str) -> None:
        self.database = database
        self.platform = platform
        self.appended = asyncio.Event()
        """set by the next commit, which puts a new one here: take it before you look, then wait on it"""
        self._cared_for: date | None = None

    async def on_events(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        """Append the facts of every topic."""
        now = datetime.now(UTC)
        today = now.date()
        if self._cared_for != today:
            await repository.care(uow.pg, now)
            uow.after_commit(lambda: setattr(self, "_cared_for", today))
        await repository.append(uow.pg, self.platform, batch)
        uow.after_commit(self._tell)

    def _tell(self) -> None:
        """Wake everybody who waits at the end of the journal."""
        told, self.appended = self.appended, asyncio.Event()
        told.set()

    async def reconcile(self) -> dict[str, int]:
        """Gaps or repeats in the positions; 0 is well."""
        async with self.database.read() as raw:
            row = await raw.fetchrow(
                "SELECT count(*) FILTER (WHERE position = before) AS repeats,"
                " coalesce(max(position), 0) - count(*) FILTER (WHERE position IS DISTINCT FROM before) AS gaps"
                " FROM (SELECT position, lag(position) OVER (ORDER BY position) AS before FROM journal.events) e"
            )
        return {"position_gaps": row["gaps"], "position_repeats": row["repeats"]}
