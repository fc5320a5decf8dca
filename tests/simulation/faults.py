"""What goes wrong in a schedule, by its seed: some kinds of trouble, so often, until the budget is spent.

Few kinds at a time find more than all at once: most faults need others to stay away (swarm testing).
"""

from typing import TYPE_CHECKING

from tests.simulation.scheduler import Gate

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedProcess, World

STRIKES = ("kill", "cut", "stall", "clock", "database", "broker")
FATES = ("refused", "cut before", "cut after", "die after", "answer lost", "half done", "done late")


class Faults:
    """The troubles of one schedule."""

    def __init__(self, world: "World", crowded: bool) -> None:
        self.world = world
        random = world.random
        self.budget = random.choice((0, 1, 2, 4, 8))
        self.moves = 12 if crowded else random.choice((0, 0, 3))
        """how often partitions move: cheap, and needed in numbers"""
        kinds = (*STRIKES, *FATES, "handler")
        share = random.choice((0.2, 0.5, 0.9))
        self.kinds = frozenset(kind for kind in kinds if random.random() < share)
        self.strikes = tuple(kind for kind in STRIKES if kind in self.kinds)
        self.rate = random.choice((0.02, 0.05, 0.1))
        self.struck = False

    def wants(self, kind: str) -> bool:
        """Whether this trouble may still happen."""
        return self.budget > 0 and kind in self.kinds

    def spend(self) -> None:
        """One has happened."""
        self.budget -= 1

    def fate_of(self, gate: Gate) -> str:
        """What happens to what a gate lets through."""
        if self.budget <= 0 or not gate.faults:
            return ""
        random = self.world.random
        weight = 5 if gate.what == "COMMIT" or gate.what.startswith("publish") else 1
        if random.random() >= self.rate * weight:
            return ""
        kinds = [kind for kind in (*gate.faults, "die after") if kind in self.kinds]
        if not kinds:
            return ""
        self.spend()
        return random.choice(kinds)

    def due(self) -> bool:
        """Whether something happens by itself now; `strike` does it."""
        if not self.struck and (self.moves or (self.budget > 0 and self.strikes)):
            self.struck = self.world.random.random() < self.rate
        return self.struck

    async def strike(self) -> None:
        """It happens."""
        random = self.world.random
        self.struck = False
        if self.moves and (self.budget <= 0 or not self.strikes or random.random() < 0.6):
            self.moves -= 1
            self._rebalance()
            return
        processes = [process for process in self.world.alive() if not process.stalled]
        if processes:
            self.spend()
            await getattr(self, f"_{random.choice(self.strikes)}")(random.choice(processes))

    async def _kill(self, process: "SimulatedProcess") -> None:
        await self.world.kill(process)

    async def _cut(self, process: "SimulatedProcess") -> None:
        """One of its connections is lost."""
        idle = [connection for connection in process.connections if not connection.busy]
        if idle:
            self.world.scheduler.note(process.name, "loses a connection")
            await self.world.random.choice(idle).lose()

    async def _database(self, _process: "SimulatedProcess") -> None:
        """PostgreSQL restarts: every connection is lost."""
        self.world.scheduler.note("database", "restarts")
        for process in self.world.alive():
            for connection in [connection for connection in process.connections if not connection.busy]:
                await connection.lose()

    async def _stall(self, process: "SimulatedProcess") -> None:
        """It stands still, perhaps so long that its sessions end; then it goes on as if nothing had been."""
        world = self.world
        world.scheduler.note(process.name, "stands still")
        process.stalled = True
        if world.random.random() < 0.6:
            for connection in [connection for connection in process.connections if connection.lock_held]:
                if not connection.busy:
                    await connection.lose()
            for member in process.members:
                member.group.leave(member)
        world.loop.call_later(world.random.choice((0.3, 1.5, 4.0)), self._go_on, process)

    def _go_on(self, process: "SimulatedProcess") -> None:
        if not process.dead:
            process.stalled = False
            self.world.scheduler.note(process.name, "goes on")
            for member in process.members:
                self.world.loop.call_later(self.world.random.choice((0.0, 0.5)), _rejoin, member)

    def _rebalance(self) -> None:
        """Partitions move. Who gets one may hear of it before who loses it."""
        broker = self.world.broker
        name = self.world.random.choice(sorted(broker.groups) or [""])
        if name:
            self.world.scheduler.note("broker", f"balances group {name}")
            broker.groups[name].balance()

    async def _clock(self, process: "SimulatedProcess") -> None:
        """Its clock steps, and is right again a little later."""
        world = self.world
        process.clock.offset = world.random.choice(
            (-3600.0, -2.0, 2.0, 3600.0) if process.service == "b" else (-2.0, 2.0)
        )
        world.scheduler.note(process.name, f"clock steps by {process.clock.offset:+.0f} s")
        world.note_clocks()
        world.loop.call_later(world.random.choice((0.5, 2.5)), self._clock_is_right, process)

    def _clock_is_right(self, process: "SimulatedProcess") -> None:
        process.clock.offset = 0.0
        self.world.note_clocks()  # it may show an instant before anybody else does

    async def _broker(self, _process: "SimulatedProcess") -> None:
        """The broker is away for a while."""
        world = self.world
        world.broker.away = True
        world.scheduler.note("broker", "is away")
        world.loop.call_later(world.random.choice((0.3, 2.0)), setattr, world.broker, "away", False)


def _rejoin(member: object) -> None:
    from tests.simulation.broker import Member

    assert isinstance(member, Member)
    if not member.process.dead and member in member.process.members:  # its worker may have left the group meanwhile
        member.group.join(member)
