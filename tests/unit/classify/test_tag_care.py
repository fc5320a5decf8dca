"""What a month of labels suggests about the tags: merges by meaning, tags without use, phrases that emerge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from services.classify.domain.labels import TagDefinition, TagFamily, TagTier
from services.classify.models.features import Floats
from services.classify.tag_care.finding import Told, emergent, merges, unused
from services.classify.tagger import DictionaryTagger

START = datetime(2026, 7, 1, tzinfo=UTC)


def tag(code: str, *words: str, family: TagFamily = TagFamily.NATURE, tier: TagTier = TagTier.CUSTOM) -> TagDefinition:
    return TagDefinition(code, words[0], family, tier, words)


def told(n: int, text: str, *tags: str, matter: str = "01010101", day: float = 0.0) -> Told:
    return Told(f"a{n}", START + timedelta(days=day), text, f"p{n}", matter, tags)


def encode(texts: Sequence[str]) -> Floats:
    """Points whose first place says whether it is about wages."""
    rows = [[1.0, 0.2] if "薪" in text or "工资" in text else [0.2, 1.0] for text in texts]
    vectors: Floats = (np.array(rows) / np.sqrt(1.04)).astype(np.float32)
    return vectors


def test_two_tags_of_one_meaning_are_proposed_as_one_with_counts() -> None:
    tags = [
        tag("wages", "欠薪"),
        tag("pay", "拖欠工资"),
        tag("noise", "噪音"),
        tag("poor", "低薪", family=TagFamily.SUBJECT),
    ]
    labels = [told(n, "老板拖欠工资不发", "wages", *(["pay"] if n < 12 else [])) for n in range(30)]
    (found,) = merges(tags, labels, encode)
    assert (found.tag, found.word) == ("wages", "pay")
    assert found.detail["appeals_with_both"] == 12
    assert found.detail["appeals"] == 30
    assert len(found.examples) == 3


def test_a_tag_that_nobody_uses_is_proposed_to_retire_unless_it_is_young_or_of_the_base() -> None:
    tags = [tag("old", "旧"), tag("young", "新"), tag("base", "基", tier=TagTier.BASE), tag("used", "用")]
    labels = [told(n, "用", "used") for n in range(1_000)]
    assert [one.tag for one in unused(tags, labels, START, {"young"})] == ["old"]
    assert unused(tags, labels[:999], START, set()) == []


def test_a_phrase_that_many_people_use_lately_is_proposed_with_its_time() -> None:
    before = [told(n, f"第{n}栋楼道灯不亮请修理", day=-40) for n in range(300)]
    recent = [told(n, f"第{n}栋楼道灯不亮请修理", day=n % 28) for n in range(200)]
    harms = ("屋顶漏雨", "阳台进水", "树倒了", "停电", "车被砸", "窗碎了", "水管断了", "路淹了")
    recent += [told(500 + n, f"{n}号摩羯台风{harms[n % 8]}", day=3 + n / 20) for n in range(40)]
    (found,) = emergent(recent, before, {"楼道灯不亮"})
    assert found.word == "摩羯台风"
    assert found.detail["appeals"] == 40
    assert found.detail["appeals_before"] == 0
    assert datetime.fromisoformat(found.detail["valid_from"]) == START + timedelta(days=3)
    assert datetime.fromisoformat(found.detail["valid_to"]) > START + timedelta(days=14)
    assert all(found.word in example["text"] for example in found.examples)


def test_a_phrase_is_told_whole_and_a_part_of_a_known_one_is_none() -> None:
    before = [told(n, f"第{n}栋外墙掉砖", day=-40) for n in range(300)]
    recent = [told(n, f"第{n}栋垃圾没人清运", day=n % 28) for n in range(60)]
    places = ("挡住出口", "占道", "响个不停", "漏电", "倒了")
    recent += [told(100 + n, f"{n}栋门口的共享充电宝智能柜{places[n % 5]}", day=n % 28) for n in range(60)]
    (found,) = emergent(recent, before, {"垃圾没人清"})
    assert found.word == "共享充电宝智能柜"


def test_without_an_earlier_time_nothing_is_new() -> None:
    recent = [told(n, f"{n}号摩羯台风刮倒了树", day=n % 28) for n in range(60)]
    assert emergent(recent, [], set()) == []


def test_one_person_who_repeats_himself_makes_no_phrase() -> None:
    recent = [Told(f"a{n}", START, "隔壁老宅闹鬼真可怕", "p", "01010101", ()) for n in range(50)]
    before = [told(n, "别的事情", day=-40) for n in range(300)]
    assert emergent(recent, before, set()) == []


def test_a_tag_of_an_event_is_set_in_its_time_alone() -> None:
    storm = TagDefinition(
        "storm",
        "摩羯",
        TagFamily.SPACETIME,
        TagTier.CUSTOM,
        ("摩羯",),
        valid_from=START,
        valid_to=START + timedelta(days=7),
    )
    tagger = DictionaryTagger([storm])
    assert [one.code for one in tagger.tags_of("台风摩羯", START)] == ["storm"]
    assert tagger.tags_of("台风摩羯", START + timedelta(days=7)) == ()
    assert tagger.tags_of("台风摩羯", START - timedelta(seconds=1)) == ()
