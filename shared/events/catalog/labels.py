"""classify.labels.v1: what an appeal is about. Key: appeal id. Owner: classify."""

from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class Matter(Snapshot, frozen=True, kw_only=True):
    """A leaf of the catalogue."""

    code: str
    path: list[str]
    """names of the levels 1 to 4"""
    probability: float
    """calibrated, 0 to 1; 1.0 when a person decided"""
    evidence: list[str] = msgspec.field(default_factory=list)
    """the words that decided"""


class Tag(Snapshot, frozen=True, kw_only=True):
    """One tag with where it comes from."""

    code: str
    name: str
    family: str
    """spacetime, subject, nature, governance"""
    confidence: float
    source: str
    """rule, model, llm, human"""
    evidence: list[str] = msgspec.field(default_factory=list)


class Likeness(Snapshot, frozen=True, kw_only=True):
    """A suggestion that another appeal is the same; only dispatch joins."""

    appeal_id: str
    score: float


class Label(Snapshot, frozen=True, kw_only=True):
    """Public state of an appeal's label (domain.md, "Classification")."""

    appeal_id: str
    matter: Matter
    candidates: list[Matter]
    """top 5, best first"""
    tags: list[Tag]
    handling_class: str = msgspec.field(name="class")
    """urgent, livelihood, general, complex"""
    kind: str
    """consult, help, complaint, report, suggestion, praise, other"""
    region_code: str
    dimension: str | None = None
    """one of the 七有, or None"""
    safety_words: list[str] = msgspec.field(default_factory=list)
    repeat_of: Likeness | None = None
    same_event: Likeness | None = None
    model: str
    catalogue_version: str
    degraded: bool = False
    needs_review: bool
    reviewed_by: str | None = None


class LabelEvent(Event, frozen=True, kw_only=True):
    """Any fact of a label."""

    topic: ClassVar[str] = "classify.labels.v1"
    after: Label


class LabelClassified(LabelEvent, frozen=True, kw_only=True):
    """The machine's label; with `after.needs_review` a person looks at it beside the owned order."""

    type: ClassVar[str] = "label.classified"


class LabelReviewed(LabelEvent, frozen=True, kw_only=True):
    """A person confirmed or corrected the label."""

    type: ClassVar[str] = "label.reviewed"
    before_matter: str
    """matter code before the review: a correction when it differs"""
