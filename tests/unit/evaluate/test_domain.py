"""Rates, scores and ranks against a brute-force count of the same cases (domain.md, "Evaluation")."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import add
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluate.domain import (
    DEFAULT_FORMULA,
    Closing,
    Counts,
    Formula,
    Level,
    counted,
    formula_for,
    group_of,
    period_bounds,
    period_of,
    quotient,
    ranking,
    rounded,
    score,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
MAYBE = st.none() | st.booleans()


@st.composite
def closings(draw: st.DrawFn) -> Closing:
    asked = draw(st.booleans())
    return Closing(
        asked=asked,
        contacted=draw(MAYBE) if asked else None,
        solved=draw(MAYBE) if asked else None,
        satisfaction=draw(st.none() | st.integers(1, 5)) if asked else None,
        bad_ratings=draw(st.integers(0, 2)),
        excluded=asked and draw(st.booleans()),
    )


@given(st.lists(closings()))
def test_rates_equal_a_hand_count(cases: list[Closing]) -> None:
    total = reduce(add, map(counted, cases), Counts())
    in_rates = [c for c in cases if c.asked and not c.excluded]
    with_value = [c.satisfaction for c in in_rates if c.satisfaction is not None]
    expected = {
        "response": _ratio(sum(c.contacted is True for c in in_rates), len(in_rates)),
        "solution": _ratio(sum(c.solved is True for c in in_rates), len(in_rates)),
        "satisfaction": _ratio(sum(v >= 3 for v in with_value), len(with_value)),
        "second_handling": _ratio(sum(c.bad_ratings > 0 for c in in_rates), len(in_rates)),
    }
    assert {rate: quotient(total, rate) for rate in expected} == expected
    assert total.closed == len(cases)


def _ratio(upper: int, lower: int) -> Fraction | None:
    return Fraction(upper, lower) if lower else None


def test_unreachable_and_expired_are_in_no_rate() -> None:
    assert counted(Closing(asked=False)) == Counts(closed=1)


def test_a_refusal_is_asked_but_not_answered() -> None:
    assert counted(Closing(asked=True)) == Counts(closed=1, asked=1)


def test_an_excluded_rating_leaves_both_sides() -> None:
    assert counted(Closing(True, True, True, 5, excluded=True)) == Counts(closed=1, excluded=1)


def test_on_time_return_and_repeat_have_their_own_denominators() -> None:
    counts = Counts(closed=4, completed=10, late=3, dispatched=8, returned=2, repeats=1)
    assert quotient(counts, "on_time") == Fraction(7, 10)
    assert quotient(counts, "return") == Fraction(1, 4)
    assert quotient(counts, "repeat") == Fraction(1, 4)


def test_score_weighs_rates_and_deducts() -> None:
    counts = Counts(asked=20, contacted=20, solved=18, answered=16, satisfied=12, completed=20, late=3, shirked=1)
    # 10·1 + 45·0.9 + 45·0.75 − (3·0.5 + 1·2)
    assert score(counts, DEFAULT_FORMULA) == Decimal("80.75")


def test_deductions_are_capped_and_a_score_is_never_negative() -> None:
    perfect = Counts(asked=1, contacted=1, solved=1, answered=1, satisfied=1, late=1000)
    assert score(perfect, DEFAULT_FORMULA) == Decimal(80)
    hopeless = Counts(asked=1, answered=1, late=1000)
    assert score(hopeless, DEFAULT_FORMULA) == Decimal(0)


def test_without_a_rate_there_is_no_score() -> None:
    assert score(Counts(asked=3, contacted=3, solved=3), DEFAULT_FORMULA) is None


def test_ties_share_a_rank_and_small_samples_have_none() -> None:
    def unit(satisfied: int, asked: int = 20) -> Counts:
        return Counts(asked=asked, contacted=asked, solved=asked, answered=asked, satisfied=satisfied)

    places = ranking(
        {"d": unit(5), "b": unit(10), "a": unit(20), "c": unit(10), "small": unit(19, 19)}, DEFAULT_FORMULA
    )
    assert [(p.name, p.rank) for p in places] == [("a", 1), ("b", 2), ("c", 2), ("d", 4), ("small", None)]
    assert places[-1].score == Decimal(100), "shown, but unranked"


@given(st.dictionaries(st.text(min_size=1), st.lists(closings(), max_size=60), max_size=6))
def test_rank_is_one_more_than_the_number_of_better_ranked_units(units: dict[str, list[Closing]]) -> None:
    formula = Formula("t", "2026-01", min_asked=3)
    places = ranking({u: reduce(add, map(counted, cs), Counts()) for u, cs in units.items()}, formula)
    ranked = [p for p in places if p.rank is not None]
    for place in places:
        assert (place.rank is None) == (place.counts.asked < 3 or place.score is None)
    for place in ranked:
        assert place.score is not None
        assert place.rank == 1 + len([o for o in ranked if o.score is not None and o.score > place.score])


def test_a_month_is_of_the_platforms_zone() -> None:
    assert period_of(datetime(2026, 10, 31, 16, 0, tzinfo=UTC), SHANGHAI) == "2026-11"
    assert period_of(datetime(2026, 10, 31, 15, 59, tzinfo=UTC), SHANGHAI) == "2026-10"
    start, end = period_bounds("2026-12", SHANGHAI)
    assert (start, end) == (datetime(2026, 12, 1, tzinfo=SHANGHAI), datetime(2027, 1, 1, tzinfo=SHANGHAI))


@pytest.mark.parametrize("period", ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "2026-011", "２０２６-01"])
def test_a_wrong_period_is_refused(period: str) -> None:
    with pytest.raises(ValueError, match=r"period|month|year"):
        period_bounds(period, SHANGHAI)


def test_the_latest_effective_formula_scores_a_month() -> None:
    old, new = Formula("1", "2026-01"), Formula("2", "2026-06")
    assert formula_for([new, old], "2026-05") == old
    assert formula_for([old, new], "2026-06") == new
    assert formula_for([old, new], "2025-12") == DEFAULT_FORMULA


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"response": Decimal("0.5")}},
        {"weights": {"kindness": Decimal(1)}},
        {"weights": {"response": Decimal(2), "solution": Decimal(-1)}},
        {"deductions": {"rudeness": Decimal(1)}},
        {"deductions": {"late": Decimal(-1)}},
        {"min_asked": 0},
        {"effective_from": "soon"},
    ],
)
def test_a_wrong_formula_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"weights|deductions|period"):
        Formula(**{"version": "x", "effective_from": "2026-01", **wrong})  # type: ignore[arg-type]


def test_rounding_is_half_up() -> None:
    assert [str(rounded(Fraction(n, 1000), 2)) for n in (125, 124, 135)] == ["0.13", "0.12", "0.14"]


@pytest.mark.parametrize(
    ("code", "level", "group"),
    [
        ("460105001002", Level.STREET, "460105001"),
        ("460105001002", Level.DISTRICT, "460105"),
        ("460105", Level.STREET, None),
        ("460100", Level.DISTRICT, None),
        ("460100", Level.CITY, "460100"),
    ],
)
def test_regions_roll_up_to_streets_districts_and_the_city(code: str, level: Level, group: str | None) -> None:
    assert group_of(code, "460100", level) == group
