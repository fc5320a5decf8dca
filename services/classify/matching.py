"""Which matter of a new catalogue takes the place of an old one: proposals with scores, for a person to decide.

Three things speak for a pair: the words of both matters (names, path, synonyms, examples), what their names mean, and
the cases that were labelled with the old matter, read by the new catalogue ("shared labels").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.classify.domain.catalogue import Catalogue, Matter
from services.classify.models.features import Floats, Vocabulary

PER_MATTER = 3
"""new matters proposed for an old one, at most"""
LEAST = 0.2
"""a pair below this score is no proposal"""
ALIKE = 0.995
"""a pair with the same names is at least that sure"""
_CHUNK = 500

Votes = Mapping[str, Mapping[str, float]]
"""old code → new code → share (0–1) of its cases that the new catalogue's own words give to that code"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One pair; all scores are 0–1, `shared` is None without cases of the old matter."""

    old: str
    new: str
    score: float
    words: float
    meaning: float
    shared: float | None


def propose(
    old: Sequence[Matter], new: Catalogue, votes: Votes, encode: Callable[[Sequence[str]], Floats]
) -> list[Proposal]:
    """For each of `old` the likeliest matters of `new`, likeliest first. `encode`: texts → vectors of length 1."""
    after = list(new.matters.values())
    if not old or not after:
        return []
    # the very same names need no reading: a change of every code is quick
    named = {matter.path: matter for matter in after}
    alike = [Proposal(one.code, named[one.path].code, 1.0, 1.0, 1.0, None) for one in old if one.path in named]
    old = [matter for matter in old if matter.path not in named]
    if not old:
        return alike
    vocabulary = Vocabulary.fit([_words(matter) for matter in (*old, *after)], orders=(1, 2), min_texts=1)
    here = vocabulary.encode([_words(matter) for matter in old]).matrix
    there = vocabulary.encode([_words(matter) for matter in after]).matrix.T.tocsc()
    meant_here, meant_there = encode([_name(matter) for matter in old]), encode([_name(matter) for matter in after])
    middle = np.concatenate((meant_here, meant_there)).mean(axis=0)
    meant_here, meant_there = _around(meant_here, middle), _around(meant_there, middle)
    place_of = {matter.code: place for place, matter in enumerate(after)}
    found: list[Proposal] = []
    for start in range(0, len(old), _CHUNK):
        chunk = old[start : start + _CHUNK]
        words = np.asarray((here[start : start + _CHUNK] @ there).todense(), dtype=np.float32)
        meaning = np.clip(meant_here[start : start + _CHUNK] @ meant_there.T, 0, 1)
        for row, matter in enumerate(chunk):
            found += _best(matter, after, words[row], meaning[row], votes.get(matter.code), place_of)
    return alike + found


def _best(
    matter: Matter,
    after: Sequence[Matter],
    words: Floats,
    meaning: Floats,
    shares: Mapping[str, float] | None,
    place_of: Mapping[str, int],
) -> list[Proposal]:
    score = 0.55 * words + 0.45 * meaning
    shared = np.zeros_like(score)
    if shares:
        for code, share in shares.items():
            if code in place_of:
                shared[place_of[code]] = share
        score = 0.7 * score + 0.3 * shared
    best = np.argpartition(-score, min(2 * PER_MATTER, len(after) - 1))[: 2 * PER_MATTER]
    rows = []
    for place in best:
        other = after[place]
        alike = other.name == matter.name and other.path[:3] == matter.path[:3]
        rows.append(
            Proposal(
                matter.code,
                other.code,
                round(max(float(score[place]), ALIKE) if alike else min(float(score[place]), 0.99), 4),
                round(float(words[place]), 4),
                round(float(meaning[place]), 4),
                round(float(shared[place]), 4) if shares else None,
            )
        )
    rows.sort(key=lambda row: (-row.score, row.new))
    return [row for row in rows if row.score >= LEAST][:PER_MATTER]


def _words(matter: Matter) -> str:
    """Names count most: a matter is what it is called."""
    own = (matter.name, matter.name, *matter.path[1:3], *matter.synonyms, *matter.synonyms, *matter.examples)
    return " ".join(own)


def _name(matter: Matter) -> str:
    return f"{matter.path[2]} {matter.name}"


def _around(vectors: Floats, middle: Floats) -> Floats:
    """The vectors as seen from their common middle: what all names share says nothing."""
    moved = vectors - middle
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    found: Floats = (moved / np.maximum(lengths, 1e-6)).astype(np.float32)
    return found
