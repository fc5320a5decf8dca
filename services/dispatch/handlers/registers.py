"""Units and duties: imported with a diff and its impact, activated, added; the set-up of a fresh platform."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from services.dispatch import repository
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.duties import Duty, DutyList
from services.dispatch.domain.duty_import import DutySheet, compare_duties, read_duties
from services.dispatch.domain.matters import Matters
from services.dispatch.domain.sheets import LineError, SheetError, decode
from services.dispatch.domain.unit_import import UnitSheet, compare, read_units
from services.dispatch.domain.units import Absence, Unit, UnitDirectory, UnitKind
from services.dispatch.domain.work_order import WorkOrder
from shared.city import CityError
from shared.clock import ZONE
from shared.db import audit
from shared.db.database import Database
from shared.errors import Problem, Transient, invalid, not_found
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.redaction import clean
from shared.security.principal import Principal

EXAMINED = 5_000
"""orders whose routing an import's impact is worked out for, oldest first"""
PAGE = 500
LISTED = 200
"""moves and matters that the impact of new codes names, the largest first"""

S = TypeVar("S", UnitSheet, DutySheet)

_Orders = Callable[[Any, str, int], Awaitable[list[tuple[WorkOrder, str]]]]


async def _examined(read: _Orders, pg: Any) -> AsyncIterator[tuple[WorkOrder, str]]:
    """The orders by which an import's impact is told: up to the end of the page that reaches `EXAMINED`."""
    seen, after = 0, ""
    while seen < EXAMINED:
        orders = await read(pg, after, PAGE)
        for found in orders:
            yield found
        seen += len(orders)
        if len(orders) < PAGE:
            return
        after = orders[-1][0].id
        await asyncio.sleep(0)  # routing is pure computing: let others in between


