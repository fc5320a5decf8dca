"""承办单位 and who of them answers for a matter at a place (domain.md, Regions, platforms, units)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


class UnitKind(StrEnum):
    """What a unit is; `centre` is the hotline itself, exactly one per platform."""

    CENTRE = "centre"
    GOVERNMENT = "government"
    DEPARTMENT = "department"
    STREET = "street"
    COMMUNITY = "community"
    UTILITY = "utility"
    PROVIDER = "provider"


class UnitState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


LEVEL_NAMES: Mapping[int, str] = {1: "province", 2: "city", 3: "district", 4: "street", 5: "community"}


@dataclass(frozen=True, slots=True)
class Absence:
    """Days (both included) on which a unit cannot work, and who stands in for it; without one its successor does."""

    first: date
    last: date
    stand_in: str | None = None

    def holds_on(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit.

    `matters` are prefixes of matter codes, so "0303" means everything below 公用事业/燃气. `level` is one of
    province/city/district/street/community. `duty_contact` names a role, never a person or a number. The dates bound
    when the unit works (both ends included); `successor` takes its cases while it does not. `capacity` is the
    number of open orders above which its supervisor is asked to help (None: no limit).
    """

    code: str
    name: str
    kind: UnitKind
    level: str
    region_code: str
    supervisor: str | None = None
    matters: tuple[str, ...] = ()
    duty_contact: str = ""
    state: UnitState = UnitState.ACTIVE
    valid_from: date | None = None
    valid_to: date | None = None
    successor: str | None = None
    capacity: int | None = None
    absences: tuple[Absence, ...] = ()

    def absence_on(self, day: date) -> Absence | None:
        """The absence that holds on `day`."""
        return next((absence for absence in self.absences if absence.holds_on(day)), None)

    def takes_over_on(self, day: date) -> str | None:
        """Who has its cases while it does not work."""
        absence = self.absence_on(day)
        return (absence.stand_in if absence else None) or self.successor

    def works_on(self, day: date) -> bool:
        """Active on `day`, the platform's local date, and not absent."""
        return (
            self.state is UnitState.ACTIVE
            and self.absence_on(day) is None
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_to is None or day <= self.valid_to)
        )


def prefixes(matter: str) -> Iterable[str]:
    """The matter's code and each shorter prefix down to "", most specific first."""
    return (matter[:length] for length in range(len(matter), -1, -1))


@dataclass(frozen=True)
class UnitDirectory:
    """The units of one platform at one version of the import, indexed for routing.

    Raises ValueError when there is not exactly one centre: everything else relies on an owner of last resort.
    """

    units: Mapping[str, Unit]
    version: int = 0
    centre: Unit = field(init=False)
    _by_region: dict[str, dict[str, list[Unit]]] = field(init=False, repr=False, default_factory=dict)
    _governments: dict[str, Unit] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        centres = [unit for unit in self.units.values() if unit.kind is UnitKind.CENTRE]
        if len(centres) != 1:
            raise ValueError(f"a platform needs exactly one unit of kind centre, got {len(centres)}")
        object.__setattr__(self, "centre", centres[0])
        for code in sorted(self.units):
            unit = self.units[code]
            # a provider is reached through the social pool only
            if unit.kind is not UnitKind.PROVIDER:
                for prefix in unit.matters:
                    self._by_region.setdefault(unit.region_code, {}).setdefault(prefix, []).append(unit)
            if unit.kind in (UnitKind.GOVERNMENT, UnitKind.STREET):
                self._governments.setdefault(unit.region_code, unit)

    @classmethod
    def of(cls, units: Iterable[Unit], version: int = 0) -> "UnitDirectory":
        return cls({unit.code: unit for unit in units}, version)

    def get(self, code: str) -> Unit | None:
        return self.units.get(code)

    def name(self, code: str) -> str:
        """The Chinese name, or the code itself of a unit that is gone."""
        unit = self.units.get(code)
        return unit.name if unit else code

    def stand_in(self, code: str, day: date) -> Unit | None:
        """The unit itself when it works on `day`, else the first that does of those who stand in or succeed."""
        seen: set[str] = set()
        unit = self.units.get(code)
        while unit is not None and not unit.works_on(day):
            seen.add(unit.code)
            following = unit.takes_over_on(day)
            unit = self.units.get(following) if following and following not in seen else None
        return unit

    def answering(self, matter: str, lineage: Sequence[str]) -> Iterable[Unit]:
        """Units that answer for the matter, nearest region first, within a region the most specific matter first."""
        for region in lineage:
            by_prefix = self._by_region.get(region)
            if by_prefix:
                for prefix in prefixes(matter):
                    yield from by_prefix.get(prefix, ())

    def government_of(self, region: str) -> Unit | None:
        """The district government or street office of the region."""
        return self._governments.get(region)

    def supervisors(self, code: str) -> tuple[Unit, ...]:
        """The chain upwards, nearest first."""
        chain: list[Unit] = []
        unit = self.units.get(code)
        while unit and unit.supervisor and (above := self.units.get(unit.supervisor)) and above not in chain:
            chain.append(above)
            unit = above
        return tuple(chain)
