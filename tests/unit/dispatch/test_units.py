"""Units, duties and what their files say when they are wrong."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services.dispatch.domain import Duty, DutyKind, DutyList, Unit, UnitDirectory, UnitKind, UnitState
from services.dispatch.domain.duty_import import read_duties
from services.dispatch.domain.matters import Matters
from services.dispatch.domain.sheets import SheetError, decode
from services.dispatch.domain.unit_import import compare, read_units
from shared.regions import load

CITY = Path(__file__).parents[3] / "cities" / "demo"
HEADER = "code,name,kind,region,supervisor,matters,valid_from\n"
CENTRE = "c,热线中心,centre,460100,,,\n"


@pytest.mark.parametrize("platform", ["460100", "440100", "441900", "620200", "360500"])
def test_the_demo_templates_make_at_least_30_units_for_any_city(platform: str) -> None:
    sheet = read_units((CITY / "units.csv").read_text("utf-8"), platform, load())
    assert sheet.errors == ()
    assert len(sheet.units) >= 30
    assert sum(unit.kind is UnitKind.CENTRE for unit in sheet.units) == 1
    assert all(load().is_within(unit.region_code, platform) for unit in sheet.units)


def test_the_demo_duties_name_units_that_exist() -> None:
    units = UnitDirectory.of(read_units((CITY / "units.csv").read_text("utf-8"), "460100", load()).units)
    sheet = read_duties((CITY / "duties.csv").read_text("utf-8"), "460100", units, load())
    assert sheet.errors == ()
    assert {duty.kind for duty in sheet.duties} == {DutyKind.DUTY, DutyKind.ROSTER}


def test_every_wrong_line_is_reported_with_its_number_and_column() -> None:
    text = (
        HEADER
        + CENTRE
        + (
            "a,甲局,department,,c,01,\n"
            "b,乙局,bureau,460100,x,ab,46023\n"
            "a2,丙局,department,460100,b2,,\n"
            "b2,丁局,department,460100,a2,,\n"
            "c,又一中心,centre,460100,,,\n"
        )
    )
    found = {(error.line, error.column) for error in read_units(text, "460100", load()).errors}
    assert found >= {(3, "region"), (4, "kind"), (4, "matters"), (4, "valid_from"), (5, "supervisor"), (7, "code")}


def test_a_file_without_a_centre_is_refused() -> None:
    errors = read_units(HEADER + "a,甲局,department,460100,,01,\n", "460100", load()).errors
    assert [error.column for error in errors] == ["kind"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_files_of_excel_are_read(encoding: str) -> None:
    sheet = read_units(decode((HEADER + CENTRE).encode(encoding)), "460100", load())
    assert [unit.name for unit in sheet.units] == ["热线中心"]


def test_a_file_that_is_no_table_says_what_to_do() -> None:
    with pytest.raises(SheetError, match="UTF-8"):
        decode(b"\x00\x01\xff\xfe")
    with pytest.raises(SheetError, match="lacks"):
        read_units("甲,乙\n1,2\n", "460100", load())


def test_a_matter_that_is_in_no_catalogue_is_told_by_its_line() -> None:
    matters = Matters(["01010101", "01010102", "0201"])
    text = (
        HEADER + CENTRE + "a,甲局,department,460100,c,0101|9|0102|02010101,\n" + "b,乙局,department,460100,c,01|0201,\n"
    )
    found = read_units(text, "460100", load(), matters).errors
    assert [(error.line, error.column, error.detail.split()[0]) for error in found] == [
        (3, "matters", "'9'"),
        (3, "matters", "'0102'"),
        (3, "matters", "'02010101'"),
    ]
    units = UnitDirectory.of(read_units(HEADER + CENTRE, "460100", load()).units)
    duties = (
        "list,matter,region,lead,co_handlers\nduty,0101,460100,c,\nduty,,460100,c,\nduty,03,460100,c,\n"
        "duty,01,460200,c,\nduty,01,460100,x,\nduty,01,460106,c,y|c\n"
    )
    wrong = read_duties(duties, "460100", units, load(), matters).errors
    assert [(error.line, error.column) for error in wrong] == [
        (4, "matter"),
        (5, "region"),
        (6, "lead"),
        (7, "co_handlers"),
    ]
    assert read_duties(duties, "460100", units, load()).errors[0].line == 5, "nothing is unknown while none is known"


def _unit(code: str, **changes: object) -> Unit:
    fields: dict[str, object] = {"name": code, "kind": UnitKind.DEPARTMENT, "level": "city", "region_code": "460100"}
    return Unit(code=code, **{**fields, **changes})  # type: ignore[arg-type]


def test_a_suspended_unit_is_replaced_by_its_successor_and_a_circle_by_nobody() -> None:
    units = UnitDirectory.of(
        [
            _unit("c", kind=UnitKind.CENTRE),
            _unit("a", state=UnitState.SUSPENDED, successor="b"),
            _unit("b", valid_to=date(2026, 6, 30), successor="d"),
            _unit("d"),
            _unit("x", state=UnitState.SUSPENDED, successor="y"),
            _unit("y", state=UnitState.SUSPENDED, successor="x"),
        ]
    )
    assert (found := units.stand_in("a", date(2026, 6, 30))) is not None
    assert found.code == "b"
    assert (found := units.stand_in("a", date(2026, 7, 1))) is not None
    assert found.code == "d"
    assert units.stand_in("x", date(2026, 7, 1)) is None


def test_an_absent_unit_is_back_the_day_after_and_its_stand_in_works_meanwhile() -> None:
    text = "code,name,kind,region,successor,absences\nc,中心,centre,460100,,\nd,丁局,department,460100,,\n"
    away = "a,甲局,department,460100,c,2026-10-01/2026-10-07/d|2026-12-24/2026-12-26\n"
    units = UnitDirectory.of(read_units(text + away, "460100", load()).units)
    days = [date(2026, 9, 30), date(2026, 10, 1), date(2026, 10, 7), date(2026, 10, 8), date(2026, 12, 25)]
    assert [unit.code for day in days if (unit := units.stand_in("a", day))] == ["a", "d", "d", "a", "c"]
    for wrong in ("2026-10-07/2026-10-01", "2026-10-01", "46023/46024", "2026-10-01/2026-10-07/nobody"):
        (error,) = read_units(text + f"a,甲局,department,460100,c,{wrong}\n", "460100", load()).errors
        assert (error.line, error.column) == (4, "absences")


def test_the_diff_names_what_an_import_would_change() -> None:
    present = UnitDirectory.of([_unit("c", kind=UnitKind.CENTRE), _unit("a"), _unit("b")])
    diff = compare(present, [_unit("c", kind=UnitKind.CENTRE), _unit("a", name="新名"), _unit("d")])
    assert (diff.added, diff.changed, diff.removed) == (("d",), ("a",), ("b",))


def test_a_roster_entry_past_midnight_holds_on_both_sides() -> None:
    from datetime import time

    night = Duty("n", DutyKind.ROSTER, "", "460100", "a", from_time=time(20), to_time=time(8))
    at = [datetime(2026, 5, 1, hour, tzinfo=UTC) for hour in (19, 20, 23, 0, 7, 8)]
    assert [night.holds_at(instant) for instant in at] == [False, True, True, True, True, False]


def test_the_more_specific_matter_wins_then_the_nearer_region_then_the_newer_entry() -> None:
    entries = (
        Duty("1", DutyKind.DUTY, "01", "460106", "near"),
        Duty("2", DutyKind.DUTY, "0101", "460100", "specific"),
        Duty("3", DutyKind.DUTY, "01", "460100", "old", valid_from=date(2025, 1, 1)),
        Duty("4", DutyKind.DUTY, "01", "460100", "new", valid_from=date(2026, 1, 1)),
    )
    lineage = ("460106001", "460106", "460100")
    found = DutyList(entries).holding(DutyKind.DUTY, "01010101", lineage, datetime(2026, 5, 1, tzinfo=UTC))
    assert [entry.lead for entry in found] == ["specific", "near", "new", "old"]
