"""Making labels of texts: pure, so that a whole batch can run in a thread beside the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.classify.domain.catalogue import Catalogue, Kind
from services.classify.domain.labels import Candidate, Label, Link, Tag, TagDefinition
from services.classify.domain.policy import decide
from services.classify.domain.recollection import Recollection, recalled
from services.classify.domain.same_event import keys
from services.classify.domain.similarity import sketch
from services.classify.knowledge import Knowledge
from services.classify.models.chain import Prediction
from services.classify.models.tag_heads import Said
from services.classify.tagger import with_learnt
from shared.events.catalog import labels as catalog

_KINDS: frozenset[str] = frozenset(Kind)

MEMORY = "+memory"
"""ends the name of the model in a label that persons' earlier decisions had a part in"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is read of one appeal: redacted words, the kind that its channel gave, and when it happened (None: now)."""

    title: str | None
    text: str
    kind: str | None = None
    happened_at: datetime | None = None

    @property
    def words(self) -> str:
        """Title and text as one; a title that only repeats the text's beginning adds nothing."""
        if self.title and not self.text.startswith(self.title):
            return f"{self.title}。{self.text}"
        return self.text


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label, what was remembered for it, and by what the text it was made from is compared and found again."""

    label: Label
    recollection: Recollection | None
    sketch: tuple[int, ...]
    keys: tuple[int, ...]


def label_all(
    cases: Sequence[Case], knowledge: Knowledge, threshold: float, now: datetime, *, by_rules: bool = False
) -> list[Labelled]:
    """Label every case with what the models say and what persons decided about like words; `by_rules` leaves the models
    out (they took too long)."""
    words = [case.words for case in cases]
    chain = knowledge.chain
    predictions = chain.by_rules(words) if by_rules else chain.classify(words)
    said: Sequence[Said | None] = [None] * len(words)
    if knowledge.tag_heads is not None and not by_rules:
        said = knowledge.tag_heads.say(words)
    found = []
    for case, text, prediction, of_tags in zip(cases, words, predictions, said, strict=True):
        drawn = sketch(case.text)
        recollection = None
        known = knowledge.remembered(drawn)
        if known:
            candidates, recollection = recalled(
                prediction.candidates,
                known,
                now=now,
                catalogue=knowledge.catalogue,
                threshold=threshold,
                stand_in=prediction.degraded,
            )
            if recollection is not None:
                prediction = replace(prediction, candidates=candidates, version=prediction.version + MEMORY)
        at = case.happened_at or now
        tags = knowledge.tagger.tags_of(text, at)
        if of_tags is not None:
            tags = with_learnt(tags, of_tags, knowledge.tags, at)
        label = _label(case, text, prediction, tags, knowledge, threshold)
        found.append(Labelled(label, recollection, drawn, keys(case.text, drawn)))
    return found


def _label(
    case: Case, words: str, prediction: Prediction, tags: tuple[Tag, ...], knowledge: Knowledge, threshold: float
) -> Label:
    return decide(
        words,
        prediction.candidates,
        tags,
        catalogue=knowledge.catalogue,
        threshold=threshold,
        model=prediction.version,
        degraded=prediction.degraded,
        kind=Kind(case.kind) if case.kind is not None and case.kind in _KINDS else None,
        lowered=knowledge.lowered,
    )


def matter_of(candidate: Candidate, catalogue: Catalogue) -> catalog.Matter:
    """A candidate as it is published, with the names of its path."""
    matter = catalogue.matters[candidate.code]
    return catalog.Matter(
        code=candidate.code,
        path=list(matter.path),
        probability=candidate.probability,
        evidence=list(candidate.evidence),
    )


def tag_of(tag: Tag, definitions: dict[str, TagDefinition]) -> catalog.Tag:
    """A tag as it is published, with its name."""
    return catalog.Tag(
        code=tag.code,
        name=definitions[tag.code].name if tag.code in definitions else tag.code,
        family=tag.family.value,
        confidence=tag.confidence,
        source=tag.source.value,
        evidence=list(tag.evidence),
    )


def published(
    appeal_id: str,
    region_code: str,
    label: Label,
    knowledge: Knowledge,
    repeat_of: Link | None,
    same_event: Link | None,
) -> catalog.Label:
    """The public snapshot of a fresh label."""
    candidates = [matter_of(candidate, knowledge.catalogue) for candidate in label.candidates]
    return catalog.Label(
        appeal_id=appeal_id,
        matter=candidates[0],
        candidates=candidates,
        tags=[tag_of(tag, knowledge.tags) for tag in label.tags],
        handling_class=label.handling_class.value,
        kind=label.kind.value,
        region_code=region_code,
        dimension=label.dimension,
        safety_words=[hit.word for hit in label.safety],
        repeat_of=_likeness(repeat_of),
        same_event=_likeness(same_event),
        model=label.model,
        catalogue_version=knowledge.catalogue.version,
        degraded=label.degraded,
        needs_review=label.needs_review,
    )


def _likeness(link: Link | None) -> catalog.Likeness | None:
    return catalog.Likeness(appeal_id=link.appeal_id, score=link.score) if link else None
