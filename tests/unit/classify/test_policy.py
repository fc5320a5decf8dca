"""From candidates to a label: class, kind and review."""

from __future__ import annotations

import pytest

from services.classify.domain.catalogue import Catalogue, HandlingClass, Kind, Matter
from services.classify.domain.labels import Candidate, Label, ReviewReason
from services.classify.domain.policy import decide, kind_of
from services.classify.domain.similarity import similarity, sketch
from tests.unit.classify.kind_sentences import KINDS

GAS = Matter("03030101", ("公用事业", "燃气", "燃气安全与服务", "燃气泄漏"), HandlingClass.URGENT, Kind.HELP)
BILL = Matter("03030102", ("公用事业", "燃气", "燃气安全与服务", "燃气收费"), HandlingClass.GENERAL, Kind.CONSULT)
CATALOGUE = Catalogue.of("1", [GAS, BILL])


def label(text: str, code: str, probability: float, *, degraded: bool = False) -> Label:
    return decide(
        text,
        [Candidate(code, probability)],
        (),
        catalogue=CATALOGUE,
        threshold=0.85,
        model="m",
        degraded=degraded,
    )


def test_at_the_threshold_nobody_needs_to_look() -> None:
    assert label("燃气费怎么算", "03030102", 0.85).review is None


def test_below_the_threshold_a_person_looks() -> None:
    assert label("燃气费怎么算", "03030102", 0.8499).review is ReviewReason.LOW_CONFIDENCE


def test_rules_alone_are_reviewed_as_degraded() -> None:
    found = label("燃气费怎么算", "03030102", 0.5, degraded=True)
    assert found.review is ReviewReason.DEGRADED
    assert found.degraded


def test_safety_words_raise_the_class_whatever_the_model_says() -> None:
    found = label("家里燃气漏气了，燃气费也贵", "03030102", 0.99)
    assert found.handling_class is HandlingClass.URGENT
    assert found.review is ReviewReason.SAFETY_WORD
    assert found.safety


def test_an_unsure_model_alone_raises_no_alarm() -> None:
    found = label("我想问一下那个表的事", "03030101", 0.3)
    assert found.handling_class is HandlingClass.LIVELIHOOD
    assert found.needs_review


def test_a_sure_model_alone_raises_the_class_and_is_reviewed_beside() -> None:
    found = label("厨房里味道很大", "03030101", 0.95)
    assert found.handling_class is HandlingClass.URGENT
    assert found.review is ReviewReason.URGENT_BY_MODEL


@pytest.mark.parametrize("text", ["厨房的燃气已经不漏气了，谢谢", "燃气泄漏报警器坏了怎么换", "去年燃气泄漏过，问赔偿"])
def test_a_sure_model_raises_no_alarm_where_the_words_deny_the_danger(text: str) -> None:
    found = label(text, "03030101", 0.99)
    assert found.handling_class is HandlingClass.LIVELIHOOD
    assert found.review is ReviewReason.DANGER_DENIED


def test_words_and_model_that_agree_need_nobody() -> None:
    found = label("厨房里燃气管漏气", "03030101", 0.95)
    assert found.handling_class is HandlingClass.URGENT
    assert found.review is None


def test_nothing_known_still_gives_a_label() -> None:
    found = decide("？", (), (), catalogue=Catalogue.of("0", []), threshold=0.8, model="rules", degraded=True)
    assert found.matter is None
    assert found.handling_class is HandlingClass.GENERAL
    assert found.needs_review


def test_kind_follows_the_words_then_the_matter() -> None:
    assert kind_of("请问公租房怎么申请", GAS) is Kind.CONSULT
    assert kind_of("感谢民警帮我找到钱包", GAS) is Kind.PRAISE
    assert kind_of("建议增设一个红绿灯", GAS) is Kind.SUGGESTION
    assert kind_of("我要举报偷排污水", BILL) is Kind.REPORT
    assert kind_of("厨房里味道很大", GAS) is Kind.HELP
    assert kind_of("厨房里味道很大", None) is Kind.OTHER


def test_similar_texts_are_near_and_different_ones_far() -> None:
    first = sketch("和平路12号小区电梯坏了一个星期没有人修，老人下不了楼")
    again = sketch("和平路12号小区电梯坏了一个多星期了没人修，老人下不了楼！")
    other = sketch("请问大学毕业生创业补贴在哪里申请，需要什么材料")
    assert similarity(first, first) == 1.0
    assert similarity(first, again) > 0.6
    assert similarity(first, other) < 0.1
    assert similarity((), first) == 0.0


def test_sketches_of_long_texts_estimate_the_overlap() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(500))
    half = text[:250] + "".join(chr(0x7000 + number) for number in range(250))
    assert 0.2 < similarity(sketch(text), sketch(half)) < 0.5


@pytest.mark.parametrize(
    "text", ["燃气费纠纷法院已经判决，还是要反映", "不服仲裁裁决，要求重新处理燃气费", "已提起诉讼，燃气费先别扣"]
)
def test_what_may_be_out_of_bounds_is_only_proposed_to_a_person_however_unsure_the_matter_is(text: str) -> None:
    for probability in (0.99, 0.3):
        found = label(text, "03030102", probability)
        assert found.review is ReviewReason.OUT_OF_BOUNDS
        assert (found.matter, found.handling_class) == ("03030102", HandlingClass.GENERAL)


@pytest.mark.parametrize(
    "text", ["燃气费的事想去法院立案，怎么办", "法院门口路灯不亮，燃气费怎么交", "咨询如何申请仲裁"]
)
def test_who_asks_the_way_to_a_court_is_inside_the_bounds(text: str) -> None:
    assert label(text, "03030102", 0.99).review is None


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KINDS.items() for text in texts])
def test_the_words_show_the_kind(kind: str, text: str) -> None:
    assert kind_of(text, None) == kind
