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
    Closing,
    Counts,
    Level,
    counted,
    group_of,
    quotient,
    rounded,
    wilson,
)
from services.evaluate.formula import DEFAULT_FORMULA, Formula, formula_for, score, weighted
from services.evaluate.standings import last_tenth, race, ranking, reasons
from shared.clock import period_bounds, period_of

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
    formula = Formula("t", "2026-01", DEFAULT_FORMULA.expression, min_asked=3)
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
    old, new = Formula("1", "2026-01", "response"), Formula("2", "2026-06", "solution")
    assert formula_for([new, old], "2026-05") == old
    assert formula_for([old, new], "2026-06") == new
    assert formula_for([old, new], "2025-12") == DEFAULT_FORMULA


@pytest.mark.parametrize(
    ("weights", "deductions"),
    [
        ({"response": Decimal("0.5")}, {}),
        ({"kindness": Decimal(1)}, {}),
        ({"response": Decimal(2), "solution": Decimal(-1)}, {}),
        ({"response": Decimal(1)}, {"rudeness": Decimal(1)}),
        ({"response": Decimal(1)}, {"late": Decimal(-1)}),
        ({"response": Decimal(1)}, {"false_completions_suspected": Decimal(1)}),
    ],
)
def test_wrong_weights_are_refused(weights: dict[str, Decimal], deductions: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError, match=r"^(weights|deductions): "):
        weighted(weights, deductions, Decimal(20))


def test_weights_make_the_expression_that_scores_the_same() -> None:
    weights = {"response": Decimal("0.10"), "solution": Decimal("0.45"), "satisfaction": Decimal("0.45")}
    points = {"shirked": Decimal(2), "false_completions": Decimal(5), "late": Decimal("0.5")}
    text = weighted(weights, points, Decimal(20))
    assert text == DEFAULT_FORMULA.expression


def test_an_interval_is_that_of_wilson_and_wide_for_few() -> None:
    # Brown, Cai, DasGupta 2001; R: binom.confint(c(8, 0, 5), c(10, 5, 5), methods = "wilson")
    assert wilson(8, 10) == (Decimal("0.4902"), Decimal("0.9433"))
    assert wilson(0, 5) == (Decimal("0.0000"), Decimal("0.4345"))
    assert wilson(5, 5) == (Decimal("0.5655"), Decimal("1.0000"))
    assert wilson(0, 0) is None
    assert wilson(3, 2) is None


def test_who_moved_and_why_names_the_rate() -> None:
    before = Counts(asked=20, contacted=20, solved=20, answered=20, satisfied=20, completed=20)
    after = Counts(asked=20, contacted=20, solved=10, answered=20, satisfied=20, completed=20, late=2)
    assert reasons(before, after, DEFAULT_FORMULA) == [("solution", Decimal("-22.50")), ("late", Decimal("-1.00"))]
    assert reasons(before, before, DEFAULT_FORMULA) == []
    assert reasons(Counts(), after, DEFAULT_FORMULA) == []


def test_race_tables_rank_each_rate_and_few_returns_are_better() -> None:
    def unit(solved: int, returned: int) -> Counts:
        return Counts(
            asked=20, contacted=20, solved=solved, answered=20, satisfied=20, dispatched=10, returned=returned
        )

    tables = race(ranking({"a": unit(10, 5), "b": unit(20, 5), "c": unit(15, 0)}, DEFAULT_FORMULA))
    assert tables["solution"] == {"b": 1, "c": 2, "a": 3}
    assert tables["return"] == {"c": 1, "a": 2, "b": 2}
    assert tables["response"] == {"a": 1, "b": 1, "c": 1}


def test_the_last_tenth_is_whole_units_and_ties_are_in_it_together_or_not_at_all() -> None:
    def places(*satisfied: int) -> set[str]:
        totals = {
            f"u{number:02d}": Counts(asked=20, contacted=20, solved=20, answered=20, satisfied=one)
            for number, one in enumerate(satisfied)
        }
        return last_tenth(ranking(totals, DEFAULT_FORMULA))

    assert places(*range(20, 0, -1)) == {"u18", "u19"}
    assert places(*range(9)) == set(), "of nine there is no tenth"
    assert places(*[9] * 18, 1, 1) == {"u18", "u19"}
    assert places(*[9] * 17, 1, 1, 1) == set(), "three share rank 18, which is none of the last two"


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
