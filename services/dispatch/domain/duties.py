"""职责清单 and 值班表: dated entries that say who answers for a matter at a place, whatever the general rule says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum

from services.dispatch.domain.units import prefixes


class DutyKind(StrEnum):
    """`duty`: an entry of the duty list (imported or left by a ruling); `roster`: who is on emergency duty."""

    DUTY = "duty"
    ROSTER = "roster"


@dataclass(frozen=True, slots=True)
class Duty:
    """One entry: `lead` answers for matters under the prefix `matter` ("" = any) inside `region_code`.

    `valid_from` and `valid_to` are local dates, both included. `from_time`/`to_time` bound a roster entry inside the
    day, local time; a span that passes midnight (`20:00`–`08:00`) is meant. `source` is `import`, `manual`, or
    `ruling:<dispute id>`.
    """

    id: str
    kind: DutyKind
    matter: str
    region_code: str
    lead: str
    co_handlers: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None
    from_time: time | None = None
    to_time: time | None = None
    source: str = "import"
    note: str = ""

    def holds_at(self, local: datetime) -> bool:
        """True when the entry is in force at `local`, a datetime in the platform's zone."""
        day, clock = local.date(), local.time()
        if (self.valid_from and day < self.valid_from) or (self.valid_to and day > self.valid_to):
            return False
        if self.from_time is None or self.to_time is None or self.from_time == self.to_time:
            return True
        if self.from_time < self.to_time:
            return self.from_time <= clock < self.to_time
        return clock >= self.from_time or clock < self.to_time


@dataclass(frozen=True)
class DutyList:
    """All entries of one platform, indexed by matter prefix and region."""

    entries: tuple[Duty, ...] = ()
    version: int = 0
    _index: dict[tuple[DutyKind, str], dict[str, list[Duty]]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._index.setdefault((entry.kind, entry.region_code), {}).setdefault(entry.matter, []).append(entry)
        for by_matter in self._index.values():
            for entries in by_matter.values():
                # the newest entry wins, so a ruling overrides what was imported before it
                entries.sort(key=lambda entry: (entry.valid_from or date.min, entry.id), reverse=True)

    def holding(self, kind: DutyKind, matter: str, lineage: Sequence[str], local: datetime) -> Iterable[Duty]:
        """Entries in force at `local`: the most specific matter first, then the nearest region."""
        nearest = [index for region in lineage if (index := self._index.get((kind, region)))]
        if not nearest:
            return
        for prefix in prefixes(matter):
            for by_matter in nearest:
                for entry in by_matter.get(prefix, ()):
                    if entry.holds_at(local):
                        yield entry
