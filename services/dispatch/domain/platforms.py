"""平台: the other Sushu nodes, and by which path a case reaches one (domain.md, Dispatch 6)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from services.dispatch.domain.regions import Regions


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform owns the region subtree of its `code`; `level` is that region's level (1 province, 2 city …)."""

    code: str
    level: int = 2
    parent: str | None = None
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Platforms that hand cases over directly, until the date `until` (included; None: no end)."""

    platforms: frozenset[str]
    until: date | None = None


@dataclass(frozen=True)
class PlatformDirectory:
    """Who is who among the platforms, seen from `own`; `own` is a member even when the directory leaves it out."""

    own: str
    platforms: Mapping[str, Platform] = field(default_factory=dict)
    agreements: tuple[Agreement, ...] = ()

    @classmethod
    def of(
        cls, own: str, platforms: Iterable[Platform] = (), agreements: Iterable[Agreement] = ()
    ) -> "PlatformDirectory":
        known = {platform.code: platform for platform in platforms}
        known.setdefault(own, Platform(own))
        return cls(own, known, tuple(agreements))

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(self.platforms)

    def path(self, to: str, regions: Regions, on: date) -> tuple[str, ...]:
        """Codes from `own` to `to`, both included; direct under an agreement of the day `on`, else by the tree.

        Empty when no common ancestor platform is known.
        """
        for agreement in self.agreements:
            if {self.own, to} <= agreement.platforms and (agreement.until is None or on <= agreement.until):
                return (self.own, to)
        up, down = self._upwards(self.own, regions), self._upwards(to, regions)
        for index, code in enumerate(up):
            if code in down:
                return (*up[: index + 1], *reversed(down[: down.index(code)]))
        return ()

    def _upwards(self, code: str, regions: Regions) -> list[str]:
        """The platform and those above it: by `parent` as the directory lists it, else by the region tree."""
        way = [code]
        while above := self._above(way[-1], regions):
            if above in way:
                break
            way.append(above)
        return way

    def _above(self, code: str, regions: Regions) -> str | None:
        known = self.platforms.get(code)
        if known is not None and known.parent in self.platforms:
            return known.parent
        return next((above for above in regions.ancestors(code) if above in self.platforms), None)
