"""Counts the journal up to a position, piece by piece: it may be interrupted after any piece and goes on there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import facts
from services.evaluate.publishing.feed import Feed, ahead
from services.evaluate.tables import Ledger
from shared.db.database import Database
from shared.errors import Problem
from shared.events.event import Message

WANTED = frozenset().union(*facts.TYPES.values())
PIECE = 4_000
"""events of one transaction"""
Progress = Callable[[int, int], None]
"""(position reached, position wanted)"""


async def position_of(pg: Any, ledger: Ledger, platform: str, *, hold: bool = False) -> int:
    """How far the journal was counted; `hold` keeps everybody else from counting on until the transaction ends."""
    sql = f"SELECT position FROM {ledger.reading.fullname} WHERE platform = $1" + (" FOR UPDATE" if hold else "")
    found: int | None = await pg.fetchval(sql, platform)
    return found or 0


async def read_up_to(
    database: Database, feed: Feed, ledger: Ledger, zone: ZoneInfo, target: int, progress: Progress
) -> None:
    """Bring the ledger to position `target`, which the journal has. Raises `Problem` 503 while the journal is away, 409
    when another process counts on at the same time."""
    async with database.look_up() as pg:
        began = at = await position_of(pg, ledger, database.platform)
    async with aclosing(ahead(_pieces(feed, database.platform, at, target))) as pieces:
        async for reached, messages in pieces:
            await _count(database, ledger, zone, at, reached, messages)
            at = reached
            progress(at, target)
    if at - began >= PIECE:  # until autovacuum comes by PostgreSQL plans the sums for empty tables, and takes minutes
        async with database.transaction() as uow:
            await uow.pg.execute(f"ANALYZE {', '.join(table.fullname for table in ledger.facts.all)}")


async def _pieces(feed: Feed, platform: str, at: int, target: int) -> AsyncGenerator[tuple[int, list[Message[Any]]]]:
    """What one transaction counts: how far it goes and the platform's events; the last one goes to `target`."""
    if at >= target:
        return
    messages: list[Message[Any]] = []
    async with aclosing(feed.parts(at, WANTED)) as parts:
        async for part in parts:
            reached = min(part.position, target)
            messages += [
                message for position, message in part.events if position <= target and message.platform == platform
            ]
            if reached == target:
                break
            if len(messages) >= PIECE or reached - at >= 20 * PIECE:
                yield reached, messages
                at, messages = reached, []
    yield target, messages  # what is left of the journal tells nothing that is counted


async def _count(
    database: Database, ledger: Ledger, zone: ZoneInfo, before: int, reached: int, messages: list[Any]
) -> None:
    by_topic: dict[str, list[Any]] = {}
    for message in messages:
        by_topic.setdefault(message.topic, []).append(message)
    async with database.transaction() as uow:
        if before == 0:
            await uow.pg.execute(
                f"INSERT INTO {ledger.reading.fullname} VALUES ($1, 0) ON CONFLICT DO NOTHING", database.platform
            )
        if await position_of(uow.pg, ledger, database.platform, hold=True) != before:
            raise Problem(
                409, "already_reading", "Another process counts the journal at this moment: ask again in a minute."
            )
        await facts.keep_ratings(uow.pg, ledger.facts, by_topic.get("feedback.ratings.v1", []), zone)
        await facts.keep_orders(uow.pg, ledger.facts, by_topic.get("dispatch.work-orders.v1", []), zone)
        await facts.keep_clocks(uow.pg, ledger.facts, by_topic.get("sla.clocks.v1", []))
        await facts.keep_labels(uow.pg, ledger.facts, by_topic.get("classify.labels.v1", []))
        await uow.pg.execute(
            f"UPDATE {ledger.reading.fullname} SET position = $2 WHERE platform = $1", database.platform, reached
        )


async def clear(database: Database, ledger: Ledger) -> None:
    """Forget what was read."""
    tables = (ledger.reading, ledger.publications, *ledger.facts.all)
    async with database.transaction() as uow:
        await uow.pg.execute(f"TRUNCATE {', '.join(table.fullname for table in tables)}")
