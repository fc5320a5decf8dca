"""Units from a CSV file: plain rows, or templates that are expanded over a platform's region tree.

Columns: `code,name,kind,region,supervisor,matters,duty_contact` and, may be left out,
`per,state,valid_from,valid_to,successor,capacity,absences`. A row with `per` is a template: `platform` makes one unit,
`district` one per county-level region, `street` one per township of the platform's subtree. In its cells `{region}` and
`{name}` are that region's code and name, `{parent}` its parent's code, `{platform}` the platform's code, `{office}`
办事处 or 人民政府 as the kind of township has it. `matters` are prefixes of matter codes separated by `|`; so are
`absences`, each `2026-10-01/2026-10-07` or with who stands in, `2026-10-01/2026-10-07/460100-roads`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.dispatch.domain.matters import NO_MATTERS, Matters
from services.dispatch.domain.regions import Place, Regions
from services.dispatch.domain.sheets import LineError, day, filled, rows, words
from services.dispatch.domain.units import LEVEL_NAMES, Absence, Unit, UnitDirectory, UnitKind, UnitState

REQUIRED = ("code", "name", "kind", "region")
PER_LEVEL = {"district": 3, "street": 4}


@dataclass(frozen=True, slots=True)
class UnitSheet:
    """What a file says: `units` are all of them when `errors` is empty, else nothing may be imported."""

    units: tuple[Unit, ...]
    errors: tuple[LineError, ...]


def read_units(text: str, platform: str, regions: Regions, matters: Matters = NO_MATTERS) -> UnitSheet:
    """Reads and checks a whole file for `platform`.

    Raises SheetError when it is no CSV with the required columns.
    """
    units: dict[str, Unit] = {}
    lines: dict[str, int] = {}
    errors: list[LineError] = []
    below = list(_subtree(platform, regions))
    for line, row in rows(text, REQUIRED):
        try:
            expanded = list(_expanded(row, platform, below, regions))
        except ValueError as error:
            errors.append(LineError(line, "per", str(error)))
            continue
        for cells in expanded:
            unit = _unit(line, cells, regions, matters, errors)
            if unit is None:
                continue
            if unit.code in units:
                errors.append(LineError(line, "code", f"{unit.code} is on line {lines[unit.code]} already"))
                continue
            units[unit.code], lines[unit.code] = unit, line
    errors += _wrong_references(units, lines)
    return UnitSheet(tuple(units.values()), tuple(sorted(errors, key=lambda error: (error.line, error.column))))


def _subtree(root: str, regions: Regions) -> Iterator[Place]:
    for place in regions.children(root):
        yield place
        yield from _subtree(place.code, regions)


def _expanded(
    row: Mapping[str, str], platform: str, below: Iterable[Place], regions: Regions
) -> Iterator[dict[str, str]]:
    per = row.get("per", "")
    if not per:
        yield dict(row)
        return
    if per == "platform":
        own = regions.get(platform)
        places: list[Place] = [own] if own else []
    elif per in PER_LEVEL:
        places = [place for place in below if place.level == PER_LEVEL[per]]
    else:
        raise ValueError(f"{per!r} is not platform, district or street")
    for place in places:
        values = {
            "region": place.code,
            "name": place.name,
            "parent": place.parent,
            "platform": platform,
            "office": "办事处" if place.name.endswith("街道") else "人民政府",
        }
        yield filled(row, values)


def _unit(
    line: int, cells: Mapping[str, str], regions: Regions, known: Matters, errors: list[LineError]
) -> Unit | None:
    before = len(errors)

    def fault(column: str, detail: str) -> None:
        errors.append(LineError(line, column, detail))

    code, name, region = cells["code"], cells["name"], cells["region"]
    for column, cell in (("code", code), ("name", name), ("region", region)):
        if not cell:
            fault(column, "is empty")
    place = regions.get(region)
    ancestors = regions.ancestors(region) if region else ()
    if region and place is None and not ancestors:
        fault("region", f"{region!r} is no known region")
    dates = {}
    for column in ("valid_from", "valid_to"):
        try:
            dates[column] = day(cells.get(column, ""))
        except ValueError as error:
            fault(column, str(error))
    if dates.get("valid_from") and dates.get("valid_to") and dates["valid_from"] > dates["valid_to"]:  # type: ignore[operator]
        fault("valid_to", "lies before valid_from")
    kind, state = cells["kind"], cells.get("state") or "active"
    if kind not in set(UnitKind):
        fault("kind", f"{kind!r} is none of {', '.join(UnitKind)}")
    if state not in set(UnitState):
        fault("state", f"{state!r} is none of {', '.join(UnitState)}")
    matters = words(cells.get("matters", ""))
    for prefix in matters:
        if (wrong := known.fault(prefix)) is not None:
            fault("matters", wrong)
    capacity = cells.get("capacity", "")
    if capacity and not capacity.isdecimal():
        fault("capacity", f"{capacity!r} is no whole number")
    try:
        absences = tuple(_absence(cell) for cell in words(cells.get("absences", "")))
    except ValueError as error:
        fault("absences", str(error))
    if len(errors) > before:
        return None
    return Unit(
        code=code,
        name=name,
        kind=UnitKind(kind),
        # a region that is not listed is a community of its nearest known ancestor
        level=LEVEL_NAMES[place.level if place else 5],
        region_code=region,
        supervisor=cells.get("supervisor") or None,
        matters=matters,
        duty_contact=cells.get("duty_contact", ""),
        state=UnitState(state),
        valid_from=dates["valid_from"],
        valid_to=dates["valid_to"],
        successor=cells.get("successor") or None,
        capacity=int(capacity) if capacity else None,
        absences=absences,
    )


def _absence(cell: str) -> Absence:
    """Raises ValueError."""
    first, _, rest = cell.partition("/")
    last, _, stand_in = rest.partition("/")
    begins, ends = day(first), day(last)
    if begins is None or ends is None or ends < begins:
        raise ValueError(f"{cell!r} is no absence; write it as 2026-10-01/2026-10-07 or …/<who stands in>")
    return Absence(begins, ends, stand_in or None)


def _wrong_references(units: Mapping[str, Unit], lines: Mapping[str, int]) -> Iterator[LineError]:
    centres = [unit for unit in units.values() if unit.kind is UnitKind.CENTRE]
    if len(centres) != 1:
        where = lines[centres[1].code] if centres else 1
        yield LineError(where, "kind", f"there must be exactly one unit of kind centre, not {len(centres)}")
    for unit in units.values():
        stand_ins = [("absences", absence.stand_in) for absence in unit.absences]
        for column, other in (("supervisor", unit.supervisor), ("successor", unit.successor), *stand_ins):
            if other is not None and other not in units:
                yield LineError(lines[unit.code], column, f"{other!r} is no unit of this file")
        if _loops(unit, units):
            yield LineError(lines[unit.code], "supervisor", f"{unit.code} stands above itself")


def _loops(unit: Unit, units: Mapping[str, Unit]) -> bool:
    seen: set[str] = set()
    above = unit.supervisor
    while above is not None and above in units and above not in seen:
        if above == unit.code:
            return True
        seen.add(above)
        above = units[above].supervisor
    return False


@dataclass(frozen=True, slots=True)
class UnitDiff:
    """Codes that an import would add, change or take away."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def compare(present: UnitDirectory | None, proposed: Iterable[Unit]) -> UnitDiff:
    """What would become different if `proposed` were activated."""
    old = present.units if present else {}
    new = {unit.code: unit for unit in proposed}
    return UnitDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(code for code in new.keys() & old.keys() if new[code] != old[code])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )
