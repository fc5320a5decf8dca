"""The turned clock of a local stack: several processes follow one row, and nothing leaves it standing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from shared.bus.embedded import EmbeddedTransport
from shared.service.turned_clock import ClockDesk, TurnedClock
from shared.testing.postgres import fresh_database


@pytest.fixture
async def stack(server_url: str) -> AsyncIterator[tuple[ClockDesk, list[TurnedClock], str]]:
    """The desk and the clocks of three processes."""
    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(fresh_database(server_url))
        transport = EmbeddedTransport(url)
        await transport.start()
        exits.push_async_callback(transport.stop)
        clocks = [TurnedClock(url) for _ in range(3)]
        await asyncio.gather(*(clock.load() for clock in clocks))
        tasks = [asyncio.create_task(clock.follow(f"process-{n}")) for n, clock in enumerate(clocks)]
        yield ClockDesk(clocks[0], transport), clocks, url
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_every_process_has_the_new_time_when_an_advance_is_answered(
    stack: tuple[ClockDesk, list[TurnedClock], str],
) -> None:
    desk, clocks, _ = stack
    for _ in range(3):
        now, _fired = await desk.advance(86_400)
        for clock in clocks:
            assert abs(clock.now() - now) < timedelta(seconds=5)
            assert clock.speed == 1.0


async def test_the_clock_goes_on_when_the_database_was_lost_in_the_middle_of_an_advance(
    stack: tuple[ClockDesk, list[TurnedClock], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, clocks, url = stack
    before = clocks[0].now()

    async def lost(*_: Any) -> None:
        admin: Any = await asyncpg.connect(url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        raise ConnectionError("lost")

    monkeypatch.setattr(desk, "_drain", lost)
    with pytest.raises(ConnectionError):
        await desk.advance(60)
    assert clocks[0].speed == 1.0
    await asyncio.sleep(1)
    assert clocks[0].now() > before
