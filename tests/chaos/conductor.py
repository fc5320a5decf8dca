"""The conductor: disturbs in a seeded order and measures how soon the stack is back to normal each time."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.disturbances import SHORT, TROUBLE, Disturbance, NotPossible, repertoire
from tests.chaos.ledger import Ledger
from tests.chaos.scene import Scene

NORMAL_WITHIN_S = 30.0
"""the bar for every kill"""
GIVE_UP_S = 120.0
FRESH = 20
"""so many appeals, stored after the stack said that it is ready again, must get their orders"""


@dataclass
class Incident:
    """One disturbance as it went."""

    name: str
    round: int
    seconds: float | None = None
    """from its begin until back to normal; None when that never came, or when it was not possible"""
    not_possible: str | None = None
    still: list[str] = field(default_factory=list)
    """what was wrong when the conductor gave up"""

    @property
    def kind(self) -> str:
        return self.name.split(":")[0]


class Conductor:
    """Plays `rounds` rounds of everything (or once what `short` names) against a stack under load."""

    def __init__(
        self, scene: Scene, ledger: Ledger, seed: int, *, calm_s: float = 2.0, say: Callable[[str], None] = print
    ) -> None:
        """`calm_s`: seconds of undisturbed work between two disturbances."""
        self.scene = scene
        self.ledger = ledger
        self.chance = random.Random(seed)
        self.calm_s = calm_s
        self.say = say
        self.incidents: list[Incident] = []

    def plan(self, rounds: int, *, short: bool = False, only: Sequence[str] = ()) -> list[tuple[int, Disturbance]]:
        """(round, disturbance) in their order: a matter of the seed alone. `only` names some, played as they stand.

        Raises `KeyError` for a name that this transport does not know."""
        every = repertoire(self.scene.transport)
        if only:
            known = {one.name: one for one in every}
            return [(number, known[name]) for number in range(1, rounds + 1) for name in only]
        if short:
            names = SHORT[self.scene.transport]
            every = [one for one in every if one.name in names]
        order: list[tuple[int, Disturbance]] = []
        for number in range(1, rounds + 1):
            order += [(number, one) for one in self.chance.sample(every, len(every))]
        return order

    async def play(self, plan: Iterable[tuple[int, Disturbance]]) -> None:
        """All of them, one after the other."""
        for number, disturbance in plan:
            await asyncio.sleep(self.calm_s)
            incident = Incident(disturbance.name, number)
            self.incidents.append(incident)
            began = time.monotonic()
            try:
                began = await self._disturb(disturbance)
            except NotPossible as why:
                incident.not_possible = str(why)
            # what lasts long by intention (a stall, a second process) is measured from its end
            since = began if disturbance.kind == "kill" else time.monotonic()
            incident.still = await self._normal(since)
            incident.seconds = None if incident.still else round(time.monotonic() - since, 1)
            self.say(
                f"round {number}  {disturbance.name:<18}"
                + (f" {incident.seconds:5.1f} s" if incident.seconds is not None else f" NEVER: {incident.still}")
                + (f"  (not possible: {incident.not_possible})" if incident.not_possible else "")
            )

    async def _disturb(self, disturbance: Disturbance) -> float:
        """Do it, again when the trouble of the one before was in the way; returns when it began."""
        give_up = time.monotonic() + 20
        while True:
            began = time.monotonic()
            try:
                await disturbance.do(self.scene, self.chance)
                return began
            except TROUBLE as error:
                if time.monotonic() > give_up:
                    raise NotPossible(repr(error)) from error
                await asyncio.sleep(0.5)

    async def _normal(self, since: float) -> list[str]:
        """Wait until everything is ready and appeals that are stored from then on get their orders; [] then, else
        what is wrong."""
        wrong = ["not asked yet"]
        fresh_from: float | None = None
        watched: list[str] = []
        while time.monotonic() < since + GIVE_UP_S:
            wrong = await self.scene.ready()
            if wrong:
                fresh_from, watched = None, []
                await asyncio.sleep(0.2)
                continue
            if fresh_from is None:
                fresh_from = time.monotonic()
            if len(watched) < FRESH:
                watched = [appeal for at, appeal in self._latest() if at > fresh_from]
                wrong = [f"{len(watched)} appeals stored since it is ready"]
                await asyncio.sleep(0.2)
                continue
            try:
                missing = await self.scene.undispatched(watched)
            except TROUBLE as error:
                wrong = [repr(error)]
            else:
                if not missing:
                    return []
                wrong = [f"{missing} of {len(watched)} fresh appeals have no order"]
            await asyncio.sleep(0.2)
        return wrong

    def _latest(self) -> list[tuple[float, str]]:
        return self.ledger.stored_appeals[-2000:]
