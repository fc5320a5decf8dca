"""Which earlier appeals a new one is like: the same reporter's is a repeat, another one's the same event (domain.md,
Appeal). Only suggestions: dispatch or a person joins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.classify.domain.labels import Link
from services.classify.domain.similarity import similarity


@dataclass(frozen=True, slots=True)
class Said:
    """An appeal as it is compared. `pseudonym` is empty for an anonymous reporter; `region` is what the codes of its
    region and of everything below it begin with."""

    appeal_id: str
    received_at: datetime
    pseudonym: str
    region: str
    sketch: Sequence[int]
    keys: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How alike (0–1) and how near in time two appeals must be."""

    threshold: float
    within: timedelta

    def closest(self, new: Said, known: Iterable[Said]) -> Link | None:
        """The most similar of `known` that came before `new`, of equally similar ones the first."""
        best: tuple[float, float, Said] | None = None
        for other in known:
            age = new.received_at - other.received_at
            if other.appeal_id == new.appeal_id or not timedelta() <= age <= self.within:
                continue
            score = round(similarity(new.sketch, other.sketch), 4)
            if score >= self.threshold and (best is None or (score, age.total_seconds()) > best[:2]):
                best = (score, age.total_seconds(), other)
        return Link(best[2].appeal_id, best[0]) if best else None


def repeats(new: Sequence[Said], earlier: Mapping[str, Sequence[Said]], bounds: Bounds) -> list[Link | None]:
    """For each the closest of the same reporter, `earlier` (by pseudonym) or among `new` themselves."""
    known: dict[str, list[Said]] = defaultdict(list)
    for pseudonym, before in earlier.items():
        known[pseudonym] += before
    links: list[Link | None] = [None] * len(new)
    for place in _in_order(new):
        one = new[place]
        if one.pseudonym:
            links[place] = bounds.closest(one, known[one.pseudonym])
            known[one.pseudonym].append(one)
    return links


def same_events(new: Sequence[Said], earlier: Sequence[Sequence[Said]], bounds: Bounds) -> list[Link | None]:
    """For each the closest of another reporter about the same place, `earlier` (for each) or among `new` themselves."""
    by_key: dict[int, dict[str, Said]] = defaultdict(dict)
    links: list[Link | None] = [None] * len(new)
    for place in _in_order(new):
        one = new[place]
        here = {other.appeal_id: other for key in one.keys for other in by_key[key].values()}
        links[place] = bounds.closest(
            one, (other for other in (*here.values(), *earlier[place]) if _differ(one, other))
        )
        for key in one.keys:
            by_key[key][one.appeal_id] = one
    return links


def _in_order(said: Sequence[Said]) -> list[int]:
    return sorted(range(len(said)), key=lambda place: (said[place].received_at, said[place].appeal_id))


def _differ(one: Said, other: Said) -> bool:
    """Other people, perhaps at one place: the regions are one, or one lies in the other."""
    same_reporter = bool(one.pseudonym) and one.pseudonym == other.pseudonym
    shorter, longer = sorted((one.region, other.region), key=len)
    return not same_reporter and longer.startswith(shorter)
