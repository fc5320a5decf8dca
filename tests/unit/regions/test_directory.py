"""The division tree: facts of the shipped file and the rules of ancestry (domain.md, Regions)."""

import gc
import time

import pytest

from shared.regions import DivisionDirectory, Region, load
from shared.regions.resolver import short_name

REGIONS = load()


def test_load_gives_the_same_directory_every_time() -> None:
    assert load() is REGIONS


def test_loading_is_quick_enough_for_a_start() -> None:
    # work, not waiting, and the best of a few: other programs of a busy machine do not count
    assert min(_seconds_of_loading() for _ in range(5)) < 1.0


def _seconds_of_loading() -> float:
    load.cache_clear()
    gc.collect()
    began = time.process_time()
    load()
    return time.process_time() - began


def test_a_township_knows_its_district_city_and_province() -> None:
    assert REGIONS.ancestors("460106005") == ("460106", "460100", "460000")


def test_an_unlisted_community_is_a_child_of_its_township() -> None:
    assert REGIONS.get("460106005003") is None
    assert REGIONS.ancestors("460106005003") == ("460106005", "460106", "460100", "460000")


def test_an_unknown_code_has_no_ancestors_and_no_platform() -> None:
    for code in ("", "99", "abc", "000000", "999999999999"):
        assert REGIONS.ancestors(code) == ()
        assert REGIONS.platform_of(code, {"460100"}) is None


def test_containment_is_by_tree_and_includes_itself() -> None:
    assert REGIONS.is_within("460106", "460106")
    assert REGIONS.is_within("460106005", "460000")
    assert not REGIONS.is_within("460100", "460106")
    assert not REGIONS.is_within("469002", "460100")


def test_the_nearest_platform_above_answers_for_a_region() -> None:
    assert REGIONS.platform_of("460106005", {"460000", "460100"}) == "460100"
    assert REGIONS.platform_of("460203", {"460000", "460100"}) == "460000"
    assert REGIONS.platform_of("110101", {"460000", "460100"}) is None


def test_children_come_in_code_order() -> None:
    assert [region.name for region in REGIONS.children("460100")] == ["秀英区", "龙华区", "琼山区", "美兰区"]


def test_a_city_can_add_its_communities() -> None:
    assert isinstance(REGIONS, DivisionDirectory)
    community = Region("460106005003", "金牛社区", 5, "460106005")
    extended = REGIONS.extended([community])
    assert extended.get("460106005003") == community
    assert extended.children("460106005") == (community,)
    assert extended.resolve("海垦街道金牛社区", "460100").region_code == "460106005003"


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("龙华区", "龙华"),
        ("海垦街道", "海垦"),
        ("白沙黎族自治县", "白沙"),
        ("恩施土家族苗族自治州", "恩施"),
        ("广西壮族自治区", "广西"),
        ("新疆维吾尔自治区", "新疆"),
        ("城区", "城区"),
        ("赵县", "赵县"),
    ],
)
def test_short_names_are_what_people_say(full: str, short: str) -> None:
    assert short_name(full) == short
