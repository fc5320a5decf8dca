"""What persons decided about texts worded like a new one, and what that makes of a model's answer.

Each person has one voice: the latest decision about the wording that comes closest. A voice weighs the more, the closer
the wording and the more recent the decision; the model's answer weighs as much as half a person who decided just now
about the very same words. So one decision is followed by the next same-worded appeal, though a person still looks at
it; several who agree are believed; those who contradict each other leave the case to a person; and who decides the same
a thousand times has still one voice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.classify.domain.catalogue import Catalogue, HandlingClass
from services.classify.domain.labels import Candidate

NEAR = 0.6
"""least similarity (domain.similarity) of a wording that is remembered"""
SAME = 0.95
"""wordings that are this similar count as the same"""
_SHARPNESS = 4
"""a voice weighs as this power of the similarity"""
_HALF_LIFE = timedelta(days=90)
_MODEL = 0.5
_CEILING = 0.97
_STAND_IN_CEILING = 0.6
"""what stands in for a model is never sure, as the rules are not (domain.md, Classification)"""
_LOWERING = 2
"""persons who must have decided the same wording before an alarm of the model is lowered"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A person's decision about a text that is worded like a new one."""

    matter: str
    actor: str
    at: datetime
    similarity: float


@dataclass(frozen=True, slots=True)
class Recollection:
    """What the memory says about one text: `persons` decided for its first matter, the closest wording is
    `similarity` near."""

    persons: int
    similarity: float


def voices(remembered: Iterable[Remembered]) -> list[Remembered]:
    """One voice a person: the closest wording, of equally close ones the latest decision."""
    found: dict[str, Remembered] = {}
    for one in remembered:
        known = found.get(one.actor)
        if known is None or _precedence(one) > _precedence(known):
            found[one.actor] = one
    return list(found.values())


def _precedence(one: Remembered) -> tuple[float, datetime]:
    return (1.0 if one.similarity >= SAME else one.similarity, one.at)


def recalled(
    candidates: Sequence[Candidate],
    remembered: Iterable[Remembered],
    *,
    now: datetime,
    catalogue: Catalogue,
    threshold: float,
    stand_in: bool = False,
) -> tuple[Sequence[Candidate], Recollection | None]:
    """The answer of a model (of what stands in for one, with `stand_in`) joined with what persons decided, and what
    there was to remember; the answer as it is without any memory.

    `threshold` is `auto_dispatch_threshold`: an answer at or above it that raises an alarm (a matter of class urgent)
    is lowered only by two persons who decided the very same wording.
    """
    heard = [one for one in voices(remembered) if one.matter in catalogue]
    if not heard:
        return candidates, None
    weight: dict[str, float] = {}
    for one in heard:
        recency = 0.5 ** (max(now - one.at, timedelta()) / _HALF_LIFE)
        weight[one.matter] = weight.get(one.matter, 0.0) + one.similarity**_SHARPNESS * recency
    total = sum(weight.values()) + _MODEL
    share = {one.code: _MODEL * one.probability / total for one in candidates}
    for matter, own in weight.items():
        share[matter] = share.get(matter, 0.0) + own / total
    known = {one.code: one for one in candidates}
    # of equally likely ones the later decision comes first
    latest = {one.matter: one.at for one in sorted(heard, key=lambda one: one.at)}
    oldest = min(latest.values())
    order = sorted(share, key=lambda code: (-round(share[code], 4), -(latest.get(code, oldest) - oldest), code))
    first = order[0]
    if first in weight and candidates and _lowers(candidates[0], first, catalogue, threshold):
        agreed = [one for one in heard if one.matter == first and one.similarity >= SAME]
        if len(agreed) < _LOWERING:
            return candidates, None
    ceiling = _STAND_IN_CEILING if stand_in else _CEILING
    width = max(len(candidates), 1)
    joined = [
        replace(known.get(code, Candidate(code, 0.0)), probability=round(min(share[code], ceiling), 4))
        for code in order[:width]
    ]
    if candidates and first != candidates[0].code:  # the words that decided spoke for another matter
        joined = [replace(one, evidence=()) for one in joined]
    persons = sum(1 for one in heard if one.matter == first)
    return joined, Recollection(persons, max(one.similarity for one in heard)) if persons else None


def _lowers(answer: Candidate, first: str, catalogue: Catalogue, threshold: float) -> bool:
    if answer.probability < threshold:
        return False
    alarm, instead = catalogue.get(answer.code), catalogue.matters[first]
    urgent = HandlingClass.URGENT
    return alarm is not None and alarm.handling_class is urgent and instead.handling_class is not urgent
