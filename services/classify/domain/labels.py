"""Value objects of a label: what classify says about one appeal (domain.md, Classification)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.classify.domain.catalogue import HandlingClass, Kind
from services.classify.domain.safety import SafetyHit


class TagSource(StrEnum):
    RULE = "rule"
    MODEL = "model"
    LLM = "llm"
    HUMAN = "human"


class TagFamily(StrEnum):
    SPACETIME = "spacetime"
    SUBJECT = "subject"
    NATURE = "nature"
    GOVERNANCE = "governance"


class TagTier(StrEnum):
    BASE = "base"
    EXTENDED = "extended"
    CUSTOM = "custom"


class ReviewReason(StrEnum):
    """Why a person looks at a label."""

    LOW_CONFIDENCE = "low_confidence"
    SAFETY_WORD = "safety_word"
    DEGRADED = "degraded"
    URGENT_BY_MODEL = "urgent_by_model"
    DANGER_DENIED = "danger_denied"
    LOWERED_BEFORE = "lowered_before"
    OUT_OF_BOUNDS = "out_of_bounds"
    OFTEN = "often"


UNSURE = frozenset((ReviewReason.LOW_CONFIDENCE, ReviewReason.DEGRADED))
"""only the matter is in question: any other reason to look says more, and is the one that is told"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the five likeliest matters; `probability` is calibrated, `evidence` holds the words that decided (only the
    first candidate has any)."""

    code: str
    probability: float
    evidence: tuple[str, ...] = ()


class TagState(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class TagDefinition:
    """One entry of the tag dictionary: the words that set it. A tag of an event is for what happened from `valid_from`
    to before `valid_to`; a retired one may have gone into another (`merged_into`)."""

    code: str
    name: str
    family: TagFamily
    tier: TagTier
    words: tuple[str, ...]
    state: TagState = TagState.ACTIVE
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    merged_into: str | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is for something that happened `at`."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag on an appeal; `evidence` quotes the text (empty for a person's tag)."""

    code: str
    family: TagFamily
    confidence: float
    source: TagSource
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A suggestion that an appeal repeats another one; dispatch alone joins (domain.md, Appeal)."""

    appeal_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Label:
    """What is known about one appeal. `matter` is None only when nothing could be said (no catalogue)."""

    matter: str | None
    candidates: tuple[Candidate, ...]
    tags: tuple[Tag, ...]
    handling_class: HandlingClass
    kind: Kind
    dimension: str | None
    model: str
    degraded: bool
    review: ReviewReason | None
    safety: tuple[SafetyHit, ...] = ()

    @property
    def probability(self) -> float:
        return self.candidates[0].probability if self.candidates else 0.0

    @property
    def needs_review(self) -> bool:
        return self.review is not None
