"""Conditions of a query with their numbered parameters, and the row scope among them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows a caller may see; None: no limit of that kind. `regions` are prefixes of region codes."""

    units: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None


class Where:
    """Conditions with their numbered parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        for value in values:
            self.values.append(value)
            condition = condition.replace("?", f"${len(self.values)}", 1)
        self.conditions.append(condition)

    def scope(self, scope: Scope, lead: str, region: str, *, helpers: bool) -> None:
        if scope.units is not None:
            if helpers:
                self.add(f"({lead} = ANY(?) OR (co_handlers && ? AND co_handlers <> '{{}}'))", *[list(scope.units)] * 2)
            else:
                self.add(f"{lead} = ANY(?)", list(scope.units))
        if scope.regions is not None:
            self.add(f"{region} LIKE ANY(?)", [f"{prefix}%" for prefix in scope.regions])

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"
