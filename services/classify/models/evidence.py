"""Which words decided: the n-grams that speak for a label, merged into the words that they cover.

Every n-gram spreads its weight for the label over its characters; neighbouring characters that carry much become one
word, so that a reader sees 拖欠工资 and not 拖欠, 欠工, 工资.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.classify.models.features import Encoded, Floats

MAX_WORDS = 4
_TRIES = 12
"""strongest runs of a text that are looked at: a text that repeats itself has hundreds"""
_SHARE = 0.3
"""A character belongs to a word when it carries this share of the most telling character's weight."""
_PARTICLES = "的了是在有我你他她它们这那和也都就不没到很个被把给对又还去来说要请一上下里"
_BREAK = re.compile(r"[\W_]+")


def deciding_words(
    texts: Sequence[str], encoded: Encoded, weights: Floats, idf: Floats, label: npt.NDArray[np.int64]
) -> list[list[str]]:
    """For each text the words that spoke most for its `label` (a column of `weights`), the strongest first."""
    lengths = np.zeros(len(texts), dtype=np.int64)
    np.maximum.at(lengths, encoded.row, encoded.start + encoded.length)
    first = np.concatenate(([0], np.cumsum(lengths + 1)))  # one cold place after each text keeps words apart
    gain = weights[encoded.feature, label[encoded.row]] * idf[encoded.feature]
    telling = gain > 0
    gain, length = gain[telling] / encoded.length[telling], encoded.length[telling]
    begin = first[encoded.row[telling]] + encoded.start[telling]
    heat = np.zeros(int(first[-1]) + 1)
    for order in range(1, int(length.max(initial=0)) + 1):
        covers = length >= order
        heat += np.bincount(begin[covers] + order - 1, weights=gain[covers], minlength=len(heat))
    row = np.repeat(np.arange(len(texts)), lengths + 1)
    peak = np.zeros(len(texts))
    np.maximum.at(peak, row, heat[:-1])
    hot = np.zeros(len(heat) + 1, dtype=np.int8)
    hot[1:-1] = (heat[:-1] > 0) & (heat[:-1] >= _SHARE * peak[row])
    turns = np.diff(hot)
    starts, ends = np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)
    total = np.concatenate(([0.0], np.cumsum(heat)))
    strength = total[ends] - total[starts]
    owner = row[starts] if len(starts) else np.empty(0, dtype=np.int64)
    words: list[list[str]] = [[] for _ in texts]
    best_first = np.lexsort((-strength, owner))
    rank = np.arange(len(best_first)) - np.searchsorted(owner[best_first], owner[best_first])
    for at in best_first[rank < _TRIES].tolist():
        place = int(owner[at])
        if len(words[place]) >= MAX_WORDS:
            continue
        word = _cut(texts[place], int(starts[at] - first[place]), int(ends[at] - first[place]))
        if word and word not in words[place]:
            words[place].append(word)
    return words


def _cut(text: str, start: int, end: int) -> str:
    """The longest word between two code units, without particles at its ends; empty when only particles are left."""
    read = text[: end + 1]  # code units are never fewer than characters
    if read.isascii() or max(read) < "\U00010000":
        span = text[start:end]
    else:
        span = read.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode("utf-16-le", "ignore")
    word = max(_BREAK.split(span), key=len).strip(_PARTICLES)
    return word if len(word) > 1 else ""
