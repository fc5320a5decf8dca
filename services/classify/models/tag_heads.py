"""Tags learnt from what persons set and took away: one linear score a tag over the model's n-grams.

A head sets its tag only where persons confirmed at least eight of ten on texts that it had not seen; below that the
dictionary and persons go on alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from services.classify.models import ridge
from services.classify.models.calibration import fit_logistic, logistic
from services.classify.models.evidence import deciding_words
from services.classify.models.features import Floats, Vocabulary

LEAST = 20
"""texts with the tag, and without it, before anything is learnt about it"""
PRECISE = 0.8
"""share of its tags that persons must have confirmed on texts that it had not seen"""
LEAST_FOUND = 0.1
"""share of the texts with the tag that it must find at that; a head that finds fewer is not kept"""
_FOLDS = 4
_SURE = 10
"""tags at the threshold before their share says anything"""
MAX_HEADS = 5_000


@dataclass(frozen=True, slots=True)
class Head:
    """What is known about one tag's score: `probability = logistic(slope · score + offset)`, set from `threshold` on;
    `precision` and `recall` at it on texts that the fit had not seen, of which `texts` had the tag."""

    tag: str
    slope: float
    offset: float
    threshold: float
    precision: float
    recall: float
    texts: int


@dataclass(frozen=True, slots=True)
class Said:
    """What the heads say about one text: for each tag that they know its probability, and which to set, each with the
    words that decided."""

    probability: Mapping[str, float]
    found: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TagHeads:
    """`weights` is (features × heads) over the n-grams of `vocabulary`, `bias` has one number a head."""

    heads: tuple[Head, ...]
    vocabulary: Vocabulary
    weights: Floats
    bias: Floats

    def say(self, texts: Sequence[str]) -> list[Said]:
        """One answer a text; nothing about tags that are not known here."""
        encoded = self.vocabulary.encode(texts)
        slope, offset, threshold = (
            np.array([getattr(head, name) for head in self.heads]) for name in ("slope", "offset", "threshold")
        )
        probability = logistic((encoded.matrix @ self.weights + self.bias) * slope + offset)
        names = [head.tag for head in self.heads]
        found: list[dict[str, tuple[str, ...]]] = [{} for _ in texts]
        rows, places = np.nonzero(probability >= threshold)
        chosen = [texts[row] for row in rows.tolist()]  # once for each tag that it gets
        words = deciding_words(
            chosen, self.vocabulary.encode(chosen), self.weights, self.vocabulary.idf, places.astype(np.int64)
        )
        for row, place, own in zip(rows.tolist(), places.tolist(), words, strict=True):
            found[row][names[place]] = tuple(own)
        return [
            Said(dict(zip(names, row, strict=True)), own)
            for row, own in zip(np.round(probability, 4).tolist(), found, strict=True)
        ]

    def restrict(self, kept: npt.NDArray[np.bool_], vocabulary: Vocabulary) -> TagHeads:
        """The same heads on the n-grams that `kept` marks, which are `vocabulary`."""
        return TagHeads(self.heads, vocabulary, np.ascontiguousarray(self.weights[kept]), self.bias)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(head) for head in self.heads]


def heads_from(body: Any) -> tuple[Head, ...]:
    """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    if not isinstance(body, list) or len(body) > MAX_HEADS:
        raise ValueError("the tags of the model are no list")
    heads = tuple(
        Head(tag=str(one["tag"]), texts=int(one["texts"]), **{name: float(one[name]) for name in _NUMBERS})
        for one in body
    )
    if len({head.tag for head in heads}) < len(heads) or not all(
        np.isfinite([head.slope, head.offset]).all() and 0 < head.threshold <= 1 for head in heads
    ):
        raise ValueError("the tags of the model have wrong numbers")
    return heads


_NUMBERS = ("slope", "offset", "threshold", "precision", "recall")


def fit(
    vocabulary: Vocabulary,
    matrix: sparse.csr_matrix,
    tags: Sequence[frozenset[str] | None],
    group: npt.NDArray[np.int64],
    seed: int,
) -> TagHeads | None:
    """Heads for the tags that have enough texts; None when none has or none is precise enough. `tags` has a set for
    each row of `matrix` that somebody tagged, None for the others; rows of one `group` (-1: of none) stay together."""
    rows = np.flatnonzero([one is not None for one in tags])
    sets = [one for one in tags if one is not None]
    counted = {tag: sum(tag in one for one in sets) for tag in set().union(*sets)} if sets else {}
    names = sorted(tag for tag, count in counted.items() if LEAST <= count <= len(sets) - LEAST)[:MAX_HEADS]
    if not names:
        return None
    truth = np.array([[tag in one for tag in names] for one in sets])
    some = matrix[rows]
    folds = _folds(group[rows], seed)
    dual, held = ridge.fit(some, None, np.where(truth, 1, -1).astype(np.float32), np.ones(len(rows)), 1.0, folds)
    unseen = np.concatenate(folds[: len(held)])
    scores = np.concatenate(held)
    heads, kept = [], []
    for place, name in enumerate(names):
        head = _head(name, scores[:, place], truth[unseen, place])
        if head is not None:
            heads.append(head)
            kept.append(place)
    if not heads:
        return None
    chosen = dual[:, kept]
    return TagHeads(
        tuple(heads), vocabulary, np.asarray(some.T @ chosen), (ridge.CONSTANT * chosen.sum(axis=0)).astype(np.float32)
    )


def _folds(group: npt.NDArray[np.int64], seed: int) -> list[npt.NDArray[np.int64]]:
    own = np.where(group >= 0, group, group.max(initial=-1) + 1 + np.arange(len(group)))
    _, member = np.unique(own, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(member.max() + 1)[member] % _FOLDS
    return [np.flatnonzero(fold == number) for number in range(_FOLDS) if (fold == number).any()]


def _head(tag: str, scores: Floats, truth: npt.NDArray[np.bool_]) -> Head | None:
    design = np.column_stack((scores, np.ones(len(scores)))).astype(np.float64)
    slope, offset = fit_logistic(design, truth.astype(np.float64)).tolist()
    probability = logistic(slope * scores.astype(np.float64) + offset)
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    count = np.arange(1, len(order) + 1)
    likely = probability[order] >= 0.5  # whatever the surer ones have earned, one that is rather wrong is not set
    good = np.flatnonzero(likely & (hits >= PRECISE * count) & (count >= min(_SURE, truth.sum())))
    if not len(good) or hits[good[-1]] < LEAST_FOUND * truth.sum():
        return None
    last = good[-1]
    return Head(
        tag,
        round(slope, 6),
        round(offset, 6),
        round(float(probability[order[last]]), 6),
        round(float(hits[last] / count[last]), 4),
        round(float(hits[last] / truth.sum()), 4),
        int(truth.sum()),
    )
