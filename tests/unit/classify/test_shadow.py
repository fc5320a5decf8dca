"""A model is judged by cases that it has not learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from services.classify.domain.labels import Candidate
from services.classify.models.schooling import FRESH, UNFAIR, Schooling
from services.classify.shadow import Confirmed, compared

NOW = datetime(2026, 11, 2, tzinfo=UTC)


@dataclass
class Saying:
    """Answers one label to everything."""

    label: str
    version: str
    degraded: bool = False
    labels: Sequence[str] = ("a", "b")

    def classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        return [[Candidate(self.label, 0.9)] for _ in texts]


def cases(right_of_a: int, right_of_b: int) -> list[Confirmed]:
    return [Confirmed(f"甲{n}", "a") for n in range(right_of_a)] + [Confirmed(f"乙{n}", "b") for n in range(right_of_b)]


def test_the_difference_has_its_interval() -> None:
    found = compared(Saying("a", "new"), Saying("b", "old"), cases(60, 40), NOW)
    assert (found["accuracy"], found["present_accuracy"], found["difference"]) == (0.6, 0.4, 0.2)
    assert found["interval"] == pytest.approx([0.0067, 0.3854], abs=0.0005)
    assert (found["verdict"], found["cases"]) == ("better", 100)


@pytest.mark.parametrize(
    ("right", "verdict"), [((25, 25), "not_better"), ((40, 60), "not_better"), ((29, 20), "too_few_cases")]
)
def test_what_is_not_better_or_not_enough(right: tuple[int, int], verdict: str) -> None:
    assert compared(Saying("a", "new"), Saying("b", "old"), cases(*right), NOW)["verdict"] == verdict


def test_what_was_learnt_counts_only_as_it_was_answered_before() -> None:
    schooling = Schooling.of(["甲 一", "乙", "丙"], ["乙"], np.array([1]))
    assert schooling.fair(["甲一", "乙", "丁"]).tolist() == [UNFAIR, 1, FRESH]
    assert schooling.restrict([0], 2).fair(["乙"]).tolist() == [-1]
    assert schooling.restrict([1], 2).fair(["乙"]).tolist() == [0]
