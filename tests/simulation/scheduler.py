"""Who may go on: every await at the edge of a process is a gate, and one gate is opened at a time, chosen by the seed.

A statement that waits for a lock of PostgreSQL is known by `pg_blocking_pids`, never by timing alone; its answer is a
gate of its own once it comes. So the same seed gives the same sequence of gates, whatever the machine does meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

import asyncpg

from tests.simulation.loop import SimulatedLoop

T = TypeVar("T")

PART: ContextVar[str] = ContextVar("part", default="?")
"""which part of its process a task belongs to: client, worker, relay, timers"""


class Process(Protocol):
    """What the scheduler must know of a simulated process."""

    name: str
    dead: bool
    stalled: bool


@dataclass(slots=True, eq=False)
class Gate:
    """A task that waits to go on. The fate it gets says what happens to what it is about to do; "" = as it should."""

    process: Process
    part: str
    what: str
    faults: Sequence[str]
    fate: "asyncio.Future[str]"
    number: int


@dataclass(slots=True, eq=False)
class Statement:
    """A statement that PostgreSQL works on."""

    process: Process | None
    pid: int
    what: str
    waited: bool = False
    victim: bool = False


@dataclass
class Scheduler:
    """Gates, statements on their way, the clock, and the trace of what was chosen."""

    loop: SimulatedLoop
    random: Random
    control: Any = None
    pids: set[int] = field(default_factory=set)
    """backends that are ours: only these count as holders of a lock"""
    waiting: list[Gate] = field(default_factory=list)
    running: list[Statement] = field(default_factory=list)
    blocked: list[Statement] = field(default_factory=list)
    doomed: list[Process] = field(default_factory=list)
    trace: list[tuple[float, str, str, str]] = field(default_factory=list)
    deadlocks: int = 0
    released: bool = False
    """whether locks may have become free since somebody looked"""
    rivals: bool = False
    """whether who has claimed records is held up until others of its service are about to claim theirs"""
    claimed: set[tuple[str, str]] = field(default_factory=set)
    """process and part of those who are between claim and commit"""
    priorities: dict[str, float] | None = None
    """None: every gate is equally likely; otherwise each part keeps a rank, which changes now and then"""

    @property
    def step(self) -> int:
        """How many choices were made: the order in which things happened."""
        return len(self.trace)

    def note(self, who: str, what: str, fate: str = "") -> None:
        """One more line of the trace."""
        self.trace.append((self.loop.instant, who, what, fate))

    async def gate(self, process: Process, what: str, faults: Sequence[str] = ()) -> str:
        """Wait for the turn; returns the fate. A dead process never comes back from here."""
        if process.dead:
            raise asyncio.CancelledError
        gate = Gate(process, PART.get(), what, faults, self.loop.create_future(), self.step)
        self.waiting.append(gate)
        try:
            return await gate.fate
        finally:
            if gate in self.waiting:
                self.waiting.remove(gate)

    async def doom(self, process: Process) -> None:
        """The process dies here: nothing of it goes on."""
        self.doomed.append(process)
        await self.loop.create_future()

    @contextmanager
    def _on_its_way(self, statement: Statement, may_wait: bool = False) -> Iterator[None]:
        self.loop.network.may_wait = may_wait or bool(self.running)
        self.running.append(statement)
        self.loop.network.in_flight += 1
        try:
            yield
        finally:
            if statement in self.blocked:
                self.blocked.remove(statement)
            else:
                self.running.remove(statement)
                self.loop.network.in_flight -= 1

    async def statement(
        self,
        process: Process,
        pid: int,
        what: str,
        run: Callable[[], Awaitable[T]],
        *,
        may_wait: bool = True,
        releases: bool = True,
    ) -> T:
        """Let PostgreSQL work for `process`; when it had to wait for a lock the answer waits for its turn. `may_wait`:
        whether anybody could hold one. `releases`: whether its end lets others go on, as that of a commit."""
        statement = Statement(process, pid, what)
        try:
            with self._on_its_way(statement, may_wait):
                self.released |= releases
                try:
                    answer = await run()
                except BaseException:
                    self.released = True  # an error ends the transaction
                    raise
        except asyncpg.QueryCanceledError:
            if process.dead:
                raise asyncio.CancelledError from None
            if not statement.victim:
                raise
            await self.gate(process, f"deadlock: {what}")
            raise asyncpg.DeadlockDetectedError("deadlock detected") from None
        except Exception:
            if statement.waited:
                await self.gate(process, f"answer: {what}")
            raise
        if statement.waited:
            await self.gate(process, f"answer: {what}")
        if process.dead:
            raise asyncio.CancelledError
        return answer

    async def beside(self, run: Callable[[], Awaitable[T]]) -> T:
        """PostgreSQL works for the simulation itself."""
        self.released = True
        with self._on_its_way(Statement(None, 0, "")):
            return await run()

    async def settle(self, at_once: Callable[[], bool]) -> None:
        """Until nothing goes on by itself: tasks stand at gates or sleep, statements have answered or wait for a
        lock that a task at a gate holds. As long as `at_once` can say what comes next, it is asked."""

        def choose() -> bool:
            return not (self.blocked and self.released) and at_once()

        while True:
            idle = await self.loop.settled(choose)
            if idle and not (self.blocked and self.released):
                return
            if await self._look_for_locks() and idle:
                return

    async def _look_for_locks(self) -> bool:
        """Sort statements into running and blocked; True when nothing changed and none runs."""
        open_ = sorted(
            (statement for statement in (*self.running, *self.blocked) if statement.process is not None),
            key=lambda statement: (statement.process.name if statement.process else "", statement.what),
        )
        rows = await self.beside(
            lambda: self.control.fetch(
                "SELECT pid, pg_blocking_pids(pid) AS by FROM unnest($1::int[]) AS pid",
                [statement.pid for statement in open_],
            )
        )
        self.released = False
        holders = {row["pid"]: set(row["by"]) & self.pids for row in rows}
        changed = False
        for statement in open_:
            was = statement in self.blocked
            if was is bool(holders[statement.pid]) or not (was or statement in self.running):
                continue
            changed = True
            if was:
                self._goes_on(statement)
            else:
                statement.waited = True
                self.running.remove(statement)
                self.blocked.append(statement)
                self.loop.network.in_flight -= 1
        for statement in open_:
            if not self.running and statement in self.blocked and _in_a_circle(statement.pid, holders):
                self.deadlocks += 1
                statement.victim = True
                changed = True
                await self.cancel(statement)
                break
        return not changed and not self.running

    async def cancel(self, statement: Statement) -> None:
        """End a statement that waits for a lock, and wait until PostgreSQL has done so."""
        self.released = True
        await self.beside(lambda: self.control.fetchval("SELECT pg_cancel_backend($1)", statement.pid))
        if statement in self.blocked:
            self._goes_on(statement)

    def _goes_on(self, statement: Statement) -> None:
        self.blocked.remove(statement)
        self.running.append(statement)
        self.loop.network.in_flight += 1
        self.loop.network.may_wait = True

    def choices(self) -> list[Gate]:
        """Gates that may be opened, in an order that no timing can change."""
        found = [gate for gate in self.waiting if not gate.process.stalled]
        found.sort(key=lambda gate: (gate.process.name, gate.part, gate.number))
        return found

    def choose(self, gates: Sequence[Gate]) -> Gate:
        """One of them, by the seed."""
        if self.rivals and self.claimed and self.random.random() < 0.8:
            gates = self._rivals(gates) or gates
        if self.priorities is None:
            return gates[int(self.random.random() * len(gates))]
        ranks = self.priorities
        for gate in gates:
            name = f"{gate.process.name}.{gate.part}"
            if name not in ranks:
                ranks[name] = self.random.random()
        chosen = max(gates, key=lambda gate: ranks[f"{gate.process.name}.{gate.part}"])
        if self.random.random() < 0.1:
            ranks[f"{chosen.process.name}.{chosen.part}"] = self.random.random() - 1.0
        return chosen

    def _rivals(self, gates: Sequence[Gate]) -> list[Gate]:
        """Those who do the same work as somebody who has claimed his, and have not claimed theirs."""
        at_work = {(name[0], part) for name, part in self.claimed}
        return [
            gate
            for gate in gates
            if (gate.process.name[0], gate.part) in at_work and (gate.process.name, gate.part) not in self.claimed
        ]

    def open(self, gate: Gate, fate: str = "") -> None:
        """Let it go on."""
        self.waiting.remove(gate)
        who = gate.process.name, gate.part
        if "update" in gate.what and "inbox_offsets" in gate.what:
            self.claimed.add(who)
        elif gate.what in ("COMMIT", "ROLLBACK", "BEGIN"):
            self.claimed.discard(who)
        self.note(f"{gate.process.name}.{gate.part}", gate.what, fate)
        gate.fate.set_result(fate)


def _in_a_circle(start: int, holders: dict[int, set[int]]) -> bool:
    """Whether a backend waits, over others, for itself."""
    seen: set[int] = set()
    open_ = list(holders.get(start, ()))
    while open_:
        pid = open_.pop()
        if pid == start:
            return True
        if pid not in seen:
            seen.add(pid)
            open_ += holders.get(pid, ())
    return False