class Registers:
    """Writes to the registers that routing reads."""

    def __init__(self, desk: RoutingDesk, database: Database) -> None:
        self.desk = desk
        self.database = database

    async def propose_units(self, data: bytes, who: Principal, uow: Uow) -> dict[str, Any]:
        """Store the units of a CSV file as a version that is not in force yet, with its diff and impact.

        Raises Problem 422 with every wrong line; nothing is stored then.
        """
        at = uow.clock.now()
        matters = Matters(await repository.known_matters(uow.pg, at))
        sheet = _checked(data, lambda text: read_units(text, self.desk.platform, self.desk.regions, matters))
        try:
            await self.desk.refresh(uow.pg)
        except Transient:
            present: UnitDirectory | None = None  # the first import of this platform
        else:
            present = self.desk.units
        diff = compare(present, sheet.units)
        version = await repository.add_units(uow.pg, sheet.units, "import", who.actor, at)
        await audit.record(uow, actor=who.actor, action="units_proposed", subject=str(version), detail=_counts(diff))
        return {
            "version": version,
            "units": len(sheet.units),
            "diff": {"added": diff.added, "changed": diff.changed, "removed": diff.removed},
            "impact": await self._impact(uow, UnitDirectory.of(sheet.units, version), diff.removed, at),
        }

    async def _impact(self, uow: Uow, proposed: UnitDirectory, removed: Sequence[str], at: datetime) -> dict[str, Any]:
        """Orders not accepted yet that would go to another unit, and open orders whose lead would be gone."""
        moved = examined = 0
        if self.desk.ready:
            async for order, text in _examined(repository.waiting_orders, uow.pg):
                examined += 1
                moved += self.desk.decide(order.as_case(text), at, order.returned_by, proposed).lead != order.lead
        without_lead = await repository.open_orders(uow.pg, removed)
        return {
            "orders_examined": examined,
            "orders_to_another_unit": moved,
            "open_orders_of_removed_units": sum(without_lead.values()),
        }

    async def impact_of_codes(
        self, pg: Any, codes: Mapping[str, str], units_version: int | None, at: datetime
    ) -> dict[str, Any]:
        """Unfinished orders that routing would give to another unit if their matter were called what `codes` say.

        Raises Problem 404 for a version of units that was never imported.
        """
        await self.desk.refresh(pg)
        proposed = self.desk.units
        if units_version is not None:
            units = await repository.read_units(pg, units_version)
            if units is None:
                raise not_found(f"The units' version {units_version}")
            proposed = UnitDirectory.of(units, units_version)
        moves: Counter[tuple[str, str]] = Counter()
        without: Counter[str] = Counter()
        examined = 0
        async for order, text in _examined(repository.unfinished_orders, pg):
            examined += 1
            case = order.as_case(text)
            code = codes.get(order.matter)
            if code is None:
                without[order.matter] += 1
                continue
            now = self.desk.decide(case, at, order.returned_by).lead
            then = self.desk.decide(replace(case, matter=code), at, order.returned_by, proposed).lead
            if now != then:
                moves[now, then] += 1
        return {
            "orders_examined": examined,
            "orders_to_another_unit": sum(moves.values()),
            "moves": [
                {
                    "from": before,
                    "from_name": self.desk.units.name(before),
                    "to": then,
                    "to_name": proposed.name(then),
                    "orders": n,
                }
                for (before, then), n in moves.most_common(LISTED)
            ],
            "orders_without_a_successor": sum(without.values()),
            "matters_without_a_successor": [{"matter": code, "orders": n} for code, n in without.most_common(LISTED)],
            "units_version": proposed.version,
        }

    async def activate_units(self, version: int, who: Principal, uow: Uow) -> dict[str, Any]:
        """Put an imported version into force; the next batch of every process uses it."""
        units = await repository.read_units(uow.pg, version)
        if units is None:
            raise not_found(f"The units' version {version}")
        if (kept := await self._with_absences(uow, units)) != units:
            version = await repository.add_units(uow.pg, kept, "import", who.actor, uow.clock.now())
        await repository.activate_units(uow.pg, version, who.actor, uow.clock.now())
        await audit.record(uow, actor=who.actor, action="units_activated", subject=str(version))
        return {"version": version, "units": len(units), "active": True}

    async def _with_absences(self, uow: Uow, units: list[Unit]) -> list[Unit]:
        """Units of a file with what was said by hand of absences that are not over: a file knows nothing of them."""
        try:
            await self.desk.refresh(uow.pg)
        except Transient:
            return units  # the first of this platform
        codes = {unit.code for unit in units}
        today = yesterday(uow.clock.now()) + timedelta(days=1)
        kept = []
        for unit in units:
            before = self.desk.units.get(unit.code)
            here = [
                absence
                for absence in (before.absences if before else ())
                if absence.last >= today
                and absence not in unit.absences
                and (absence.stand_in is None or absence.stand_in in codes)
            ]
            kept.append(replace(unit, absences=(*unit.absences, *here)))
        return kept

    async def add_absence(self, code: str, absence: Absence, reason: str, who: Principal, uow: Uow) -> dict[str, Any]:
        """A unit cannot work for some days: a version of the units that differs in that alone is in force at once.
        Cases that it has stay with it; new ones go to who stands in.

        Raises Problem 404 for no unit, 422 for days that are over or taken, and who cannot stand in.
        """
        await self.desk.refresh(uow.pg)
        unit = self.desk.units.get(code)
        if unit is None:
            raise not_found(f"The unit {code}")
        if unit.kind is UnitKind.CENTRE:
            raise invalid("/", "the centre is the owner of last resort and cannot be absent")
        if absence.last <= yesterday(uow.clock.now()) or absence.last < absence.first:
            raise invalid("/to", "lies in the past or before /from")
        if any(absence.first <= other.last and other.first <= absence.last for other in unit.absences):
            raise invalid("/from", "the unit is absent on some of these days already")
        if absence.stand_in is not None and (absence.stand_in == code or not self.desk.accountable(absence.stand_in)):
            raise invalid("/stand_in", f"{absence.stand_in!r} is no other unit that can handle orders")
        changed = replace(unit, absences=(*unit.absences, absence))
        units = [changed if one.code == code else one for one in self.desk.units.units.values()]
        at = uow.clock.now()
        version = await repository.add_units(uow.pg, units, "absence", who.actor, at)
        await repository.activate_units(uow.pg, version, who.actor, at)
        await audit.record(uow, actor=who.actor, action="unit_absent", subject=code, reason=clean(reason))
        return unit_view(changed)

    async def import_duties(self, data: bytes, activate: bool, who: Principal, uow: Uow) -> dict[str, Any]:
        """The duty list and roster of a CSV file in the place of those imported before: what that changes, and whom
        it would move; in force with `activate`. Entries of rulings and of persons stay.

        Raises Problem 422 with every wrong line; nothing is changed then.
        """
        await self.desk.refresh(uow.pg)
        at = uow.clock.now()
        matters = Matters(await repository.known_matters(uow.pg, at))
        desk = self.desk
        sheet = _checked(data, lambda text: read_duties(text, desk.platform, desk.units, desk.regions, matters))
        present = self.desk.duties.entries
        diff = compare_duties(present, sheet.duties)
        gone = {duty.id for duty in diff.removed}
        added = [replace(duty, id=uuid7()) for duty in diff.added]
        proposed = DutyList((*(duty for duty in present if duty.id not in gone), *added))
        impact = await self._moves(uow, at, duties=proposed)
        if activate:
            await repository.replace_duties(uow.pg, sorted(gone), added, who.actor, at)
            counts = {"added": len(added), "removed": len(gone)}
            await audit.record(uow, actor=who.actor, action="duties_imported", subject="duties", detail=counts)
        return {
            "duties": len(sheet.duties),
            "diff": {
                "added": [duty_view(duty, self.desk.units) for duty in added[:LISTED]],
                "removed": [duty_view(duty, self.desk.units) for duty in diff.removed[:LISTED]],
                "added_count": len(added),
                "removed_count": len(gone),
                "unchanged": diff.unchanged,
            },
            "impact": impact,
            "active": activate,
        }

    async def _moves(self, uow: Uow, at: datetime, *, duties: DutyList) -> dict[str, Any]:
        """Orders not accepted yet that would go to another unit by other duties, and from whom to whom."""
        moves: Counter[tuple[str, str]] = Counter()
        examined = 0
        async for order, text in _examined(repository.waiting_orders, uow.pg):
            examined += 1
            then = self.desk.decide(order.as_case(text), at, order.returned_by, duties=duties).lead
            if then != order.lead:
                moves[order.lead, then] += 1
        return {
            "orders_examined": examined,
            "orders_to_another_unit": sum(moves.values()),
            "moves": [{"from": old, "to": new, "orders": n} for (old, new), n in moves.most_common(LISTED)],
        }

    async def add_duty(self, duty: Duty, who: Principal, uow: Uow) -> dict[str, Any]:
        """A new entry of the duty list or the roster."""
        await self.desk.refresh(uow.pg)
        for pointer, code in (
            ("/lead", duty.lead),
            *((f"/co_handlers/{n}", c) for n, c in enumerate(duty.co_handlers)),
        ):
            if not self.desk.accountable(code):
                raise invalid(pointer, f"{code!r} is no unit that can handle orders; GET /v1/units lists them")
        matters = Matters(await repository.known_matters(uow.pg, uow.clock.now()))
        if (wrong := matters.fault(duty.matter)) is not None:
            raise invalid("/matter", wrong)
        if not self.desk.regions.is_within(duty.region_code, self.desk.platform):
            raise invalid("/region_code", f"{duty.region_code!r} is no region of this platform")
        await repository.add_duties(uow.pg, [duty], who.actor, uow.clock.now())
        await audit.record(uow, actor=who.actor, action="duty_added", subject=duty.id, reason=duty.note or None)
        return duty_view(duty, self.desk.units)

    async def end_duty(self, duty_id: str, last: date | None, reason: str, who: Principal, uow: Uow) -> dict[str, Any]:
        """An entry holds until `last`, at once no longer when that is left out; it stays as a record.

        Raises Problem 404, or 422 for a day before yesterday: what was decided by it stays as it was.
        """
        await self.desk.refresh(uow.pg)
        gone = yesterday(uow.clock.now())
        if last is not None and last < gone:
            raise invalid("/valid_to", f"lies before {gone}: what was decided by it meanwhile stays as it is")
        ended = await repository.end_duties(uow.pg, last or gone, duty_id=duty_id)
        if not ended:
            raise not_found(f"The duty {duty_id}")
        await audit.record(uow, actor=who.actor, action="duty_ended", subject=duty_id, reason=clean(reason))
        return duty_view(ended[0], self.desk.units)

    async def set_up(self, units_csv: bytes, duties_csv: bytes | None) -> None:
        """Units and duties of the city for a database that has none; safe to repeat and from two processes at once.

        Raises CityError that names every wrong line.
        """
        async with self.database.transaction() as uow:
            await uow.pg.execute("SELECT pg_advisory_xact_lock(hashtextextended('dispatch/set-up', 0))")
            if "units" in await repository.registry_versions(uow.pg):
                return
            sheet = read_units(decode(units_csv), self.desk.platform, self.desk.regions)
            _require("units.csv", sheet.errors)
            at = uow.clock.now()
            version = await repository.add_units(uow.pg, sheet.units, "city", "system:setup", at)
            await repository.activate_units(uow.pg, version, "system:setup", at)
            if duties_csv is None:
                return
            known = UnitDirectory.of(sheet.units)
            duties = read_duties(decode(duties_csv), self.desk.platform, known, self.desk.regions)
            _require("duties.csv", duties.errors)
            await repository.add_duties(uow.pg, duties.duties, "system:setup", at)


