"""Classifiers in their order: one that fails is passed over, and the rules always answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.classify.domain.catalogue import Catalogue, parse_catalogue
from services.classify.domain.labels import Candidate
from services.classify.handlers.appeals import Appeals
from services.classify.knowledge import Knowledge, Library
from services.classify.labelling import Case
from services.classify.models.chain import Chain
from services.classify.models.protocol import Classifier
from services.classify.models.rules import rules_classifier
from services.classify.settings import ClassifySettings
from services.classify.tagger import DictionaryTagger
from shared import city

DEMO = Path(__file__).parents[3] / "cities" / "demo"
NOW = datetime(2026, 11, 2, tzinfo=UTC)
CATALOGUE = Catalogue.of("1", parse_catalogue((DEMO / "catalogue.csv").read_text(encoding="utf-8")))
RULES = rules_classifier(CATALOGUE)


@dataclass
class Fixed:
    """A plug-in that always answers the same, or raises, or sleeps."""

    answer: list[Candidate] | None
    version: str = "fixed"
    degraded: bool = False
    labels: Sequence[str] = ("01010101",)
    seconds: float = 0.0

    def classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        time.sleep(self.seconds)
        if self.answer is None:
            raise RuntimeError("broken plug-in")
        return [self.answer for _ in texts]


GOOD = Fixed([Candidate("01010101", 0.9)])


def test_the_first_that_answers_wins() -> None:
    assert isinstance(GOOD, Classifier)
    (answer,) = Chain((GOOD,), RULES).classify(["路灯不亮"])
    assert (answer.version, answer.degraded) == ("fixed", False)


def test_a_failing_classifier_is_passed_over_and_the_next_is_marked_degraded() -> None:
    (answer,) = Chain((Fixed(None, version="broken"), GOOD), RULES).classify(["路灯不亮"])
    assert (answer.version, answer.degraded) == ("fixed", True)


def test_the_rules_answer_when_all_fail_or_say_nothing() -> None:
    for preferred in ((Fixed(None),), (Fixed([]),), ()):
        (answer,) = Chain(preferred, RULES).classify(["路灯不亮"])
        assert (answer.version, answer.degraded) == ("rules", True)
        assert answer.candidates[0].code == "02010201"


@pytest.mark.parametrize("seconds", [0.0, 0.6])
async def test_a_slow_classifier_gives_way_to_the_rules(seconds: float) -> None:
    slow = Fixed([Candidate("01010101", 0.9)], seconds=seconds)
    settings = ClassifySettings("460100", Path("."), city.load("demo"), 0.85, timeout_s=0.2)
    appeals = Appeals(settings, Library(Path("."), ["model"]))
    knowledge = Knowledge(1, CATALOGUE, {}, DictionaryTagger([]), Chain((slow,), RULES), None, None)
    (found,) = await appeals.label_cases([Case(None, "路灯不亮")], knowledge, NOW)
    assert found.label.model == ("rules" if seconds else "fixed")


def test_a_classifier_that_is_not_installed_is_named() -> None:
    library = Library(Path("."), ["model", "no-such-plugin"])
    assert "no-such-plugin" in library.missing[0]
