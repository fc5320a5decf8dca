"""What a person's decision makes of a label: pure functions over the published snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from services.classify.domain.catalogue import Catalogue, HandlingClass
from services.classify.knowledge import Knowledge
from shared.errors import Problem, invalid
from shared.events.catalog.labels import Label, Matter, Tag


@dataclass(frozen=True, slots=True)
class Decision:
    """The right matter; `tags` None leaves the tags, `handling_class` None takes the matter's (urgent stays urgent
    while safety words stand in the text: only a person who says so lowers it). `catalogue_version` says whose code the
    matter is, where the version that the label was made with and the one in force both have it."""

    matter: str
    tags: tuple[str, ...] | None = None
    handling_class: HandlingClass | None = None
    catalogue_version: str | None = None


def catalogue_of(decision: Decision, own: Catalogue | None, in_force: Catalogue) -> Catalogue:
    """Whose code the decided matter is: a case keeps the version that it was labelled with, unless a person chooses a
    matter that only the version in force has."""
    if own is None or decision.catalogue_version == in_force.version:
        return in_force
    if decision.matter in own or decision.catalogue_version == own.version:
        return own
    return in_force


def unknown_codes(decision: Decision, catalogue: Catalogue, knowledge: Knowledge) -> Problem | None:
    """422 for a matter or tag that is not there."""
    if decision.catalogue_version not in (None, catalogue.version):
        detail = "is neither the version that the label was made with nor the one in force"
        return invalid("/catalogue_version", detail)
    if decision.matter not in catalogue:
        version = "" if catalogue is knowledge.catalogue else f"?version={catalogue.version}"
        return invalid("/matter", f"{decision.matter} is no matter of the catalogue; see GET /v1/matters{version}")
    for place, code in enumerate(decision.tags or ()):
        if code not in knowledge.tags:
            return invalid(f"/tags/{place}", f"{code} is no tag; see GET /v1/tags")
    return None


def reviewed(before: Label, decision: Decision, catalogue: Catalogue, knowledge: Knowledge, actor: str) -> Label:
    """The label after the decision. A person is sure, so the probability is 1. `catalogue`: see `catalogue_of`."""
    matter = catalogue.matters[decision.matter]
    if decision.handling_class is not None:
        handling_class = decision.handling_class
    elif before.safety_words:
        handling_class = HandlingClass.URGENT
    else:
        handling_class = matter.handling_class
    return msgspec.structs.replace(
        before,
        matter=Matter(
            code=matter.code,
            path=list(matter.path),
            probability=1.0,
            evidence=before.matter.evidence if before.matter.code == matter.code else [],
        ),
        tags=before.tags if decision.tags is None else _tags(before, decision.tags, knowledge),
        handling_class=handling_class.value,
        dimension=matter.dimension,
        catalogue_version=catalogue.version,
        degraded=False,
        needs_review=False,
        reviewed_by=actor,
    )


def _tags(before: Label, codes: tuple[str, ...], knowledge: Knowledge) -> list[Tag]:
    """The chosen tags: those that stood there keep their source, new ones are a person's."""
    known = {tag.code: tag for tag in before.tags}
    return [
        known.get(code)
        or Tag(
            code=code,
            name=knowledge.tags[code].name,
            family=knowledge.tags[code].family.value,
            confidence=1.0,
            source="human",
        )
        for code in dict.fromkeys(codes)
    ]


def missed_words(before: Label, after: Label) -> Iterator[tuple[str, str]]:
    """(tag, word) pairs that the dictionary may lack: words that decided the matter, for tags that a person added."""
    had = {tag.code for tag in before.tags}
    for tag in after.tags:
        if tag.code not in had and tag.source == "human":
            for word in before.matter.evidence:
                yield tag.code, word
