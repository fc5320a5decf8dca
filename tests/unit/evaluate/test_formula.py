"""The language of formulas: exact, total, and with no word for anything else."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluate.domain import Counts
from services.evaluate.formula import LONGEST, NAMES, FormulaError, parse, values_of

COUNTS = Counts(asked=3, contacted=3, solved=1, answered=3, satisfied=2, completed=7, late=2, dispatched=5, returned=1)
VALUES = values_of(COUNTS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("solution", Fraction(1, 3)),
        ("0.1 * solution + 0.2", Fraction(1, 30) + Fraction(1, 5)),
        ("100 - 2 * late - 3", 93),
        ("100 - (2 * late - 3)", 99),
        ("-late + 10", 8),
        ("12 / 4 / 3 + late", 3),
        ("min(20, 2 * late, 7)", 4),
        ("max(late)", 2),
        ("if(late > 1, 50, 100)", 50),
        ("if(late >= 3, 50, if(asked == 3, 7, 8))", 7),
        ("solved / max(1, asked)", Fraction(1, 3)),
        ("minimum_of_nothing * 0 + late", None),
        ("  \n late\t", 2),
    ],
)
def test_expressions_have_their_exact_value(text: str, value: Fraction | int | None) -> None:
    if value is None:
        with pytest.raises(FormulaError, match="is no rate and no count"):
            parse(text)
    else:
        assert parse(text).value(VALUES) == value


def test_a_missing_rate_leaves_no_value_only_where_it_is_needed() -> None:
    assert parse("satisfaction + 1").value(values_of(Counts())) is None
    assert parse("if(answered > 0, satisfaction, 0)").value(values_of(Counts())) == 0


ATTACKS = [
    ("while 1: pass", 7, "cannot stand here"),
    ("[late for late in asked]", 1, "no texts, lists"),
    ("late ** 99999999", 7, "cannot stand here"),
    ("9 ^ 9 ^ late", 3, "has no meaning"),
    ("__import__('os').system('id')", 11, "cannot stand here"),
    ("late + 'os'", 8, "no texts"),
    ("late.__class__.__bases__", 5, "no attributes"),
    ("late / 0", 8, "divisor may be zero"),
    ("late / (3 - 3)", 9, "divisor may be zero"),
    ("solved / asked", 10, "divisor may be zero"),
    ("late / (1 - response)", 9, "divisor may be zero"),
    ("late / min(asked, 5)", 8, "divisor may be zero"),
    ("late + kindness", 8, "'kindness' is no rate"),
    ("open(late)", 5, "cannot stand here"),
    ("lambda: late", 7, "has no meaning"),
    ("false_completions_suspected", 1, "is no rate"),
    ("late + 1e308", 9, "cannot stand here"),
    ("late + " + "9" * 400, 8, "12 digits"),
    ("late + 1.2345678", 8, "12 digits"),
    ("late; late", 5, "has no meaning"),
    ("late if late else 1", 6, "cannot stand here"),
    ("late @ late", 6, "has no meaning"),
    ("延迟", 1, "has no meaning"),
    ("late + \x00", 8, "has no meaning"),
    ("LATE", 1, "small letters"),
    ("late +", 7, "ends too early"),
    ("(late", 6, "ends too early"),
    ("", 1, "ends too early"),
    ("if(late, 1, 2)", 8, "cannot stand here"),
    ("42", 1, "names no rate"),
    ("min()", 5, "cannot stand here"),
]


@pytest.mark.parametrize(("text", "position", "reason"), ATTACKS, ids=[text[:20] or "empty" for text, _, _ in ATTACKS])
def test_attacks_are_refused_with_position_and_reason(text: str, position: int, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason) as refused:
        parse(text)
    assert refused.value.position == position
    assert str(refused.value).startswith(f"position {position}: ")


@pytest.mark.parametrize(
    "text",
    [
        "late + 1" + " " * 10_000_000,
        "late" + " + 1" * 2_500_000,
        "(" * 5_000_000 + "late" + ")" * 5_000_000,
        "(" * 1_900 + "late" + ")" * 1_900 + "+" * 190,
        "-" * 3_900 + "late",
        "late" + "+late" * 700,
        "late" + "*asked" * 600,
        "min(" * 800 + "late" + ")" * 800,
        "if(late>1,1," * 300 + "2" + ")" * 300,
    ],
    ids=lambda text: f"{text[:12].strip()}-{len(text)}",
)
def test_long_and_deep_expressions_are_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        parse(text)


def test_deep_brackets_that_mean_nothing_are_no_harm() -> None:
    assert parse("(" * 1_500 + "late" + ")" * 1_500).value(VALUES) == 2
    assert len("(" * 1_500) * 2 < LONGEST


TERMS = st.recursive(
    st.sampled_from([*NAMES, "0", "1", "2.5", "100"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda t: f"-{t}")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | st.tuples(inner, inner, inner).map(lambda t: f"if({t[0]} < {t[1]}, {t[1]}, {t[2]})")
    ),
    max_leaves=25,
)


@given(TERMS, st.lists(st.integers(0, 50), min_size=15, max_size=15))
def test_what_is_accepted_has_an_answer_for_every_month(text: str, numbers: list[int]) -> None:
    asked, answered = max(numbers[1:3]), numbers[2]
    counts = Counts(
        closed=asked + numbers[0],
        asked=asked,
        contacted=min(numbers[3], asked),
        solved=min(numbers[4], asked),
        answered=answered,
        satisfied=min(numbers[5], answered),
        second_handled=min(numbers[6], asked),
        completed=numbers[7],
        late=min(numbers[8], numbers[7]),
        dispatched=numbers[9],
        returned=numbers[10],
        shirked=numbers[11],
        repeats=numbers[12],
    )
    try:
        expression = parse(text)
    except FormulaError:
        return
    value = expression.value(values_of(counts))
    assert value is None or isinstance(value, Fraction)


@given(st.text(max_size=60) | st.text(alphabet="late+-*/()., 0123456789minaxf<>=", max_size=60))
def test_any_text_is_accepted_or_refused_with_a_place(text: str) -> None:
    places = [1]
    try:
        parse(text)
    except FormulaError as refused:
        places.append(refused.position)
    assert all(1 <= place <= len(text) + 1 for place in places)
