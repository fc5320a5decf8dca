"""The classifiers in their configured order: the first that answers wins, and the rules always answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from services.classify.domain.labels import Candidate
from services.classify.models.protocol import Classifier

log = logging.getLogger(__name__)

FAILURES = Counter("sushu_classifier_failures_total", "Batches that a classifier could not answer", ["classifier"])


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one classifier said about one text; `degraded` when it stood in for a better one."""

    candidates: Sequence[Candidate]
    version: str
    degraded: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """`preferred` are tried in order; `rules` answers when all of them fail or say nothing."""

    preferred: tuple[Classifier, ...]
    rules: Classifier

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text. A classifier that raises is recorded, counted and passed over."""
        for number, classifier in enumerate(self.preferred):
            try:
                answers = classifier.classify(texts)
                if len(answers) != len(texts):
                    raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
            except Exception as error:  # a plug-in may fail in any way, and the appeals must go on
                FAILURES.labels(classifier.version).inc()
                log.error("a classifier failed", extra={"classifier": classifier.version, "error": repr(error)[:300]})
                continue
            degraded = number > 0 or classifier.degraded
            silent = [place for place, answer in enumerate(answers) if not answer]
            found = [Prediction(answer, classifier.version, degraded) for answer in answers]
            if silent:
                for place, stand_in in zip(silent, self.by_rules([texts[place] for place in silent]), strict=True):
                    found[place] = stand_in
            return found
        return self.by_rules(texts)

    def by_rules(self, texts: Sequence[str]) -> list[Prediction]:
        return [Prediction(answer, self.rules.version, True) for answer in self.rules.classify(texts)]
