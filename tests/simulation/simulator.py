"""Plays schedules, one after the other, on one database that is made for it and emptied between them."""

import asyncio
import gc
import logging
import random
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg

import shared.db.database
from shared.bus.inbox import Inbox
from shared.db.database import _speak_json
from shared.db.migrate import migrate
from shared.testing.postgres import fresh_database
from tests.simulation import pipeline
from tests.simulation.judge import Breach, judge
from tests.simulation.loop import SimulatedLoop
from tests.simulation.postgres import Server
from tests.simulation.world import Stuck, World, paced

RUNTIME_TABLES = ("outbox", "inbox_offsets", "inbox_events", "inbox_sequences", "inbox_early", "timers", "dead_letters")
EVERY_TABLE = (*pipeline.OWN_TABLES, *(f"{schema}.{name}" for schema in pipeline.SCHEMAS for name in RUNTIME_TABLES))
EMPTY = "SELECT public.emptied()"
EMPTYING = (  # a function keeps the plans of its statements
    "CREATE FUNCTION public.emptied() RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
    f" {';'.join([*(f'DELETE FROM {table}' for table in EVERY_TABLE), pipeline.BEGIN])}; END $$"
)
SWEEP = f"TRUNCATE {', '.join((*EVERY_TABLE, 'a.keys', 'b.keys'))}; {pipeline.BEGIN}"
SWEEP_EACH = 100
"""schedules after which dead rows are swept away"""


@dataclass
class Played:
    """One schedule, over."""

    seed: int
    breaches: list[Breach]
    trace: list[tuple[float, str, str, str]]
    deadlocks: int
    words: list[str] = field(default_factory=list)
    """what the runtime logged, when asked for"""

    @property
    def fingerprint(self) -> int:
        """The same for the same sequence of gates."""
        return hash(tuple(self.trace))

    def story(self) -> str:
        """The trace, to be read."""
        lines = [
            f"{step:5d} {instant:9.3f}s  {who:14s} {what}{f'   << {fate} >>' if fate else ''}"
            for step, (instant, who, what, fate) in enumerate(self.trace)
        ]
        return "\n".join([*lines, *(f"      {breach.rule}: {breach.what}" for breach in self.breaches)])


class Simulator:
    """Plays seeds. Make it with `simulator`."""

    def __init__(self, loop: SimulatedLoop, server: Server, control: Any) -> None:
        self.loop = loop
        self.server = server
        self.control = control
        self.played = 0

    def play(self, seed: int, *, listen: bool = False) -> Played:
        """One schedule, from an empty database to the judgement."""
        return self.loop.run_until_complete(self._play(seed, listen))

    async def _play(self, seed: int, listen: bool) -> Played:
        random.seed(seed)  # the runtime's jitter
        self.loop.instant = 0.0
        world = World(self.loop, self.server, self.control, seed)
        breaches: list[Breach] = []
        with _listening(world if listen else None):
            try:
                await world.run()
            except Stuck as stuck:
                breaches.append(Breach("it ends", str(stuck)))
            await world.close()
        breaches += await judge(world)
        self.played += 1
        if self.played % SWEEP_EACH == 0:
            await world.scheduler.beside(lambda: self.control.execute(SWEEP))
        else:
            await world.scheduler.beside(lambda: self.control.fetchval(EMPTY))
        return Played(seed, breaches, world.scheduler.trace, world.scheduler.deadlocks)


@contextmanager
def _listening(world: World | None) -> Iterator[None]:
    """The runtime's own words become part of the trace, or are not said at all."""
    root = logging.getLogger("shared")
    was = root.level, root.propagate
    handler = _IntoTrace(world)
    root.addHandler(handler)
    root.propagate = False
    root.setLevel(logging.DEBUG if world else logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(was[0])
        root.propagate = was[1]


class _IntoTrace(logging.Handler):
    def __init__(self, world: World | None) -> None:
        super().__init__()
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        if self.world is not None:
            more = getattr(record, "error", "") or (record.exc_info[1] if record.exc_info else "")
            self.world.scheduler.note("  log", f"{record.getMessage()} {more}")


@contextmanager
def simulator(server_url: str) -> Iterator[Simulator]:
    """A simulator with a database of its own on a real server; the database user must be a superuser."""
    loop = SimulatedLoop()
    with tempfile.TemporaryDirectory() as folder:
        plain = asyncio.new_event_loop()
        try:
            made = _database(server_url, Path(folder))
            url = plain.run_until_complete(anext(made))
            try:
                server = Server(url)
                control: Any = loop.run_until_complete(asyncpg.connect(url, max_cached_statement_lifetime=0))
                loop.run_until_complete(_speak_json(control))
                with mock.patch.object(shared.db.database, "asyncpg", server), paced():
                    gc.collect()
                    gc.freeze()  # what is loaded by now stays; looking through it again and again is dear
                    yield Simulator(loop, server, control)
                for backend in [backend for free in server.free.values() for backend in free]:
                    backend.pg.terminate()
                control.terminate()
            finally:
                plain.run_until_complete(made.aclose())
        finally:
            plain.close()
            loop.close()


async def _database(server_url: str, folder: Path) -> AsyncGenerator[str, None]:
    async with fresh_database(server_url) as url:
        for schema in pipeline.SCHEMAS:
            await migrate(url, schema, folder / "none")
        connection: Any = await asyncpg.connect(url)
        try:
            await connection.execute(pipeline.TABLES + pipeline.BEGIN)
            await connection.execute(EMPTYING)
            for schema in pipeline.SCHEMAS:
                async with connection.transaction():
                    await Inbox(schema).care(connection)  # today's partitions
            name = await connection.fetchval("SELECT current_database()")
            for setting in ("synchronous_commit = off", "deadlock_timeout = '1h'", "jit = off"):
                await connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
        finally:
            await connection.close()
        yield url


def run(simulating: Simulator, seeds: Sequence[int], seconds: float | None = None) -> Iterator[Played]:
    """Play seeds, as many as `seconds` allow."""
    end = None if seconds is None else time.monotonic() + seconds
    for seed in seeds:
        if end is not None and time.monotonic() > end:
            return
        yield simulating.play(seed)