def yesterday(at: datetime) -> date:
    """The last day of what holds no longer at `at`, in the platform's zone."""
    return at.astimezone(ZONE).date() - timedelta(days=1)


def _require(file: str, errors: Sequence[LineError]) -> None:
    if errors:
        lines = "\n".join(f"line {error.line}, {error.column}: {error.detail}" for error in errors[:20])
        raise CityError(f"{file} of the city cannot be imported, {len(errors)} faults:\n{lines}")


def _checked(data: bytes, read: Callable[[str], S]) -> S:
    """A file as read, without a fault. Raises Problem 422 for what is no table, else with a pointer `/<line>/<column>`
    for every fault."""
    try:
        sheet = read(decode(data))
    except SheetError as error:
        raise Problem(422, "invalid", str(error), errors=[{"pointer": "/", "detail": str(error)}]) from error
    faults = sorted(sheet.errors, key=lambda fault: (fault.line, fault.column))
    if not faults:
        return sheet
    first = faults[0]
    detail = f"{len(faults)} faults, nothing is imported; the first: line {first.line}, {first.column}: {first.detail}"
    places = [{"pointer": f"/{fault.line}/{fault.column}", "detail": fault.detail} for fault in faults]
    raise Problem(422, "invalid", detail, errors=places)


def _counts(diff: Any) -> dict[str, int]:
    return {"added": len(diff.added), "changed": len(diff.changed), "removed": len(diff.removed)}


