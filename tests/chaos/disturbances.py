"""What goes wrong in a data centre, done on purpose to a `Scene`.

Each disturbance returns when it is over; the conductor then waits until the stack is back to normal. Whatever it must
leave behind (a stopped process, a second one) it takes away itself, also when it fails.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import asyncpg
import httpx

from tests.chaos.scene import SERVICES, Scene

STALL_S = {"kafka": 14.0, "embedded": 18.0}
"""longer than a consumer's session lasts: 10 s with Kafka, 15 s with the embedded log"""
HOUR_S = 3600.0
RELAYS = ("intake", "classify", "dispatch", "sla", "feedback")
"""services that emit"""


class NotPossible(Exception):
    """This machine or this moment does not allow the disturbance; it is told in the result, not passed over."""


@dataclass(frozen=True)
class Disturbance:
    """`name` is `<kind>:<target>`; a `kill` must be over within the bar for being back to normal."""

    name: str
    do: Callable[[Scene, random.Random], Awaitable[None]]

    @property
    def kind(self) -> str:
        return self.name.split(":")[0]


async def kill(target: str, scene: Scene, chance: random.Random) -> None:
    """kill -9 of one process."""
    scene.kill(target)


async def power_cut(scene: Scene, chance: random.Random) -> None:
    """`make run` and its PostgreSQL die in the same instant."""
    hub, postgres = scene.pid("intake"), scene.pid("postgres")
    os.kill(postgres, signal.SIGKILL)
    os.kill(hub, signal.SIGKILL)


async def kill_backend(scene: Scene, chance: random.Random) -> None:
    """kill -9 of one PostgreSQL backend at work: the server ends all sessions and recovers, as after a crash."""
    async with scene.sql() as pg:
        pids = [
            row["pid"]
            for row in await pg.fetch("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sushu-%'")
        ]
    os.kill(chance.choice(sorted(pids)), signal.SIGKILL)


async def terminate_sessions(scene: Scene, chance: random.Random) -> None:
    """Half of all database sessions end at once, three times in a row."""
    for _ in range(3):
        async with scene.sql() as pg:
            pids = [
                row["pid"]
                for row in await pg.fetch("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'sushu-%'")
            ]
            for pid in chance.sample(sorted(pids), len(pids) // 2):
                await pg.execute("SELECT pg_terminate_backend($1)", pid)
        await asyncio.sleep(chance.uniform(0.1, 1.0))


async def reset_connections(scene: Scene, chance: random.Random) -> None:
    """TCP resets on every connection of three services to the broker and the database."""
    for service in chance.sample(SERVICES, 3) if scene.transport == "kafka" else ("intake",):
        try:
            if not scene.reset_connections(service):
                raise NotPossible(f"{service} has no connection to cut")
        except PermissionError as error:
            raise NotPossible(f"another process's sockets cannot be touched here: {error}") from None


async def join_and_leave(service: str, scene: Scene, chance: random.Random) -> None:
    """A second process of a service joins, works, and leaves: politely or by kill -9."""
    second = scene.join(service)
    try:
        await scene.joined(service, second)
        await asyncio.sleep(chance.uniform(2, 5))
    finally:
        await scene.part(second, chance.choice((signal.SIGTERM, signal.SIGKILL)))


async def stall(service: str, scene: Scene, chance: random.Random) -> None:
    """A process hangs for longer than its consumer's session lasts while another member takes over, and comes back
    with its batch in its hands. On the embedded stack the process is the whole hub."""
    second = scene.join(service)
    try:
        await scene.joined(service, second)
        pid = scene.pid(service)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STALL_S[scene.transport])
        finally:
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(2)
    finally:
        await scene.part(second, signal.SIGTERM)


