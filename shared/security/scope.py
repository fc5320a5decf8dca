"""Row scope: which rows a principal sees, as a rule about one row and as conditions of a query (api.md: region × unit).

Both forms stand here side by side, because a list that shows more than the single rows may show is a leak.
"""

from dataclasses import dataclass

from shared.db.where import Where, prefixed


def prefix(region: str) -> str:
    """What the codes of a region and of everything below it begin with (GB/T 2260: 460000 → 46, 460100 → 4601).

    Only six-digit codes are shortened: in a longer one (street, community) the zeros at the end mean something else.
    """
    if len(region) != 6:
        return region
    return region[:2] if region.endswith("0000") else region[:4] if region.endswith("00") else region


def within(code: str, root: str) -> bool:
    """Whether region `code` is `root` or lies below it, by the shape of the codes."""
    return code.startswith(prefix(root))


@dataclass(frozen=True, slots=True)
class Scope:
    """The units and the regions whose rows one sees; None: no limit of that kind, empty: none at all."""

    units: frozenset[str] | None = None
    regions: frozenset[str] | None = None

    def sees_unit(self, *units: str | None) -> bool:
        """Whether a row that belongs to `units` is visible."""
        return self.units is None or not self.units.isdisjoint(units)

    def sees_region(self, code: str) -> bool:
        """Whether a row of region `code` is visible: a region holds everything below it."""
        return self.regions is None or any(within(code, region) for region in self.regions)

    def narrow(self, where: Where, *, region: str, units: str = "") -> None:
        """Add the same rule to a query: `region` is a column, `units` a condition in which `?` stands for the visible
        units (`"unit = ANY(?)"`; `"units && ?"` for an array); leave it out for rows that belong to no unit."""
        if self.units is not None and units:
            where.add(units, sorted(self.units))
        if self.regions is not None:
            where.add(f"{region} LIKE ANY(?)", [prefixed(prefix(code)) for code in sorted(self.regions)])
