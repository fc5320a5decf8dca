"""Which texts a model has learnt from, and what it answered to those it was judged by before it learnt them.

A model must not be compared on texts that it was fitted to. Where it saw one, its answer is the one of the fit without
it, if that was kept; else the text says nothing about the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classify.models.features import Ints, Keys

UNFAIR = -2
"""place of an answer that would say nothing, because the model has learnt the text"""
FRESH = -3
"""mark of a text that the model has never seen: it may be asked"""
NONE = -1
"""place of an answer that is no label of the model any more"""


def text_keys(texts: Sequence[str]) -> Keys:
    """64-bit names of texts; white space does not count."""
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b("".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
            )
            for text in texts
        ],
        dtype=np.uint64,
    )


@dataclass(frozen=True, slots=True)
class Schooling:
    """`seen` and `held` name texts (sorted); `answered` is for each of `held` the place of the label that the fit
    without it gave."""

    seen: Keys
    held: Keys
    answered: npt.NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[str], held: Sequence[str], answered: Ints) -> Schooling:
        """Of the texts that were learnt, and of those that were held out for a while."""
        keys, first = np.unique(text_keys(held), return_index=True)
        return cls(np.unique(text_keys(texts)), keys, answered[first].astype(np.int32))

    def fair(self, texts: Sequence[str]) -> Ints:
        """For each text the place of the label that was answered without having learnt it; UNFAIR where that was not
        kept; FRESH for a text that was never seen."""
        keys = text_keys(texts)
        found = np.where(np.isin(keys, self.seen), UNFAIR, FRESH).astype(np.int64)
        if len(self.held):
            place = np.minimum(np.searchsorted(self.held, keys), len(self.held) - 1)
            known = self.held[place] == keys
            found[known] = self.answered[place[known]]
        return found

    def restrict(self, kept: Sequence[int], labels: int) -> Schooling:
        """The same with the labels at the places `kept` of `labels`."""
        moved = np.full(labels, NONE, dtype=np.int32)
        moved[list(kept)] = np.arange(len(kept), dtype=np.int32)
        return Schooling(self.seen, self.held, np.where(self.answered >= 0, moved[self.answered], NONE))
