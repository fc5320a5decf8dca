"""Redaction: what is personal goes, what only looks like it stays (quality.md, PII redaction)."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.redaction import PLACEHOLDERS, redact
from shared.redaction.numbers import is_bank_card, is_id_number
from tests.unit.redaction import shapes
from tests.unit.redaction.cases import id_number, look_alike, mobile, name, planted
from tests.unit.redaction.shapes import NEGATIVES, SHAPES

CASES = 6000


def test_recall_on_generated_sentences_is_at_least_995_per_mille() -> None:
    r = random.Random(20261121)
    missed = []
    for _ in range(CASES):
        case = planted(r)
        answer = redact(case.text)
        if case.kind not in answer.found or case.secret in answer.text:
            missed.append((case.text, answer.text))
    assert len(missed) / CASES <= 0.005, missed[:10]


def test_precision_on_sentences_with_and_without_personal_data_is_at_least_98_percent() -> None:
    r = random.Random(12345)
    right = wrong = 0
    for _ in range(CASES):
        case = planted(r)
        found = redact(case.text).found
        right += found.get(case.kind, 0) > 0
        wrong += sum(found.values()) - (found.get(case.kind, 0) > 0)
        wrong += sum(redact(look_alike(r)).found.values())
    assert right / (right + wrong) >= 0.98


def test_recall_and_precision_on_the_measured_shapes() -> None:
    r = random.Random(20261122)
    missed: list[tuple[str, str]] = []
    wrong: list[tuple[str, str]] = []
    right = cases = 0
    for number in range(len(SHAPES) * 30):
        case = shapes.planted(r, number)
        answer = redact(case.text)
        cases += 1
        if case.kind not in answer.found or case.secret in answer.text:
            missed.append((case.text, answer.text))
        right += case.kind in answer.found
        wrong += [(case.text, answer.text)] * (sum(answer.found.values()) - (case.kind in answer.found))
    harmless = len(NEGATIVES) * 30
    for number in range(harmless):
        text = shapes.look_alike(r, number)
        answer = redact(text)
        wrong += [(text, answer.text)] * sum(answer.found.values())
    assert (len(SHAPES) >= 60, cases >= 2_000, harmless >= 1_000) == (True, True, True)
    assert len(missed) / cases <= 0.005, missed[:10]
    assert right / (right + len(wrong)) >= 0.98, wrong[:10]


def test_redacting_twice_changes_nothing() -> None:
    r = random.Random(7)
    for _ in range(1000):
        once = redact("；".join(planted(r).text for _ in range(3))).text
        assert redact(once).text == once


@given(st.text(max_size=300))
def test_any_text_is_redacted_without_error_and_placeholders_are_counted(text: str) -> None:
    answer = redact(text, names=("张三丰",), numbers=("13800138000",))
    assert set(answer.found) <= set(PLACEHOLDERS)
    assert sum(answer.text.count(mark[:-1]) for mark in PLACEHOLDERS.values()) >= sum(answer.found.values())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("王先生反映，电话13800138000", "〔姓名〕先生反映，电话〔电话〕"),
        ("我叫张三想反映问题", "我叫〔姓名〕想反映问题"),
        ("联系人：欧阳小明，138 0013 8000", "联系人：〔姓名〕，〔电话〕"),
        ("张三丰13800138000一直打不通", "〔姓名〕〔电话〕一直打不通"),
        ("电话一三八零零一三八零零零一直占线", "电话〔电话〕一直占线"),
        ("琼A12345和琼AD12345违停", "〔车牌1〕和〔车牌2〕违停"),
        ("海秀中路72号裕庄大厦3栋2单元501室漏水", "海秀中路〔门牌1〕裕庄大厦〔门牌2〕漏水"),
        ("13800138000/13900139000、1380013800013900139000", "〔电话1〕/〔电话2〕、〔电话3〕"),
        ("0898-66886688转801", "〔电话〕"),
        ("电话6688 6688没人接", "电话〔电话〕没人接"),
        (
            "13800138000和一三八零零一三八零零零是一个人，138 1111 2222不是",
            "〔电话1〕和〔电话1〕是一个人，〔电话2〕不是",
        ),
        ("〔电话〕打不通，换13800138000", "〔电话〕打不通，换〔电话2〕"),
        ("运单191793871988138三天没动", "运单191793871988138三天没动"),
        ("138****8000的机主", "〔电话〕的机主"),
        ("打+852 9123 4567", "打〔电话〕"),
        ("139 2018-01-01", "139 2018-01-01"),
        ("电表号13812345678", "电表号13812345678"),
        ("1号楼有20户", "1号楼有20户"),
    ],
)
def test_examples(text: str, answer: str) -> None:
    assert redact(text).text == answer


def test_what_the_reporter_gave_goes_in_any_context_and_shape() -> None:
    text = "诸葛孔方说小诸葛孔方没错 诸葛 孔方，号1-3-8 0013.8000和一三八00138零零零"
    answer = redact(text, names=("诸葛孔方",), numbers=("+86 138-0013-8000",))
    assert "孔方" not in answer.text
    assert answer.found["phone"] == 2
    assert answer.text.count("〔姓名〕") == 3
    assert not any(char.isdigit() for char in answer.text)


def test_a_short_name_of_one_character_is_no_pattern() -> None:
    assert redact("路灯坏了", names=("路", "")).text == "路灯坏了"


def test_check_digits_decide() -> None:
    r = random.Random(3)
    for _ in range(200):
        number = id_number(r)
        assert is_id_number(number)
        wrong = number[:-1] + ("1" if number[-1] != "1" else "2")
        assert not is_id_number(wrong)
    assert is_bank_card("6222021234567890128") != is_bank_card("6222021234567890129")


HOSTILE = [
    "1" * 20_000,
    "1 " * 10_000,
    "110101199003074 " * 1_250,
    "13800138000," * 1_666,
    "一" * 20_000,
    "王" * 20_000,
    "先生" * 10_000,
    "王先生" * 6_666,
    "@" * 20_000,
    "a@" * 10_000,
    "a" * 19_999 + "@",
    "a@" + "a-." * 6_000,
    "1栋" * 6_666,
    "A1-" * 6_666,
    "路一" * 10_000,
    "琼A " * 6_666,
    "琼A1" * 6_666,
    "微信：" * 6_666,
    "联系人：" * 5_000,
    "电话" + "号" * 19_990 + "1",
    "+86 " * 5_000,
    "(" * 20_000,
    "1---" * 5_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:6])
def test_hostile_texts_cost_no_more_than_their_length(text: str) -> None:
    def seconds(sample: str) -> float:
        began = time.perf_counter()
        redact(sample, names=("王王王", "张三"), numbers=("13800138000",))
        return time.perf_counter() - began

    short = min(seconds(text[: len(text) // 10]) for _ in range(3))
    whole = min(seconds(text) for _ in range(3))
    # ten times the length may cost some thirty times the time on a busy machine, a hundred would be quadratic
    assert whole < max(30 * short, 0.1)


def test_names_and_phones_side_by_side_are_both_found() -> None:
    r = random.Random(11)
    for _ in range(300):
        person, number = name(r), mobile(r)
        answer = redact(f"联系{person}，{number}。".replace("联系", "联系人："))
        assert person not in answer.text
        assert number not in answer.text
