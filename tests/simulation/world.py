"""One schedule: simulated processes on one broker and one PostgreSQL, and the loop that chooses what happens next."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from unittest import mock

import shared.bus.timers
import shared.bus.worker
import shared.db.database
import shared.outbox.relay
from shared.bus.timers import Timers
from shared.bus.worker import Worker
from shared.db.database import Database
from shared.errors import Poison, Problem, Transient
from shared.outbox.relay import Relay
from shared.service.dead_letter_desk import DeadLetterDesk
from tests.simulation import pipeline
from tests.simulation.broker import Broker, Member, SimulatedTransport
from tests.simulation.faults import Faults
from tests.simulation.loop import SimulatedLoop
from tests.simulation.pipeline import Command, Trouble, Wish
from tests.simulation.postgres import Connection, Server
from tests.simulation.scheduler import PART, Scheduler

START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
STEPS = 5_000
"""more choices than any schedule needs: one that does not end goes in circles"""
SECONDS = 150.0
"""virtual seconds, as STEPS"""

CURRENT: contextvars.ContextVar["SimulatedProcess"] = contextvars.ContextVar("process")

PACES: tuple[tuple[Any, str, Any], ...] = (
    # pauses carry no meaning where time is free; few of them keep a schedule short
    (shared.outbox.relay, "POLL_S", 2.0),
    (shared.bus.timers, "TICK_S", 1.0),
    (shared.bus.timers, "RETRY_S", 0),
    (shared.bus.worker, "BACK_OFF_S", (0.05, 0.2)),
    (shared.bus.worker, "ATTEMPTS", 2),
    (shared.db.database, "plain_url", lambda url: url),  # it is one already, and taking it apart takes time
)


class Stuck(Exception):
    """The schedule does not come to its end."""


@dataclass
class ProcessClock:
    """The clock of one machine: it may go wrong."""

    loop: SimulatedLoop
    offset: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.instant + self.offset)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(eq=False)
class SimulatedProcess:
    """One replica of a service, from its start to its death."""

    name: str
    service: str
    clock: ProcessClock
    dead: bool = False
    stalled: bool = False
    connections: list[Connection] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    worker: Worker | None = None


class World:
    """Everything of one schedule. `run` plays it; the judge looks at what is left."""

    def __init__(self, loop: SimulatedLoop, server: Server, control: Any, seed: int) -> None:
        random = Random(seed)
        self.seed = seed
        self.loop = loop
        self.random = random
        self.control = control
        self.scheduler = Scheduler(loop, random, control, server.pids, priorities={} if random.random() < 0.5 else None)
        self.server = server
        server.scheduler = self.scheduler
        server.process = CURRENT.get
        crowded = random.random() < 0.25
        """several readers of everything, often two of the same partition at once"""
        self.trouble = Trouble(passing=self._passing)
        self.faults = Faults(self, crowded)
        self.broker = Broker(
            self.scheduler,
            pipeline.PARTITIONS,
            disorder=random.choice((0.0, 0.0, 0.1, 0.4)),
            eager=random.random() < 0.5,
            slow_to_lose=crowded,
        )
        self.hurry = random.choice((0.0, 0.0, 0.02, 0.1))
        """how likely time passes while somebody could go on: what he does is slow"""
        self.scheduler.rivals = crowded and random.random() < 0.7
        self.caring = random.random() < 0.25
        """whether workers do their house-keeping at the first start: six statements that most schedules can spare"""
        self.replicas = {"a": random.choice((1, 1, 2)), "b": random.choice((1, 2)), "c": random.choice((1, 1, 2))}
        if crowded:
            self.replicas["b"] = 2
        self.keys = pipeline.KEYS[: random.randint(1, 4)]
        self.commands = [self._command(number) for number in range(random.randint(2, 6))]
        self.open = list(self.commands)
        """nobody works on them"""
        self.acknowledged: set[int] = set()
        if random.random() < (0.6 if crowded else 0.25):
            self._poison()
        if random.random() < 0.25:
            self.trouble.ailing[random.choice(self.keys)] = random.choice((1, 2, 5))
        self.places = list(self.trouble.poison)
        """what never works, at first"""
        self.operator = Random(f"operator {seed}").choice(("", "replay", "discard")) if self.places else ""
        """what a person does about its letter: nothing; mend the cause and replay it; discard it"""
        self.processes: list[SimulatedProcess] = []
        self.starting = 0
        """processes that will start (again)"""
        self.shown: list[tuple[int, datetime]] = []
        """step, and the latest instant that a clock of service b had shown by then; both rise"""
        self._asked_at = -1.0
        self._ill: dict[str, int] = {}

    # --- what is to be done ---------------------------------------------------------------------------------------

    def _command(self, number: int) -> Command:
        random = self.random
        wishes = []
        for _ in range(random.randint(1, 3)):
            kind = random.random()
            wishes.append(
                Wish(
                    random.choice(self.keys),
                    due_in=random.choice((0.0, 0.5, 1.5, 3.0)) if kind < 0.4 else None,
                    stop=0.65 < kind < 0.9,
                    noted=kind > 0.9,
                )
            )
        return Command(number, tuple(sorted(wishes, key=lambda wish: wish.key)))

    def facts_of(self, key: str) -> int:
        """How many facts of a key the commands ask for."""
        return sum(wish.key == key for command in self.commands for wish in command.wishes)

    def _poison(self) -> None:
        key = self.random.choice(self.keys)
        count = self.facts_of(key)
        if count:
            service = self.random.choice(("b", "c"))
            place = (service, pipeline.FACTS, key, self.random.randint(1, count))
            self.trouble.poison[place] = self.random.choice((Poison, ValueError))

    async def _operate(self, database: Database, worker: Worker) -> None:
        """Looks after the open letters of a service until there are none, as a person does over HTTP: who gets an
        error tries again."""
        desk = DeadLetterDesk(worker)
        while True:
            await asyncio.sleep(1.0)
            try:
                async with database.look_up() as pg:
                    letter = await pg.fetchrow(
                        f"SELECT id, topic, key, status FROM {database.schema}.dead_letters"
                        " WHERE status IN ('parked', 'waiting') ORDER BY id LIMIT 1"
                    )
                if letter is None:
                    continue
                if self.operator == "replay":
                    self.trouble.poison.clear()
                if self.operator == "replay" or letter["status"] == "waiting":
                    await desk.replay(letter["id"])
                else:
                    async with database.transaction() as uow:
                        place = await desk.discard(uow, letter["id"])
                    await desk.follow(*place)
            except (Transient, Problem):
                continue
            except (Poison, ValueError):  # it failed again, and is parked again
                continue

    def _passing(self, service: str) -> bool:
        """A passing trouble lasts for some calls of the handler."""
        if not self._ill.get(service) and self.faults.wants("handler") and self.random.random() < 0.1:
            self.faults.spend()
            self._ill[service] = self.random.choice((1, 2, 4, 8))
        if self._ill.get(service):
            self._ill[service] -= 1
            self.scheduler.note(service, "handler has a passing trouble")
            return True
        return False

    # --- processes ------------------------------------------------------------------------------------------------

    def alive(self, service: str | None = None) -> list[SimulatedProcess]:
        """Processes that run, in a fixed order."""
        return [process for process in self.processes if service in (None, process.service)]

    def start(self, service: str, replica: int, generation: int = 1) -> None:
        """A process starts."""
        self.starting -= 1
        name = f"{service}{replica}" + ("" if generation == 1 else f".{generation}")
        process = SimulatedProcess(name, service, ProcessClock(self.loop))
        self.processes.append(process)
        self.scheduler.note(name, "starts")
        self.note_clocks()
        context = contextvars.copy_context()
        context.run(self._build, process, context)

    def _build(self, process: SimulatedProcess, context: contextvars.Context) -> None:
        CURRENT.set(process)
        service = process.service
        database = Database(self.server.url, service, process.clock, platform="1")
        transport = SimulatedTransport(self.broker, process)
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [("relay", Relay(database, transport).run)]
        subscriptions = pipeline.subscriptions(service, self.trouble)
        if subscriptions:
            process.worker = Worker(service, subscriptions, database, transport, decoder=pipeline.decoder)
            if not self.caring and "." not in process.name:  # one that starts again finds what the crash has left
                process.worker._next_care = float("inf")
            parts.append(("worker", process.worker.run))
            if self.operator and process.name[1] == "1" and self.places[0][0] == service:
                worker = process.worker
                parts.append(("operator", lambda: self._operate(database, worker)))
        timers = pipeline.timers(service, self.trouble)
        if timers:
            topics = [subscription.topic for subscription in subscriptions]
            parts.append(("timers", Timers(database, transport, topics, timers).run))
        if service == "a":
            # two in all: of three that wait for one row, PostgreSQL lets chance decide who gets it
            parts += [(f"client{number}", lambda: self._client(database)) for number in range(2 // self.replicas["a"])]
        for name, run in parts:
            own = context.copy()
            own.run(PART.set, name)
            own.run(CURRENT.set, process)
            process.tasks.append(self.loop.create_task(_keep(run), context=own))

    async def _client(self, database: Database) -> None:
        """Carries commands out until there are none; one that fails is asked for again."""
        while self.open:
            command = self.open.pop(0)
            try:
                await pipeline.record(database, command)
            except Transient:
                self.open.append(command)
                await asyncio.sleep(0.05)
                continue
            except BaseException:
                self.open.append(command)  # the client asks another process
                raise
            self.acknowledged.add(command.number)
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.3, 1.0)))

    async def kill(self, process: SimulatedProcess, *, again: bool = True) -> None:
        """The process is gone in this instant; nothing that it still wanted to do happens."""
        self.scheduler.note(process.name, "DIES")
        self.processes.remove(process)
        process.dead = True
        self.scheduler.claimed = {who for who in self.scheduler.claimed if who[0] != process.name}
        for statement in [*self.scheduler.blocked]:
            if statement.process is process:
                await self.scheduler.cancel(statement)
        await self.loop.settled()
        while self.scheduler.running:
            await self.loop.settled()
        for connection in list(process.connections):
            await connection.lose()
        for task in process.tasks:
            task.cancel()
        for gate in [gate for gate in self.scheduler.waiting if gate.process is process]:
            gate.fate.cancel()  # of tasks that the runtime has shielded
        await self.loop.settled()
        for member in process.members:  # the others hear of it when its session has ended
            self.loop.call_later(self.random.choice((0.0, 0.5, 3.0)), member.group.leave, member)
        if again:
            service, replica = process.name[0], int(process.name[1])
            generation = int(process.name.partition(".")[2] or 1) + 1
            self.starting += 1
            self.loop.call_later(self.random.choice((0.0, 0.2, 2.0)), self.start, service, replica, generation)

    def note_clocks(self) -> None:
        """Remember when the clocks of service b first showed an instant."""
        latest = max((process.clock.now() for process in self.alive("b")), default=None)
        if latest is not None and (not self.shown or latest > self.shown[-1][1]):
            self.shown.append((self.scheduler.step, latest))

    # --- the course of things -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play the schedule to its end. Raises `Stuck` when it has none."""
        for service, count in self.replicas.items():
            for replica in range(1, count + 1):
                self.starting += 1
                self.start(service, replica)
        scheduler = self.scheduler
        while True:
            await scheduler.settle(self._choose)
            if scheduler.doomed:
                process = scheduler.doomed.pop()
                if isinstance(process, SimulatedProcess) and not process.dead:
                    await self.kill(process)
            elif scheduler.step > STEPS or self.loop.instant > SECONDS:
                raise Stuck(f"no end after {scheduler.step} steps and {self.loop.instant:.0f} s")
            elif self.faults.struck:
                await self.faults.strike()
            elif not self._choose():
                if not self.faults.struck and self._may_be_over():
                    if await self._finished():
                        return
                elif self.loop.next_timer() is None and not self.faults.struck:
                    raise Stuck("nobody can go on")

    def _choose(self) -> bool:
        """Choose what happens next, if that needs no waiting."""
        scheduler = self.scheduler
        if scheduler.doomed or scheduler.step > STEPS or self.loop.instant > SECONDS or self.faults.due():
            return False
        gates = scheduler.choices()
        if self.random.random() * (len(gates) + 1) < 1 and self._news(idle=False):
            return True
        if gates and not (self.hurry and self.random.random() < self.hurry and self.loop.next_timer() is not None):
            gate = scheduler.choose(gates)
            scheduler.open(gate, self.faults.fate_of(gate))
            return True
        if self._news(idle=not gates):
            return True
        if not gates and self._may_be_over():
            return False
        instant = self.loop.next_timer()
        if instant is None:
            return False
        self.loop.jump(instant)
        scheduler.note("time", f"{instant:.3f}")
        self.note_clocks()
        return True

    def _news(self, *, idle: bool) -> bool:
        """One of the things arrives that are on their way: late records, assignments. False: there is none."""
        members = [
            member
            for process in self.alive()
            for member in process.members
            if member.news is not None and not process.stalled and (idle or not member.only_losses)
        ]
        index = int(self.random.random() * (len(members) + bool(self.broker.late)))
        if index < len(members):
            members[index].hear()
            self.scheduler.note(members[index].process.name, "hears of its partitions")
        elif self.broker.late:
            self.broker.append_late()
        else:
            return False
        return True

    def _may_be_over(self) -> bool:
        """Whether it is worth asking PostgreSQL if everything is done."""
        return not (
            len(self.acknowledged) < len(self.commands)
            or self.starting
            or self.broker.away
            or any(process.stalled for process in self.processes)
            or self.loop.instant < self._asked_at + 0.5
        )

    async def _finished(self) -> bool:
        """Whether everything is done that was asked for."""
        self._asked_at = self.loop.instant
        left = await self.scheduler.beside(lambda: self.control.fetchrow(LEFT))
        read = {(row[0], row[1], row[2]): row[3] for row in left["read"] or ()}
        if self.operator and left["letters"]:
            return False
        return not left["open"] and all(
            read.get((service, place.topic, place.number), 0) >= len(log)
            for place, log in self.broker.log.items()
            for service in ("b", "c")
            if place.topic == pipeline.FACTS or (service == "c" and place.topic == pipeline.COUNTS)
        )

    async def close(self) -> None:
        """End every process, whatever it is doing."""
        for process in self.alive():
            await self.kill(process, again=False)
        self.scheduler.waiting.clear()
        while (instant := self.loop.next_timer()) is not None:
            self.loop.jump(instant)
            await self.loop.settled()


