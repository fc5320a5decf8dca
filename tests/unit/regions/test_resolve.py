"""From words to a region: sentences of our own, seen from 海口 unless said otherwise."""

import pytest

from shared.regions import load

REGIONS = load()
HOME = "460100"


@pytest.mark.parametrize(
    ("text", "home", "code"),
    [
        ("海口市龙华区海垦街道办事处", HOME, "460106005"),
        ("龙华区大同路街道办事处门口", HOME, "460106004"),
        ("美兰灵山镇的菜市场太脏", HOME, "460108101"),
        ("琼山区的路灯不亮", HOME, "460107"),
        ("美兰机场出发层堵车", HOME, "460108"),
        ("三亚市吉阳区的酒店不退押金", HOME, "460203"),
        ("深圳龙华区的房东不退押金", HOME, "440309"),
        ("北京市朝阳区建国路", HOME, "110105"),
        ("房山区城关街道", "110000", "110111001"),
        ("龙华天天堵车", "440300", "440309"),
    ],
)
def test_the_deepest_chain_of_names_is_the_place(text: str, home: str, code: str) -> None:
    place = REGIONS.resolve(text, home)
    assert place.region_code == code
    assert place.confidence >= 0.35


@pytest.mark.parametrize("text", ["", "路灯不亮", "海口市", "我是湖北省人,想问医保", "中华人民共和国", "请和平解决"])
def test_without_a_named_place_it_is_the_home_platform_without_confidence(text: str) -> None:
    place = REGIONS.resolve(text, HOME)
    assert (place.region_code, place.confidence) == (HOME, 0.0)


def test_two_districts_are_kept_as_candidates_and_the_city_is_the_answer() -> None:
    place = REGIONS.resolve("从龙华区到美兰区的公交太少", HOME)
    assert place.region_code == HOME
    assert {code for code, _ in place.candidates} == {"460106", "460108"}


def test_a_street_named_after_a_township_is_weak_evidence() -> None:
    road = REGIONS.resolve("海甸五西路有坑", HOME)
    township = REGIONS.resolve("海甸街道有坑", HOME)
    assert township.region_code == "460108004"
    assert road.confidence < township.confidence


def test_a_namesake_elsewhere_does_not_win_over_home() -> None:
    assert REGIONS.resolve("龙泉镇的水管爆了", HOME).region_code == "460106104"


def test_coordinates_alone_give_a_county_with_modest_confidence() -> None:
    place = REGIONS.resolve("路灯坏了", HOME, lon=110.3284, lat=20.0310)
    assert place.region_code == "460106"
    assert place.confidence == 0.5


@pytest.mark.parametrize(("lon", "lat"), [(0.0, 0.0), (20.0, 110.3), (181.0, 91.0), (float("nan"), 20.0)])
def test_impossible_coordinates_are_ignored(lon: float, lat: float) -> None:
    assert REGIONS.resolve("路灯坏了", HOME, lon=lon, lat=lat).confidence == 0.0


def test_long_and_odd_texts_are_harmless() -> None:
    for text in ("龙华区" * 6000, "\0" * 10, "😀海口", "区" * 20000):
        assert 0.0 <= REGIONS.resolve(text, HOME).confidence <= 1.0
