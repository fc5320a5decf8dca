"""Who calls, and which rows he may see (api.md: roles × row scope of region × unit)."""

from dataclasses import dataclass, field
from typing import Literal

from shared.errors import Problem
from shared.security.scope import Scope

Role = Literal["seat", "handler", "supervisor", "leader", "auditor", "platform", "admin"]
ROLES: frozenset[str] = frozenset(("seat", "handler", "supervisor", "leader", "auditor", "platform", "admin"))
STAFF = ("seat", "handler", "supervisor", "leader", "auditor")
"""the roles of people, whom row scope limits; `platform` is a machine that sees what it sent"""


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

    @property
    def scope(self) -> Scope:
        """His row scope. admin has no limit, empty `units` or `regions` are none, but a mere handler needs units."""
        if "admin" in self.roles:
            return Scope()
        mere_handler = "handler" in self.roles and not self.has("seat", "supervisor", "leader", "auditor")
        return Scope(self.units if self.units or mere_handler else None, self.regions or None)

    def sees_unit(self, *units: str | None) -> bool:
        """Row scope by unit: true without a limit or when one of `units` is his."""
        return self.scope.sees_unit(*units)

    def sees_region(self, code: str) -> bool:
        """Row scope by region code: his regions hold everything below them."""
        return self.scope.sees_region(code)
