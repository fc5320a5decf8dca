"""A stack with so many cases of history, kept between runs: seeding a million takes minutes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from shared.settings import Settings
from tests.bench.stack import TOKEN, Stack, running
from tools.seed.__main__ import seed_hub

JOURNAL_MONTHS = 3
"""of a large history only so many months are told in the journal: half of the 55 KB that a case needs on disk"""
LARGE = 300_000
QUIET_S = 20
"""longer than PostgreSQL takes to notice which tables want care (`autovacuum_naptime`)"""
SETTLES_S = 600


def arguments_of(argv: list[str]) -> tuple[str, int, Path | None, dict[str, str]]:
    """transport, history, folder and everything else of `name=value` arguments."""
    given = dict(argument.split("=", 1) for argument in argv)
    folder = given.pop("folder", None)
    return given.pop("transport", "embedded"), int(given.pop("history", "0")), Path(folder) if folder else None, given


@contextmanager
def with_history(transport: str, history: int, folder: Path | None, **extra: str) -> Iterator[Stack]:
    """A running stack with at least `history` cases; a given `folder` is kept, and what it holds is used."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with running(transport, folder, None, **extra) as stack:
        missing = history - asyncio.run(count(stack))
        if missing > 0:
            settings = Settings(
                data_dir=stack.folder, database_url=stack.facts["database_url"], admin_token=TOKEN, demo_stream="off"
            )
            journal = JOURNAL_MONTHS if history >= LARGE else 12
            seed = 1 + asyncio.run(_seeds(stack))
            asyncio.run(seed_hub(settings, missing, seed, journal=journal, force=True))
        if history:
            asyncio.run(_settled(stack))
        yield stack


async def _settled(stack: Stack) -> None:
    """Until nothing happens by itself: orders of a kept history have fallen due since, and are escalated first; tables
    are vacuumed for what earlier runs, ended before it was done, have left."""
    before: object = None
    quiet = 0
    for _ in range(SETTLES_S):
        busy = await query(stack, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'")
        position = await query(stack, "SELECT coalesce(sum(position), 0)::bigint FROM journal.head")
        quiet = quiet + 1 if position == before and not busy else 0
        if quiet >= QUIET_S:
            return
        before = position
        await asyncio.sleep(1)


async def query(stack: Stack, sql: str) -> object:
    """One value of the stack's database."""
    pg = await asyncpg.connect(stack.facts["database_url"], command_timeout=600)
    try:
        return await pg.fetchval(sql)
    finally:
        await pg.close()


async def count(stack: Stack) -> int:
    """How many cases the stack holds."""
    found = await query(stack, "SELECT count(*) FROM intake.reference_keys")
    assert isinstance(found, int)
    return found


async def _seeds(stack: Stack) -> int:
    if not await query(stack, "SELECT to_regclass('seed.runs') IS NOT NULL"):
        return 0
    found = await query(stack, "SELECT coalesce(max(seed), 0) FROM seed.runs")
    assert isinstance(found, int)
    return found
