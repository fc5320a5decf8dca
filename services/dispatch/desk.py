"""The routing desk: units, duties and rules of one platform in memory, asked for every case.

Units and duties are read again when their version in the database changed, so every replica decides by what is in
force, and a batch costs one small query instead of many.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prometheus_client import Counter

from services.dispatch import repository
from services.dispatch.domain import (
    Case,
    Context,
    Decision,
    DutyList,
    HandlingClass,
    PlatformDirectory,
    RoutingRule,
    UnitDirectory,
    contest_until,
    decide,
    return_until,
)
from services.dispatch.domain.commands import Dispatch, Relabel
from services.dispatch.domain.regions import Regions
from services.dispatch.domain.units import UnitKind
from services.dispatch.domain.work_order import WorkingTime
from services.dispatch.rules.guard import Guard
from shared.clock import ZONE
from shared.db.database import Database
from shared.errors import Transient
from shared.ids import uuid7

RULE_FAILURES = Counter("sushu_routing_rule_failures_total", "Rules that raised or answered nonsense", ["rule"])

LOAD_AGE_S = 15.0
"""real seconds for which the counts of open orders are good enough"""
NAMES_AGE_S = 1.0
"""real seconds for which the units' names are good enough; routing looks at every batch"""


@dataclass(slots=True)
class RoutingDesk:
    """`refresh` before use; everything else is in memory."""

    platforms: PlatformDirectory
    regions: Regions
    rules: Sequence[RoutingRule]
    working_time: WorkingTime
    guard: Guard = field(default_factory=Guard)
    trouble: str | None = None
    """why routing must not be done: the rules or the platform directory cannot be used"""
    rules_trouble: str | None = None
    """the part of it that a better directory does not mend"""
    _units: UnitDirectory | None = None
    duties: DutyList = field(default_factory=DutyList)
    open_orders: dict[str, int] = field(default_factory=dict)
    _limited: tuple[str, ...] = ()
    _looked_at: float = 0.0
    _counted_at: float = 0.0
    _rules_off: int = 0

    @property
    def platform(self) -> str:
        return self.platforms.own

    @property
    def units(self) -> UnitDirectory:
        """Raises Transient before the first `refresh` and while no units are imported."""
        if self._units is None:
            raise _no_units()
        return self._units

    @property
    def ready(self) -> bool:
        return self._units is not None

    def use_regions(self, present: Regions) -> None:
        """Route and check by this directory from the next case and the next file on."""
        self.regions = present

    async def refresh(self, pg: Any, age_s: float = 0.0) -> None:
        """Read again what changed; `age_s`: how long ago (real seconds) the last look may be, for who only names units.

        Raises Transient when no units are in force or the rules cannot be used.
        """
        if self.trouble is not None:
            raise Transient(self.trouble)
        if self.ready and time.monotonic() - self._looked_at < age_s:
            return
        versions = await repository.registry_versions(pg)
        self._looked_at = time.monotonic()
        wanted = versions.get("units")
        if wanted is not None and (self._units is None or self._units.version != wanted):
            units = await repository.read_units(pg, wanted)
            if units is not None:
                self._units = UnitDirectory.of(units, wanted)
                self._limited = tuple(unit.code for unit in units if unit.capacity is not None)
        if versions.get("duties", 0) != self.duties.version:
            self.duties = DutyList(await repository.read_duties(pg), versions.get("duties", 0))
        if versions.get("rules_off", 0) != self._rules_off:
            await self._read_rules_off(pg)
            self._rules_off = versions["rules_off"]
        if not self.ready:
            raise _no_units()
        if self._limited and time.monotonic() - self._counted_at > LOAD_AGE_S:
            self._counted_at = time.monotonic()
            self.open_orders = await repository.open_orders(pg, self._limited)

    async def _read_rules_off(self, pg: Any) -> None:
        """Somebody switched a rule off, or on again."""
        off = await repository.rules_off(pg)
        for name in self.guard.off.keys() - off.keys() - self.guard.unsaved.keys():
            del self.guard.off[name]
            self.guard.turned_on(name)
        self.guard.off.update({name: why for name, (why, _) in off.items()})

    async def keep_rules_off(self, database: Database) -> None:
        """Store which rules were switched off here, so that every replica knows; until cancelled."""
        while True:
            await self.guard.news.wait()
            self.guard.news.clear()
            for name, why in list(self.guard.unsaved.items()):
                try:
                    async with database.transaction() as uow:
                        await repository.switch_off(uow.pg, name, why, uow.clock.now())
                except Transient:
                    self.guard.news.set()
                    await asyncio.sleep(1)
                    break
                self.guard.unsaved.pop(name, None)

    def decide(
        self,
        case: Case,
        at: datetime,
        without: frozenset[str] = frozenset(),
        units: UnitDirectory | None = None,
        *,
        rules: Sequence[RoutingRule] | None = None,
        duties: DutyList | None = None,
    ) -> Decision:
        """The chain's decision at `at`; `without` are units that returned the case. `units`, `rules` and `duties` are
        others to try."""
        context = Context(
            now=at,
            zone=ZONE,
            regions=self.regions,
            units=units or self.units,
            duties=self.duties if duties is None else duties,
            platforms=self.platforms,
            without=without,
            open_orders=self.open_orders,
        )
        with self.guard.watching():
            decision = decide(self.rules if rules is None else rules, case, context, self.guard.ask)
        for rule in decision.failures:
            RULE_FAILURES.labels(rule).inc()
        return decision

    def dispatch(
        self,
        case: Case,
        at: datetime,
        cause: str,
        *,
        without: frozenset[str] = frozenset(),
        label: Relabel | None = None,
    ) -> Dispatch:
        """The command that gives an order to whom the chain names."""
        decision = self.decide(case, at, without)
        return Dispatch(
            decision=decision,
            cause=cause,
            return_until=self.return_until(decision.handling_class, at),
            handoff_id=uuid7() if decision.platform else "",
            label=label,
        )

    def return_until(self, handling_class: HandlingClass, at: datetime) -> datetime:
        """The last instant at which a lead may return what is dispatched to it at `at`."""
        return return_until(handling_class, at, self.working_time)

    def contest_until(self, handling_class: HandlingClass, at: datetime) -> datetime:
        """The last instant at which a party may contest a ruling given at `at`."""
        return contest_until(handling_class, at, self.working_time)

    def path(self, platform: str, at: datetime) -> tuple[str, ...]:
        """The way of a hand-over, own and receiver included."""
        return self.platforms.path(platform, self.regions, at.astimezone(ZONE).date()) or (self.platform, platform)

    def reaches(self, platform: str, at: datetime) -> bool:
        """Whether a case may be handed to this other platform today."""
        on = at.astimezone(ZONE).date()
        return platform != self.platform and len(self.platforms.path(platform, self.regions, on)) > 1

    def accountable(self, code: str) -> bool:
        """Whether a person may give a case to this unit."""
        unit = self.units.get(code)
        return unit is not None and unit.kind is not UnitKind.PROVIDER


def _no_units() -> Transient:
    return Transient("no units are in force yet: import them (POST /v1/units/import) or run the set-up")
