"""What a classifier plug-in is (architecture.md, Plug-ins)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from services.classify.domain.labels import Candidate

TOP = 5


@runtime_checkable
class Classifier(Protocol):
    """Maps texts to matters. Pure: no I/O, same answer for the same texts, safe to call from several threads.

    `version` names the model in every label; `degraded` says that it only stands in for a better one.
    """

    @property
    def version(self) -> str: ...

    @property
    def labels(self) -> Sequence[str]:
        """Every label it can answer; matter codes for a model that is to be activated."""
        ...

    @property
    def degraded(self) -> bool: ...

    def classify(self, texts: Sequence[str]) -> list[list[Candidate]]:
        """For each text the five likeliest labels, likeliest first, with calibrated probabilities (0–1); the first
        carries the words that decided. Raises nothing for any text; an empty list says "no idea"."""
        ...
