"""The feed while many transactions write at once, in the order of their commits, which is not that of their begins."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg

from services.journal import repository
from shared.db.database import plain_url
from shared.events.catalog.appeals import Appeal, AppealReceived, Place, Reporter
from shared.events.event import Message, encode
from shared.ids import uuid7
from shared.testing.harness import Harness
from tests.integration.journal.test_journal import feed

EVENTS = int(os.environ.get("JOURNAL_FEED_EVENTS", "4000"))
"""50000 in the long form"""
WRITERS = 12
KILLS = 20


def message(case: str, sequence: int) -> Message[AppealReceived]:
    now = datetime.now(UTC)
    event = AppealReceived(
        actor="citizen",
        after=Appeal(
            id=case,
            platform="460100",
            reference_no="460100-20261102-000001",
            channel="web",
            text="路灯不亮",
            received_at=now,
            source_platform="460100",
            reporter=Reporter(),
            place=Place(region_code="460106"),
            rating_token_sha256=[],
            status="received",
        ),
    )
    found = Message(
        id=uuid7(), type=event.type, source="/460100/intake", key=case, sequence=sequence, time=now, data=event
    )
    return replace(found, raw=encode(found)[1])


async def test_a_reader_killed_twenty_times_misses_nothing_and_sees_every_case_in_order(server_url: str) -> None:
    async with Harness.fresh(server_url, "journal", pool_size=4) as hub:
        dice = random.Random(20261122)
        written: list[str] = []
        async with hub.runners["journal"].service.database.transaction() as uow:
            await repository.care(uow.pg, datetime.now(UTC))

        async def write(number: int) -> None:
            """One replica: transactions of any size, some of which stay open for a while, some of which fail."""
            own = random.Random(number)
            connection = await asyncpg.connect(
                plain_url(hub.settings.database_url), server_settings={"search_path": "journal"}
            )
            case, sequence = uuid7(), 0
            try:
                while len(written) < EVENTS:
                    batch = []
                    for _ in range(own.randrange(1, 40)):
                        if own.random() < 0.3:
                            case, sequence = uuid7(), 0
                        sequence += 1
                        batch.append(message(case, sequence))
                    transaction = connection.transaction()
                    await transaction.start()
                    if own.random() < 0.3:
                        await asyncio.sleep(own.random() * 0.01)
                    await repository.append(connection, "460100", batch)
                    if own.random() < 0.3:
                        await asyncio.sleep(own.random() * 0.01)
                    if own.random() < 0.1:
                        await transaction.rollback()
                        sequence -= sum(one.key == case for one in batch)
                        if not sequence:
                            case = uuid7()
                    else:
                        await transaction.commit()
                        written.extend(one.id for one in batch)
            finally:
                await connection.close()

        writers = asyncio.gather(*(write(number) for number in range(WRITERS)))
        seen: set[str] = set()
        last: dict[str, int] = defaultdict(int)
        kept, cursor, kills, furthest = "", "", 0, 0
        while True:
            done = writers.done()
            page = await feed(hub, cursor, limit=str(dice.randrange(1, 400)))
            for event in page["items"]:
                if event["id"] not in seen:
                    assert event["sushuposition"] > furthest, "it appeared behind a cursor that was given"
                    assert int(event["sequence"]) == last[event["subject"]] + 1, event["subject"]
                    last[event["subject"]] += 1
                seen.add(event["id"])
            furthest = max(furthest, int(page["next"] or 0))
            if kills < KILLS and len(seen) >= EVENTS * kills / KILLS:
                kills += 1
                cursor = kept  # killed before it had kept where it was: the page comes again
            elif page["next"] is not None:
                cursor = page["next"]
                if dice.random() < 0.5:
                    kept = cursor
            if page["next"] is None and done:
                break
            if page["next"] is None:
                await asyncio.sleep(0.002)
        await writers
        assert kills == KILLS
        assert seen == set(written)
