"""The second half of the model: a text is also judged by past cases that mean the same.

A text becomes a point of unit length. Each n-gram carries a piece of its place, learnt from a sentence encoder at
training, so that none runs in the service (`fast`); the `best` configuration runs it as well and joins both places.
Past cases pull towards their labels the more the nearer they are (a Gaussian of the distance), as in a regularisation
network (Poggio and Girosi 1990); twelve thousand of them stand for all (Nyström projection).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from services.classify.models import encoder
from services.classify.models.features import Floats

WIDTH = 256
"""dimensions that are kept of the encoder's: the directions in which the training texts differ most"""
LANDMARKS = 12_000
"""past cases that are kept; they cost 90 µs a text"""
STUDY = 12_000
"""texts from which n-grams learn their places"""
_STUDY_RIDGE = 0.5
_SHARPNESS = np.float32(2.0)


@dataclass(frozen=True, slots=True)
class Meaning:
    """`landmarks` (cases × width) have length 1 and `pull` (cases × labels) is what each says for every label. `pieces`
    (features × directions, of a loaded model in half precision: only those that a text uses are widened) places a text
    by its n-grams; `mean` (encoder's width) and `axes` (encoder's width ×
    directions), where they are, by its encoding too."""

    landmarks: Floats
    pull: Floats
    pieces: npt.NDArray[Any]
    mean: Floats | None = None
    axes: Floats | None = None

    def scores(self, matrix: sparse.csr_matrix, texts: Sequence[str]) -> Floats:
        """What the past cases say for each label, (texts × labels). Raises EncoderMissing (`best` alone needs it)."""
        said = np.zeros(matrix.shape[1], dtype=bool)
        said[matrix.indices] = True
        used = np.flatnonzero(said)
        column = np.cumsum(said, dtype=np.int32) - 1
        own = sparse.csr_matrix((matrix.data, column[matrix.indices], matrix.indptr), (matrix.shape[0], len(used)))
        places = place(own, texts, self.pieces[used].astype(np.float32), self.mean, self.axes)
        found: Floats = nearness(places, self.landmarks) @ self.pull
        return found

    def restrict(self, kept: Sequence[int]) -> Meaning:
        """What is said for the labels at the places `kept`."""
        return replace(self, pull=np.ascontiguousarray(self.pull[:, kept]))


def place(
    matrix: sparse.csr_matrix, texts: Sequence[str], pieces: Floats, mean: Floats | None, axes: Floats | None
) -> Floats:
    """Where texts stand, by their n-grams and, with `mean` and `axes`, by their encoding as well."""
    by_words = unit(np.asarray(matrix @ pieces))
    return by_words if mean is None or axes is None else joined(by_words, unit((encoder.encode(texts) - mean) @ axes))


def joined(by_words: Floats, by_encoder: Floats) -> Floats:
    """One place of two; what both say counts half each."""
    return unit(np.hstack((by_words, by_encoder)))


def nearness(left: Floats, right: Floats) -> Floats:
    """1 for the same point, e⁻⁴ for opposite ones; (left × right) of two sets of unit vectors."""
    found: Floats = left @ right.T
    found -= np.float32(1)
    found *= _SHARPNESS
    np.exp(found, out=found)
    return found


def unit(vectors: npt.NDArray[Any]) -> Floats:
    """The same directions with length 1; zero stays zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = (vectors / np.maximum(norm, 1e-9)).astype(np.float32)
    return found


def principal_axes(encodings: Floats) -> tuple[Floats, Floats]:
    """The mean of `encodings` and the directions (encoder's width × WIDTH or fewer) in which they differ most."""
    mean = encodings.mean(axis=0)
    centred = (encodings - mean).astype(np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    width = min(WIDTH, len(encodings), encodings.shape[1])
    return mean, np.ascontiguousarray(directions[:, ::-1][:, :width]).astype(np.float32)


def learn_pieces(matrix: sparse.csr_matrix, places: npt.NDArray[Any], gram: Floats) -> tuple[Floats, Floats]:
    """Ridge regression of `places` (texts × width) on the n-grams of `matrix`; `gram` is matrix · matrixᵀ, used up.

    Returns what each n-gram carries, and where each text would stand if it had not been learnt from (leave-one-out in
    closed form, Allen 1974): the model must see places as unsure as those of new texts.
    """
    gram[np.diag_indices_from(gram)] += np.float32(_STUDY_RIDGE)
    inverse = linalg.inv(gram, overwrite_a=True, check_finite=False)
    dual = inverse @ places
    honest = places - dual / np.diag(inverse)[:, None]
    return np.asarray(matrix.T @ dual).astype(np.float32), honest.astype(np.float32)


def summarise(places: Floats, dual: Floats, landmarks: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Let the cases at `landmarks` say what all cases say together: the same scores at every landmark."""
    chosen = places[landmarks]
    if len(chosen) == len(places):
        return chosen, dual[landmarks].astype(np.float32)
    said = np.zeros((len(chosen), dual.shape[1]), dtype=np.float32)
    for start in range(0, len(places), 4_096):
        said += nearness(chosen, places[start : start + 4_096]) @ dual[start : start + 4_096]
    among = nearness(chosen, chosen).astype(np.float64)
    among[np.diag_indices_from(among)] += 1e-3
    pull = linalg.solve(among, said, assume_a="pos", overwrite_a=True, check_finite=False)
    return chosen, pull.astype(np.float32)
