"""What reviews say about the labels: calibration, coverage and drift from the counts."""

from __future__ import annotations

import pytest

from services.classify.quality import by_model, by_month, by_unit

COUNTED = [
    {"model": "m", "month": "2026-09", "labelled": 100, "in_review": 40, "degraded": 0, "urgent": 3},
    {"model": "m", "month": "2026-10", "labelled": 200, "in_review": 120, "degraded": 0, "urgent": 5},
]


def judged(month: str, bin_: int, reviewed: int, confirmed: int, promised: float) -> dict[str, object]:
    return {
        "model": "m",
        "month": month,
        "matter": "a",
        "bin": bin_,
        "reviewed": reviewed,
        "confirmed": confirmed,
        "promised": promised,
    }


JUDGED = [judged("2026-09", 6, 10, 7, 6.5), judged("2026-10", 6, 10, 4, 6.5), judged("2026-10", 8, 10, 9, 8.5)]


def test_a_model_has_its_coverage_accuracy_and_calibration() -> None:
    (model,) = by_model(COUNTED, JUDGED)
    assert (model["labelled"], model["coverage"]) == (300, pytest.approx(140 / 300, abs=1e-4))
    assert (model["accuracy"], model["mean_probability"]) == (
        pytest.approx(20 / 30, abs=1e-4),
        pytest.approx(21.5 / 30, abs=1e-4),
    )
    assert [one["from"] for one in model["calibration"]["bins"]] == [0.6, 0.8]
    assert model["calibration"]["ece"] == pytest.approx((abs(13 - 11) + abs(8.5 - 9)) / 30, abs=1e-4)


def test_a_month_is_compared_with_the_one_before() -> None:
    decided = [
        {"month": "2026-09", "matter": "a", "reviewed": 10},
        {"month": "2026-10", "matter": "a", "reviewed": 15},
        {"month": "2026-10", "matter": "b", "reviewed": 5},
    ]
    september, october = by_month(COUNTED, JUDGED, decided)
    assert september["drift"] is None
    assert october["drift"] == {
        "since": "2026-09",
        "accuracy": pytest.approx(0.65 - 0.7, abs=1e-4),
        "mean_probability": pytest.approx(0.75 - 0.65, abs=1e-4),
        "coverage": pytest.approx(0.4 - 0.6, abs=1e-4),
        "matters_moved": 0.25,
    }


def test_without_a_review_nothing_is_claimed() -> None:
    (model,) = by_model(COUNTED[:1], [])
    assert (model["accuracy"], model["mean_probability"], model["calibration"]["ece"]) == (None, None, None)
    (month,) = by_month(COUNTED[:1], [], [])
    assert (month["coverage"], month["drift"]) == (0.6, None)


def test_a_unit_has_its_coverage_accuracy_and_calibration_and_who_got_nothing_yet_is_named_empty() -> None:
    counted = [
        {"unit": "", "labelled": 4, "in_review": 4, "degraded": 0, "urgent": 0},
        {"unit": "roads", "labelled": 50, "in_review": 10, "degraded": 0, "urgent": 1},
    ]
    reviewed = [{"unit": "roads", "bin": 7, "reviewed": 8, "confirmed": 6, "promised": 6.4}]
    nobody, roads = by_unit(counted, reviewed)
    assert (nobody["unit"], nobody["coverage"], nobody["accuracy"], nobody["ece"]) == ("", 0.0, None, None)
    assert (roads["coverage"], roads["accuracy"], roads["ece"]) == (0.8, 0.75, 0.05)
