"""The command that counts a published month again, with its progress."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from services.evaluate.bootstrap import publisher_of
from services.evaluate.publishing.feed import FileFeed
from services.evaluate.publishing.ledger import position_of
from services.evaluate.tables import LEDGER
from shared.clock import SystemClock
from shared.db.database import Database
from shared.db.migrate import known_role
from shared.errors import Problem
from shared.service.process import migrate_service
from shared.settings import Settings


async def _rebuild(settings: Settings, period: str, journal: Path | None) -> dict[str, object]:
    await migrate_service("evaluate", settings)
    role = await known_role(settings.database_url, "evaluate")
    database = Database(settings.database_url, "evaluate", SystemClock(), platform=settings.platform, role=role)
    publisher, close = publisher_of(settings, database)
    if journal is not None:
        publisher.feed = FileFeed(journal)
    began = time.monotonic()
    async with database.look_up() as pg:
        start = await position_of(pg, LEDGER, settings.platform)
    last = start
    try:
        with Console(stderr=True).status("reading what was published …") as line:

            def show(at: int, of: int) -> None:
                nonlocal last
                last = at
                line.update(f"position {at:,} of {of:,}")

            answer = await publisher.rebuild(period, show)
    finally:
        await close()
        await database.close()
    seconds = time.monotonic() - began
    # of a rebuild beside publications that stand: from the first event, whatever the ledger had
    start = start if answer["restored"] else 0
    return answer | {"seconds": round(seconds, 1), "events_per_second": round((last - start) / seconds)}


def main(period: str, journal: Path | None) -> int:
    """One rebuild; prints one JSON object; exit status."""
    gc.set_threshold(100_000, 50, 100)  # events hold no cycles: looking for some took a sixth of the CPU
    settings = Settings()
    if not settings.database_url:
        print("sushu: DATABASE_URL names the database that is counted in; it may be empty", file=sys.stderr)
        return 1
    try:
        answer = asyncio.run(_rebuild(settings, period, journal))
    except Problem as problem:
        print(f"sushu: {problem.detail}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"sushu: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sushu: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(json.dumps(answer))
    return 0 if answer["identical"] and not answer["changed"] else 1
