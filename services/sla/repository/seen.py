"""What a caller may see of sla's tables, all of which name the unit and the region of their rows."""

from shared.db.where import Where
from shared.security.principal import Principal


def seen_by(who: Principal, *conditions: str, unit: str | None = None) -> Where:
    """`conditions`, for rows in the row scope of `who` only and, if given, of one unit."""
    where = Where(*conditions)
    who.scope.narrow(where, region="region_code", units="unit = ANY(?)")
    if unit is not None:
        where.add("unit = ?", unit)
    return where
