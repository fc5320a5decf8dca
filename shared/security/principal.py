"""Who calls, and which rows he may see (api.md: roles × row scope of region × unit)."""

from dataclasses import dataclass, field
from typing import Literal

from shared.errors import Problem

Role = Literal["seat", "handler", "supervisor", "leader", "auditor", "platform", "admin"]
ROLES: frozenset[str] = frozenset(("seat", "handler", "supervisor", "leader", "auditor", "platform", "admin"))


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a token. Empty `units` / `regions` = no limit of that kind (but a handler needs units)."""

    sub: str
    roles: frozenset[str]
    units: frozenset[str] = field(default_factory=frozenset)
    regions: frozenset[str] = field(default_factory=frozenset)
    platform: str | None = None

    @property
    def actor(self) -> str:
        """As it stands in events: `unit:<code>` for a handler of one unit, else `user:<sub>`."""
        if "handler" in self.roles and len(self.units) == 1:
            return f"unit:{next(iter(self.units))}"
        return f"user:{self.sub}"

    def has(self, *roles: str) -> bool:
        """Whether one of `roles` is his; admin may everything."""
        return "admin" in self.roles or not self.roles.isdisjoint(roles)

    def require(self, *roles: str) -> None:
        """Raises `Problem` 403 unless one of `roles` is his."""
        if not self.has(*roles):
            raise Problem(
                403,
                "forbidden",
                f"This needs one of the roles {', '.join(roles)}; the token has "
                f"{', '.join(sorted(self.roles)) or 'none'}.",
            )

    def sees_unit(self, *units: str | None) -> bool:
        """Row scope by unit: true without a limit or when one of `units` is his."""
        if "admin" in self.roles:
            return True
        if not self.units:
            return "handler" not in self.roles or self.has("seat", "supervisor", "leader", "auditor")
        return any(unit in self.units for unit in units if unit)

    def sees_region(self, code: str) -> bool:
        """Row scope by region code: his regions hold everything below them (prefix of the GB/T 2260 code)."""
        if "admin" in self.roles or not self.regions:
            return True
        return any(within(code, region) for region in self.regions)


def within(code: str, root: str) -> bool:
    """Whether region `code` lies in `root` by the shape of GB/T 2260 codes (6 digits to county, then longer)."""
    trimmed = root
    if len(root) == 6:
        trimmed = root[:2] if root.endswith("0000") else root[:4] if root.endswith("00") else root
    return code.startswith(trimmed)
