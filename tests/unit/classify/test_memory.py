"""What persons decided about like words: whose voice counts, how much, and what it may never do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.classify.domain.labels import Candidate
from services.classify.domain.recollection import Recollection, Remembered, recalled
from services.classify.domain.similarity import sketch
from services.classify.memory.index import Decided, Index, packed, wording
from tests.unit.classify.test_chain import CATALOGUE

NOW = datetime(2026, 11, 2, tzinfo=UTC)
LAMP, LEAK, WAGE, NOISE = "02010201", "03030101", "07010101", "04010101"
URGENT = next(code for code, matter in CATALOGUE.matters.items() if matter.handling_class == "urgent")
TEXT = "市民来电反映和平路南段整条巷子的路灯坏了半个月，晚上老人不敢出门，请尽快维修"


def said(matter: str, actor: str = "user:wang", similarity: float = 1.0, days: float = 0) -> Remembered:
    return Remembered(matter, actor, NOW - timedelta(days=days), similarity)


def answer(*remembered: Remembered, model: Sequence[tuple[str, float]] = ((LAMP, 0.6), (NOISE, 0.2)), **options: bool):  # type: ignore[no-untyped-def]
    candidates = [Candidate(code, probability) for code, probability in model]
    return recalled(candidates, remembered, now=NOW, catalogue=CATALOGUE, threshold=0.85, **options)


def test_one_decision_about_the_same_words_comes_first_but_a_person_still_looks() -> None:
    candidates, recollection = answer(said(WAGE))
    assert candidates[0].code == WAGE
    assert 0.5 < candidates[0].probability < 0.85
    assert recollection == Recollection(1, 1.0)
    assert len(candidates) == 2, "no more candidates than before"


def test_several_who_agree_are_believed() -> None:
    candidates, _ = answer(*(said(WAGE, f"user:{name}") for name in "abcd"))
    assert candidates[0].code == WAGE
    assert candidates[0].probability > 0.85


def test_who_decides_the_same_a_thousand_times_has_one_voice() -> None:
    once, _ = answer(said(WAGE))
    often, recollection = answer(*(said(WAGE, days=day / 1_000) for day in range(1_000)))
    assert [one.code for one in often] == [one.code for one in once]
    assert often[0].probability == once[0].probability
    assert recollection is not None
    assert recollection.persons == 1
    outvoted, _ = answer(
        *(said(WAGE, "user:mallory") for _ in range(1_000)), said(NOISE, "user:li"), said(NOISE, "user:wang")
    )
    assert outvoted[0].code == NOISE


def test_of_one_persons_decisions_the_last_counts() -> None:
    candidates, _ = answer(said(WAGE, days=3), said(NOISE, days=1), said(WAGE, days=2))
    assert candidates[0].code == NOISE


def test_those_who_contradict_each_other_leave_it_to_a_person() -> None:
    candidates, _ = answer(said(WAGE, "user:li", days=1), said(NOISE, "user:wang"), model=((LAMP, 0.97),))
    assert candidates[0].code == NOISE, "the later of the two"
    assert candidates[0].probability < 0.5


def test_an_old_decision_about_half_the_words_does_not_outweigh_a_sure_model() -> None:
    candidates, recollection = answer(said(WAGE, similarity=0.65, days=30), model=((LAMP, 0.95),))
    assert (candidates[0].code, recollection) == (LAMP, None)


def test_a_matter_that_is_not_in_force_is_not_remembered() -> None:
    assert answer(said("99999999"))[1] is None


@pytest.mark.parametrize("near", [1.0, 0.8])
def test_an_alarm_is_lowered_only_by_two_persons_about_the_same_words(near: float) -> None:
    alarm = ((URGENT, 0.9), (LAMP, 0.05))
    assert answer(said(LAMP, similarity=near), model=alarm)[0][0].code == URGENT
    two = answer(said(LAMP, "user:li", near), said(LAMP, "user:wang", near), model=alarm)[0]
    assert two[0].code == (LAMP if near == 1.0 else URGENT)
    raised = answer(said(URGENT), model=((LAMP, 0.9),))[0]
    assert raised[0].code == URGENT, "raising an alarm needs one"


def test_what_stands_in_for_a_model_never_becomes_sure() -> None:
    candidates, _ = answer(*(said(WAGE, f"user:{name}") for name in "abcdef"), stand_in=True)
    assert candidates[0].code == WAGE
    assert candidates[0].probability <= 0.6


def decided(text: str, matter: str | None, actor: str = "user:wang") -> Decided:
    drawn = sketch(text)
    return Decided(wording(drawn), actor, matter, "1", NOW, packed(drawn))


def test_like_words_are_found_and_others_are_not() -> None:
    index = Index(100)
    index.learn([decided(TEXT, LAMP), decided("公司拖欠三个月工资不发，老板电话也打不通了", WAGE)])
    nearly = TEXT.replace("半个月", "好几天").replace("请尽快维修", "请尽快派人维修")
    ((one, near),) = index.recall(sketch(nearly))
    assert one.matter == LAMP
    assert 0.6 <= near < 1
    assert index.recall(sketch("小区门口的共享单车乱停乱放占用盲道")) == []
    assert index.recall(sketch("😀")) == []


def test_an_overturned_decision_is_forgotten() -> None:
    index = Index(100)
    index.learn([decided(TEXT, LAMP), decided(TEXT, WAGE, "user:li"), decided(TEXT, None)])
    assert [one.matter for one, _ in index.recall(sketch(TEXT))] == [WAGE]


def test_the_index_is_bounded_and_one_person_cannot_fill_it() -> None:
    index = Index(10)
    index.learn([decided(TEXT, LAMP, "user:li")])
    index.learn([decided(TEXT, WAGE, "user:mallory") for _ in range(1_000)])
    assert len(index) == 2
    assert {one.actor for one, _ in index.recall(sketch(TEXT))} == {"user:li", "user:mallory"}
    index.learn([decided(f"{place}路的井盖坏了没有人管请派人来看看", NOISE) for place in "甲乙丙丁戊己庚辛壬癸"])
    assert len(index) == 10
    assert index.recall(sketch(TEXT)) == [], "the oldest gave way, and nothing points at it any more"
