"""`GET /v1/appeals`: search over months of cases, the newest first (api.md, intake)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared import terms
from shared.clock import rfc3339
from shared.db import months
from shared.db.database import Database
from shared.db.where import Where, prefixed
from shared.http.pages import Page, cursor_of, page_of
from shared.ids import instant_of
from shared.security.principal import STAFF, Principal
from shared.security.scope import prefix

Answer = dict[str, Any]

_SLACK = timedelta(days=1)
"""how far an appeal's id, made before its transaction, and its `received_at` may lie apart at the most"""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""nothing is older; keeps what a caller may ask for inside the calendar"""

_COLUMNS = (
    "c.appeal_id::text AS id, a.reference_no, c.status, c.received_at, c.channel, c.region_code, c.matter, c.tags,"
    " c.units, a.snapshot->>'title' AS title, left(a.snapshot->>'text', 200) AS text"
)


class Finder:
    """Lists appeals by id, newest first: a UUIDv7 says when it was received. `real_time` False: the clock is turned,
    and the instants of ids are not those of `received_at`."""

    def __init__(self, database: Database, *, real_time: bool = True) -> None:
        self.database = database
        self.real_time = real_time

    async def find(self, who: Principal, page: Page, filters: dict[str, Any]) -> Answer:
        """One page inside the caller's row scope. Months are searched from the newest back until the page is full, so
        that what it costs depends on the page and not on how much there is."""
        asked = Where()
        for name, condition in (
            ("status", "c.status = ?"),
            ("channel", "c.channel = ?"),
            ("matter", "c.matter = ?"),
            ("tag", "c.tags @> ARRAY[?::text]"),
            ("unit", "c.units @> ARRAY[?::text]"),
        ):
            if (value := filters.get(name)) is not None:
                asked.add(condition, value)
        if (region := filters.get("region")) is not None:
            asked.add("c.region_code LIKE ?", prefixed(prefix(region)))
        since, until = filters.get("from"), filters.get("to")
        if since is not None:
            asked.add("c.received_at >= ?", since)
        if until is not None:
            asked.add("c.received_at < ?", until)
        if (words := filters.get("q")) is not None:
            _add_words(words, asked)
        _add_scope(who, asked)
        after = cursor_of(page, UUID)
        newest = now = datetime.now(UTC)
        if after is not None:
            asked.add("c.appeal_id < ?::uuid", after[0])
            asked.add("a.appeal_id < ?::uuid", after[0])
            newest = _instant(after[0], now)
        oldest = None
        if self.real_time:
            newest = min(newest, min(until, now) + _SLACK) if until is not None else newest
            oldest = max(since, _BEGINNING) - _SLACK if since is not None else None
        newest = max(newest, _BEGINNING)
        rows = await self._rows(asked, newest, oldest, page.limit + 1)
        return page_of(
            [dict(row) | {"received_at": rfc3339(row["received_at"])} for row in rows], page, lambda r: [r["id"]]
        )

    async def _rows(self, asked: Where, newest: datetime, oldest: datetime | None, limit: int) -> list[Any]:
        rows: list[Any] = []
        async with self.database.read() as pg:
            for low, high in months.newest_first(newest):
                window = asked.copy()
                # said of both tables: PostgreSQL carries no range over an equality
                for name in ("c", "a"):
                    if low is not None:
                        window.add(f"{name}.appeal_id >= ?::uuid", low)
                    if high is not None:
                        window.add(f"{name}.appeal_id < ?::uuid", high)
                rows += await pg.fetch(
                    f"SELECT {_COLUMNS} FROM intake.cases c JOIN intake.appeals a USING (appeal_id)"
                    f" WHERE {window} ORDER BY c.appeal_id DESC LIMIT {limit - len(rows):d}",
                    *window.values,
                )
                if len(rows) >= limit or (oldest is not None and low is not None and low < months.first_key(oldest)):
                    break
        return rows


def _instant(appeal_id: str, now: datetime) -> datetime:
    """When an appeal was received, by its id; `now` at the latest, also for an id that is none of ours."""
    try:
        return min(now, instant_of(appeal_id))
    except ValueError:
        return now


def _add_words(words: str, asked: Where) -> None:
    query = terms.query(words)
    if query is None:
        asked.add("?::text IS NULL", words)  # nothing can match blanks and punctuation
        return
    asked.add("a.search @@ ?::tsquery", query)
    for run in terms.long_runs(words):
        # pairs that all occur need not stand side by side; `position` rather than LIKE, whose pattern the planner
        # would take for a rare one
        asked.add("position(? IN coalesce(a.snapshot->>'title', '') || ' ' || (a.snapshot->>'text')) > 0", run)


def _add_scope(who: Principal, asked: Where) -> None:
    """The rule of `handlers.visible` as SQL."""
    if who.has(*STAFF):
        who.scope.narrow(asked, region="c.region_code", units="c.units && ?::text[]")
    else:
        asked.add("a.source_platform = ?", who.platform or "")
