"""Conditions of a query with their numbered parameters."""

from typing import Any


def prefixed(text: str) -> str:
    """The LIKE pattern of what begins with `text`, whatever characters it has."""
    return _literal(text) + "%"


def containing(text: str) -> str:
    """The LIKE pattern of what has `text` somewhere."""
    return "%" + _literal(text) + "%"


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


class Where:
    """Collects conditions; `str(where)` stands in the query and `where.values` beside it.

    where = Where()
    where.add("status = ?", "open")
    where.add("(lead = ? OR helper = ?)", unit, unit)
    await pg.fetch(f"SELECT … WHERE {where}", *where.values)
    """

    def __init__(self, *conditions: str) -> None:
        self.conditions = list(conditions)
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """Each `?` stands for the next of `values`; a single value stands for every `?`."""
        if len(values) == 1:
            condition = condition.replace("?", self.parameter(values[0]))
        else:
            for value in values:
                condition = condition.replace("?", self.parameter(value), 1)
        self.conditions.append(condition)

    def parameter(self, value: Any) -> str:
        """The place of a value that stands outside the conditions, e.g. after LIMIT."""
        self.values.append(value)
        return f"${len(self.values)}"

    def copy(self) -> "Where":
        """The same conditions and values, to add others to."""
        other = Where(*self.conditions)
        other.values = list(self.values)
        return other

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"