def unit_view(unit: Unit) -> dict[str, Any]:
    """A unit as api.md answers it."""
    return {
        "code": unit.code,
        "name": unit.name,
        "kind": unit.kind.value,
        "level": unit.level,
        "region_code": unit.region_code,
        "supervisor": unit.supervisor,
        "matters": list(unit.matters),
        "duty_contact": unit.duty_contact,
        "state": unit.state.value,
        "valid_from": unit.valid_from.isoformat() if unit.valid_from else None,
        "valid_to": unit.valid_to.isoformat() if unit.valid_to else None,
        "successor": unit.successor,
        "capacity": unit.capacity,
        "absences": [
            {"from": one.first.isoformat(), "to": one.last.isoformat(), "stand_in": one.stand_in}
            for one in unit.absences
        ],
    }


def duty_view(duty: Duty, units: UnitDirectory) -> dict[str, Any]:
    """An entry of the duty list or roster as api.md answers it."""
    return {
        "id": duty.id,
        "list": duty.kind.value,
        "matter": duty.matter,
        "region_code": duty.region_code,
        "lead": duty.lead,
        "lead_name": units.name(duty.lead),
        "co_handlers": list(duty.co_handlers),
        "valid_from": duty.valid_from.isoformat() if duty.valid_from else None,
        "valid_to": duty.valid_to.isoformat() if duty.valid_to else None,
        "from_time": duty.from_time.isoformat("minutes") if duty.from_time else None,
        "to_time": duty.to_time.isoformat("minutes") if duty.to_time else None,
        "source": duty.source,
        "note": duty.note,
    }