LEFT = (
    "SELECT "
    + " + ".join(f"(SELECT count(*) FROM {name}.outbox) + (SELECT count(*) FROM {name}.timers)" for name in "abc")
    + " + (SELECT count(*) FROM b.inbox_early e JOIN b.inbox_sequences s ON e.topic = s.topic AND e.key = s.key"
    " AND e.sequence = s.last_sequence + 1) AS open, "
    + " + ".join(f"(SELECT count(*) FROM {name}.dead_letters WHERE status IN ('parked', 'waiting'))" for name in "bc")
    + " AS letters, (SELECT json_agg(json_build_array(s, topic, partition, next_offset)) FROM ("
    + " UNION ALL ".join(
        f"SELECT '{name}' AS s, topic, partition, next_offset FROM {name}.inbox_offsets" for name in "bc"
    )
    + ") o) AS read"
)


async def _keep(run: Callable[[], Awaitable[None]]) -> None:
    """A part that fails is started again, as a service's runner does."""
    while True:
        try:
            await run()
            return
        except Exception as error:
            logging.getLogger(__name__).error("a part of the service failed", exc_info=error)
            await asyncio.sleep(1)


@contextmanager
def paced() -> Iterator[None]:
    """The runtime with the pauses of a simulation."""
    with ExitStack() as stack:
        for module, name, value in PACES:
            stack.enter_context(mock.patch.object(module, name, value))
        yield
