"""Divisions that changed, a city's own list, and names that people use: by date, and back again."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from pathlib import Path

import pytest

from shared.clock import ZONE, ManualClock
from shared.regions import Change, CityDivisions, DivisionDirectory, load, of_city, with_own
from shared.regions.directory import OWN_COLUMNS

HOME = "460100"
HEADER = ",".join(OWN_COLUMNS) + "\n"
FILE = HEADER + (
    "460106005001,滨涯社区,5,460106005,,,,,\n"
    "460107900,江东新区,4,460107,110.5,20.0,2026-06-01,,\n"
    "460106099,旧州街道,4,460106,,,,2026-03-31,460106005\n"
)


def test_an_old_code_and_an_old_name_lead_to_the_present_division() -> None:
    regions = load()
    assert regions.current("330103") == "330105"
    assert regions.current("460106") == "460106"
    place = regions.resolve("杭州市下城区的房东不退押金", HOME)
    assert place.region_code == "330105"
    for change in regions.changes():
        assert regions.get(change.old_code) is None
        assert regions.get(regions.current(change.old_code)) is not None


def test_changes_that_go_round_in_a_circle_end() -> None:
    day = date(2026, 1, 1)
    regions = DivisionDirectory([], [Change(day, "1", "一", "2"), Change(day, "2", "二", "1")])
    assert regions.current("1") in ("1", "2")


def test_a_citys_own_list_holds_from_its_day_to_its_day() -> None:
    spring, summer = with_own(load(), FILE, date(2026, 3, 1)), with_own(load(), FILE, date(2026, 7, 1))
    assert spring.resolve("滨涯社区的井盖坏了", HOME).region_code == "460106005001"
    assert spring.get("460107900") is None
    assert summer.resolve("江东新区停电", HOME).region_code == "460107900"
    assert spring.resolve("旧州街道停水", HOME).region_code == "460106099"
    assert summer.current("460106099") == "460106005"
    assert summer.resolve("旧州街道停水", HOME).region_code == "460106005"
    assert summer.ancestors("460106005001")[:2] == ("460106005", "460106")


@pytest.mark.parametrize("line", ["x,名,4,460106,,,,,", "460106099,名,4,460106,,,2026-13-01,,", "1,2", "1,名,a,2,,,,,"])
def test_a_wrong_line_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "regions.csv").write_text(f"{HEADER}{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"regions.csv: line 2"):
        of_city(tmp_path, date(2026, 1, 1))


def test_names_that_people_use_are_known_at_home_alone() -> None:
    regions = load().with_names({"金色年华小区": "460107", "龙华区": "460108"})
    assert regions.resolve("金色年华小区停电", HOME).region_code == "460107"
    assert regions.resolve("龙华区停电", HOME).region_code == "460106"
    assert regions.resolve("金色年华小区停电", "440300").confidence == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "司机从东往东方向开",
        "情况很不稳定安全",
        "在美兰区上车坐出租车到这里",
        "咨询龙华区的社保怎么办",
        "海南的产假有几天",
    ],
)
def test_words_that_only_look_like_a_place_of_the_case_decide_nothing(text: str) -> None:
    assert load().resolve(text, HOME).confidence == 0.0


def test_two_names_that_agree_place_a_question_too() -> None:
    place = load().resolve("咨询龙华区海垦街道的社保怎么办", HOME)
    assert (place.region_code, place.confidence >= 0.35) == ("460106005", True)


def test_a_change_takes_effect_on_its_day_and_nothing_is_read_again_before(tmp_path: Path) -> None:
    (tmp_path / "regions.csv").write_text(FILE, encoding="utf-8")
    clock = ManualClock(datetime(2026, 3, 31, 9, tzinfo=ZONE))
    divisions = CityDivisions(tmp_path, clock)
    spring = divisions.present
    clock.set(datetime(2026, 3, 31, 23, 59, tzinfo=ZONE))
    assert divisions.today() is spring
    clock.set(datetime(2026, 4, 1, 0, 0, tzinfo=ZONE))
    assert divisions.today().current("460106099") == "460106005"
    assert spring.current("460106099") == "460106099"


class _Watched(CityDivisions):
    """Counts the looks at the city's folder."""

    looks = 0

    def today(self) -> DivisionDirectory:
        self.looks += 1
        return super().today()


async def test_a_clock_that_is_turned_often_leads_to_a_look_at_the_file_only_on_another_day(tmp_path: Path) -> None:
    (tmp_path / "regions.csv").write_text(FILE, encoding="utf-8")
    clock = ManualClock(datetime(2026, 3, 31, 9, tzinfo=ZONE))
    divisions = _Watched(tmp_path, clock)
    used: list[DivisionDirectory] = []
    following = asyncio.create_task(divisions.follow(used.append))
    try:
        for _ in range(10):
            clock.advance(60)
            await asyncio.sleep(0.03)
        assert (divisions.looks, used) == (1, [])
        clock.set(datetime(2026, 4, 1, 0, 0, tzinfo=ZONE))
        async with asyncio.timeout(2):
            while not used:
                await asyncio.sleep(0.01)
        assert (divisions.looks, used[0].current("460106099")) == (2, "460106005")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
