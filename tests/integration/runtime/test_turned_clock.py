"""The turned clock of a local stack: several processes follow one row, and nothing leaves it standing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from shared.service.turned_clock import ClockDesk, TurnedClock, following
from shared.testing.postgres import fresh_database
from shared.transport.embedded import EmbeddedTransport


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
        for number, clock in enumerate(clocks):
            await exits.enter_async_context(following(clock, f"process-{number}"))
        yield ClockDesk(clocks[0], transport), clocks, url


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


async def test_the_clock_goes_on_when_who_advanced_it_was_killed(
    stack: tuple[ClockDesk, list[TurnedClock], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, clocks, _ = stack
    await desk.set_speed(2.0)
    standing = asyncio.Event()

    async def drain(*_: Any) -> None:
        standing.set()
        await asyncio.Event().wait()

    async def dead(*_: Any) -> None:
        """kill -9: nothing is put right on the way out."""

    monkeypatch.setattr(desk, "_drain", drain)
    monkeypatch.setattr(desk, "_go_on", dead)
    advancing = asyncio.create_task(desk.advance(60))
    await standing.wait()
    await asyncio.sleep(1)
    assert clocks[1].speed == 0.0, "while the desk lives nobody takes the clock from it"
    advancing.cancel()
    await asyncio.gather(advancing, return_exceptions=True)
    give_up = asyncio.get_running_loop().time() + 10
    while clocks[1].speed != 2.0 and asyncio.get_running_loop().time() < give_up:
        await asyncio.sleep(0.05)
    assert clocks[1].speed == 2.0
