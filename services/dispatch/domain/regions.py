"""What dispatch asks of a region directory; `shared.regions` answers it."""

from collections.abc import Collection, Sequence
from typing import Protocol


class Place(Protocol):
    """One region: GB/T 2260 code (6 digits to county, 9 to township), level 1 province … 5 community."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def level(self) -> int: ...
    @property
    def parent(self) -> str: ...


class Regions(Protocol):
    """The region tree (domain.md, Regions, platforms, units)."""

    def get(self, code: str) -> Place | None: ...

    def ancestors(self, code: str) -> Sequence[str]:
        """Codes above, nearest first, without the region itself."""
        ...

    def is_within(self, code: str, root: str) -> bool: ...

    def children(self, code: str) -> Sequence[Place]: ...

    def platform_of(self, code: str, platform_codes: Collection[str]) -> str | None:
        """The nearest ancestor (or the region itself) that is a platform."""
        ...
