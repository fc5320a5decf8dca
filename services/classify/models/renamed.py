"""A model that answers in the codes of another catalogue version than it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.classify.domain.labels import Candidate
from services.classify.models.protocol import Classifier


@dataclass(frozen=True)
class Renamed:
    """`codes`: each label of `inner` → the present code. Labels that became one matter share its probability; labels
    without a code are left out."""

    inner: Classifier
    codes: Mapping[str, str]
    labels: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        known = dict.fromkeys(self.codes[label] for label in self.inner.labels if label in self.codes)
        object.__setattr__(self, "labels", tuple(known))

    @property
    def version(self) -> str:
        return self.inner.version

    @property
    def degraded(self) -> bool:
        return self.inner.degraded

    def classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        return [self._renamed(candidates) for candidates in self.inner.classify(texts)]

    def _renamed(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        merged: dict[str, Candidate] = {}
        for candidate in candidates:
            code = self.codes.get(candidate.code)
            if code is None:
                continue
            before = merged.get(code)
            probability = candidate.probability + (before.probability if before else 0.0)
            evidence = (before.evidence if before else ()) or candidate.evidence
            merged[code] = Candidate(code, round(min(probability, 1.0), 4), evidence)
        return sorted(merged.values(), key=lambda one: -one.probability)
