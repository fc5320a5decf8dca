"""The built-in classifier: for each label one linear score over character n-grams, and what past cases of like meaning
say; calibrated, with the words that decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from services.classify.domain.labels import Candidate
from services.classify.models.calibration import Calibrator
from services.classify.models.evidence import deciding_words
from services.classify.models.features import Floats, Vocabulary
from services.classify.models.meaning import Meaning
from services.classify.models.schooling import Schooling
from services.classify.models.tag_heads import TagHeads

_BATCH = 512


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """`weights` is (features × labels) float32, `bias` has one number for each label; without `meaning` words decide
    alone; without `schooling` it is unknown what was learnt; without `tags` no tag was."""

    version: str
    labels: tuple[str, ...]
    vocabulary: Vocabulary
    weights: Floats
    bias: Floats
    calibrator: Calibrator
    degraded: bool = False
    meaning: Meaning | None = None
    schooling: Schooling | None = None
    tags: TagHeads | None = None

    def classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        answers: list[list[Candidate]] = []
        for start in range(0, len(texts), _BATCH):
            answers += self._classify(texts[start : start + _BATCH])
        return answers

    def _classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        if not self.labels:
            return [[] for _ in texts]
        encoded = self.vocabulary.encode(texts)
        scores = encoded.matrix @ self.weights + self.bias
        if self.meaning is not None:
            scores += self.meaning.scores(encoded.matrix, texts)
        ranking = self.calibrator.rank(scores, encoded.known)
        words = deciding_words(texts, encoded, self.weights, self.vocabulary.idf, ranking.place[:, 0])
        labels = self.labels
        return [
            [
                Candidate(labels[place], round(probability, 4), tuple(words[row]) if rank == 0 else ())
                for rank, (place, probability) in enumerate(zip(places, probabilities, strict=True))
            ]
            for row, (places, probabilities) in enumerate(
                zip(ranking.place.tolist(), ranking.probability.tolist(), strict=True)
            )
        ]

    def restrict(self, labels: Collection[str]) -> LinearClassifier:
        """The same model without the labels that are not in `labels` (matters that a new catalogue no longer has)."""
        kept = [place for place, label in enumerate(self.labels) if label in labels]
        if len(kept) == len(self.labels):
            return self
        return LinearClassifier(
            self.version,
            tuple(self.labels[place] for place in kept),
            self.vocabulary,
            np.ascontiguousarray(self.weights[:, kept]),
            self.bias[kept],
            self.calibrator.restrict(kept),
            self.degraded,
            self.meaning.restrict(kept) if self.meaning is not None else None,
            self.schooling.restrict(kept, len(self.labels)) if self.schooling is not None else None,
            self.tags,
        )
