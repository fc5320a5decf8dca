"""What classify's HTTP calls answer: from rows and values to JSON types."""

from __future__ import annotations

from typing import Any

from services.classify import repository
from services.classify.domain.catalogue import Matter
from services.classify.domain.labels import Link
from services.classify.domain.recollection import Recollection
from shared.clock import rfc3339
from shared.events.catalog import labels as catalog


def matter_answer(matter: catalog.Matter) -> dict[str, Any]:
    """A candidate with the words that decided."""
    return {
        "code": matter.code,
        "path": matter.path,
        "probability": matter.probability,
        "evidence": matter.evidence,
    }


def catalogue_matter_answer(matter: Matter) -> dict[str, Any]:
    """A matter of the catalogue."""
    return {
        "code": matter.code,
        "name": matter.name,
        "path": list(matter.path),
        "class": matter.handling_class.value,
        "kind": matter.kind.value,
        "dimension": matter.dimension,
        "social": matter.social,
        "elderly": matter.elderly,
        "synonyms": list(matter.synonyms),
        "units": list(matter.units),
    }


def review_answer(row: dict[str, Any]) -> dict[str, Any]:
    """One place of the review queue: what a person needs to decide."""
    label = repository.label_from(row["label"])
    return {
        "appeal_id": row["appeal_id"],
        "reference_no": row["reference_no"],
        "received_at": rfc3339(row["received_at"]),
        "region_code": row["region_code"],
        "title": row["title"],
        "text": row["text"],
        "reason": row["review_reason"],
        "class": label.handling_class,
        "kind": label.kind,
        "candidates": [matter_answer(candidate) for candidate in label.candidates],
        "tags": [{"code": tag.code, "name": tag.name, "evidence": tag.evidence} for tag in label.tags],
        "safety_words": label.safety_words,
        "repeat_of": link_answer(label.repeat_of),
        "same_event": link_answer(label.same_event),
        "model": label.model,
        "catalogue_version": label.catalogue_version,
        "degraded": label.degraded,
        "advice": advice_answer(row),
        "clock": {
            "due_at": rfc3339(row["clock_due_at"]),
            "lamp": row["clock_lamp"],
            "level": row["clock_level"],
        }
        if row["clock_due_at"]
        else None,
        "leased_by": row["leased_by"],
        "leased_until": rfc3339(row["leased_until"]) if row["leased_until"] else None,
    }


def advice_answer(row: dict[str, Any]) -> dict[str, Any] | None:
    """What a language model advised, or that it was asked in vain; None where there is none."""
    if row["advice_state"] in (None, "asked"):
        return None
    return {
        "state": row["advice_state"],
        "model": row["advice_model"],
        "matter": row["advice_matter"],
        "why": row["advice_why"],
    }


def link_answer(link: Link | catalog.Likeness | None) -> dict[str, Any] | None:
    """The other appeal, and how alike the two are (0–1)."""
    return {"appeal_id": link.appeal_id, "score": link.score} if link else None


def recollection_answer(recollection: Recollection | None) -> dict[str, Any] | None:
    """How many persons decided the first matter for words like these, and how near the nearest came (0.6–1)."""
    if recollection is None:
        return None
    return {"persons": recollection.persons, "similarity": round(recollection.similarity, 4)}
