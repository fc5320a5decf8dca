"""Repeats and same events: who is like whom, by words, place, time and person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.classify.domain.likeness import Bounds, Said, repeats, same_events
from services.classify.domain.same_event import keys, places
from services.classify.domain.similarity import sketch

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
EVENT = Bounds(0.5, timedelta(days=7))
REPEAT = Bounds(0.6, timedelta(days=30))
FLOOD = "滨河路积水很深，车子开不过去，行人也没法走，请尽快派人来抽水"
FLOOD_TOO = "你好，滨河路积水很深，车子开不过去，走路也没法走，请派人来抽水"
FLOOD_ELSEWHERE = "民生街积水很深，车子开不过去，行人也没法走，请尽快派人来抽水"


def said(name: str, text: str, *, minutes: int = 0, who: str = "", region: str = "460106") -> Said:
    drawn = sketch(text)
    return Said(name, NOW + timedelta(minutes=minutes), who or name, region, drawn, keys(text, drawn))


def event_of(new: Said, *known: Said) -> str | None:
    (link,) = same_events([new], [known], EVENT)
    return link.appeal_id if link else None


def test_the_names_of_places_are_told_by_their_ends() -> None:
    assert places("在金龙路和龙昆北路交叉口，靠近望海小区") == ("在金龙路", "龙昆北路", "望海小区")
    assert places("请问公积金怎么提取") == ()


def test_two_texts_about_one_place_share_a_key_and_about_two_places_none() -> None:
    assert set(said("a", FLOOD).keys) & set(said("b", FLOOD_TOO).keys)
    assert not set(said("a", FLOOD).keys) & set(said("b", FLOOD_ELSEWHERE).keys)
    assert said("c", "积水很深，请派人来抽水").keys == ()


def test_another_citizen_about_the_same_place_speaks_of_the_same_event() -> None:
    first = said("a", FLOOD)
    assert event_of(said("b", FLOOD_TOO, minutes=90), first) == "a"
    assert event_of(said("b", FLOOD_TOO, minutes=90, who="a"), first) is None, "the same citizen repeats himself"
    assert event_of(said("b", FLOOD_TOO, minutes=60 * 24 * 8), first) is None, "a week later it is another event"
    assert event_of(said("b", FLOOD_TOO, minutes=90, region="460107"), first) is None, "in another district"
    assert event_of(said("b", FLOOD_TOO, minutes=90, region="4601"), first) == "a", "of the city, district unknown"


def test_many_at_once_are_joined_to_the_first_of_them_whatever_their_order() -> None:
    crowd = [said(str(n), FLOOD, minutes=n) for n in range(5)]
    for order in (crowd, crowd[::-1]):
        links = dict(zip((one.appeal_id for one in order), same_events(order, [[]] * 5, EVENT), strict=True))
        assert {name: link.appeal_id if link else None for name, link in links.items()} == {
            "0": None,
            **{str(n): "0" for n in range(1, 5)},
        }


def test_a_repeat_is_the_same_citizen_wherever_it_is() -> None:
    first, again = said("a", FLOOD, who="x"), said("b", FLOOD + "！", minutes=5, who="x", region="460107")
    assert [link.appeal_id if link else None for link in repeats([again, first], {}, REPEAT)] == ["a", None]
    assert repeats([again], {"x": [first]}, REPEAT)[0] is not None
    anonymous = Said("c", NOW, "", "460106", first.sketch)
    assert repeats([anonymous], {"": [first]}, REPEAT) == [None]


def test_numbers_of_tickets_do_not_make_texts_differ() -> None:
    assert sketch("工单 20180401123456 至今没有人处理") == sketch("工单 20180401654321 至今没有人处理")