async def relay_between_send_and_mark(schema: str, scene: Scene, chance: random.Random) -> None:
    """End the relay's session exactly after the bus took its rows and before they are gone from the outbox.

    A lock of ours on the present outbox rows lets the relay read and send them, and holds it when it deletes them.
    """
    async with scene.sql() as pg:
        give_up = time.monotonic() + 20
        while True:
            async with pg.transaction():
                rows = await pg.fetch(f"SELECT id FROM {schema}.outbox WHERE parked IS NULL FOR UPDATE SKIP LOCKED")
                held_until = time.monotonic() + (1.0 if rows else 0.0)
                while time.monotonic() < held_until:
                    blocked = [
                        row["pid"]
                        for row in await pg.fetch(
                            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                            " AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
                        )
                    ]
                    for pid in blocked:
                        await pg.execute("SELECT pg_terminate_backend($1)", pid)
                    if blocked:
                        return
                    await asyncio.sleep(0.005)
            if time.monotonic() > give_up:
                raise NotPossible(f"the relay of {schema} was not met between send and mark")
            await asyncio.sleep(0.02)


async def step_clock(seconds: float, scene: Scene, chance: random.Random) -> None:
    """The business clock jumps; every deadline in between is due at once."""
    await scene.step_clock(seconds)
    await asyncio.sleep(3)


async def kill_desk(scene: Scene, chance: random.Random) -> None:
    """`POST /v1/clock` stops the clock while it advances; the process that does so dies in the middle of it."""
    asking = asyncio.create_task(scene.http.post("/v1/clock", json={"advance_s": 60}, timeout=120))
    await asyncio.sleep(chance.uniform(0.3, 1.0))
    scene.kill("intake")
    await asyncio.gather(asking, return_exceptions=True)


async def advance_clock(scene: Scene, chance: random.Random) -> None:
    """`POST /v1/clock` forward by a few seconds in the middle of everything; it may say 503, it may not harm."""
    with contextlib.suppress(httpx.HTTPError):
        await scene.http.post("/v1/clock", json={"advance_s": 5}, timeout=150)


def repertoire(transport: str) -> list[Disturbance]:
    """Everything that is done to a stack on `transport` in each round."""
    common = [
        Disturbance("kill:postgres", partial(kill, "postgres")),
        Disturbance("kill:backend", kill_backend),
        Disturbance("cut:sessions", terminate_sessions),
        Disturbance("cut:tcp", reset_connections),
        Disturbance("clock:forward", partial(step_clock, HOUR_S)),
        Disturbance("clock:back", partial(step_clock, -HOUR_S)),
        Disturbance("kill:desk", kill_desk),
        *(Disturbance(f"relay:{name}", partial(relay_between_send_and_mark, name)) for name in RELAYS),
    ]
    if transport == "embedded":
        return [
            *common,
            Disturbance("kill:hub", partial(kill, "intake")),
            Disturbance("kill:hub+postgres", power_cut),
            *(Disturbance(f"join:{name}", partial(join_and_leave, name)) for name in ("dispatch", "sla", "journal")),
            Disturbance("stall:hub", partial(stall, "dispatch")),
        ]
    return [
        *common,
        *(Disturbance(f"kill:{name}", partial(kill, name)) for name in (*SERVICES, "kafka", "gateway")),
        *(Disturbance(f"join:{name}", partial(join_and_leave, name)) for name in ("classify", "dispatch", "sla")),
        *(Disturbance(f"stall:{name}", partial(stall, name)) for name in ("dispatch", "sla")),
    ]


SHORT = {
    "kafka": (
        "kill:intake",
        "kill:dispatch",
        "kill:kafka",
        "kill:postgres",
        "relay:dispatch",
        "stall:dispatch",
        "clock:forward",
        "clock:back",
    ),
    "embedded": ("kill:hub", "kill:hub+postgres", "cut:sessions", "relay:intake", "join:sla", "clock:forward"),
}
"""what the short form does, once"""

TROUBLE = (OSError, LookupError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""a disturbance may meet the trouble of the one before; it is tried again"""
