"""One regularised least-squares fit for all labels together, over cases instead of features (kernel ridge regression).

Up to DENSE cases the kernel is a matrix and one Cholesky factor serves every label; beyond that it is only multiplied
(conjugate gradients), so memory grows with the texts and not with their square.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from services.classify.models.features import Floats
from services.classify.models.meaning import nearness

DENSE = 14_000
"""most cases for which the kernel is kept as a matrix (800 MB)"""
CONSTANT = np.float32(0.1)
"""what any two cases have in common: the bias of every label"""
_ROWS = 1_024
_LANDMARKS = 1_000
_ROUNDS = 60
_TOLERANCE = 3e-3


def linear_kernel(matrix: sparse.csr_matrix, on_rows: Callable[[int], None] | None = None) -> Floats:
    """matrix · matrixᵀ as a dense array, made block by block; `on_rows` hears how many rows were made."""
    out = np.empty((matrix.shape[0], matrix.shape[0]), dtype=np.float32)
    turned = matrix.T.tocsr()
    for start in range(0, len(out), _ROWS):
        block = out[start : start + _ROWS]
        block[:] = (matrix[start : start + _ROWS] @ turned).toarray()
        if on_rows is not None:
            on_rows(len(block))
    return out


def fit(
    matrix: sparse.csr_matrix,
    places: Floats | None,
    targets: Floats,
    weights: npt.NDArray[np.float64],
    ridge: float,
    windows: Sequence[npt.NDArray[np.int64]],
    on_rows: Callable[[int], None] | None = None,
) -> tuple[Floats, list[Floats]]:
    """The share of each case in each label's score, (cases × labels): scores of a new text are its kernel with the
    cases times this. And, for each window (sorted places of cases), the scores of its cases by the fit without them;
    for more than DENSE cases only of the first window.

    `targets` is 1 for the right label and -1 elsewhere; `weights` has mean 1; `places` have length 1. `on_rows` hears
    how many cases are done.
    """
    if matrix.shape[0] > DENSE:
        rest = np.setdiff1d(np.arange(len(targets)), windows[0])
        some = None if places is None else places[rest]
        dual = _by_multiplying(matrix[rest], some, targets[rest], weights[rest], ridge, None)
        held = matrix[windows[0]] @ (matrix[rest].T @ dual) + CONSTANT * dual.sum(axis=0)
        if places is not None:
            held += nearness(places[windows[0]], places[rest]) @ dual
        return _by_multiplying(matrix, places, targets, weights, ridge, on_rows), [held]
    kernel = linear_kernel(matrix, on_rows)
    kernel += CONSTANT
    if places is not None:
        for start in range(0, len(kernel), _ROWS):
            kernel[start : start + _ROWS] += nearness(places[start : start + _ROWS], places)
    kernel[np.diag_indices_from(kernel)] += (ridge / weights).astype(np.float32)
    # the transpose is the same matrix in the order that LAPACK wants: it is inverted where it stands, lower half only
    factor, info = linalg.lapack.spotrf(kernel.T, lower=1, overwrite_a=1, clean=0)
    if info == 0:
        inverse, info = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise ValueError("the fit is not stable: raise the ridge")
    dual = linalg.blas.ssymm(1.0, inverse, targets, lower=1)
    # a fit without some cases follows from the fit with them (Allen 1974, for groups of cases)
    held = [
        targets[window] - linalg.cho_solve(linalg.cho_factor(inverse[np.ix_(window, window)], lower=True), dual[window])
        for window in windows
    ]
    return np.ascontiguousarray(dual), held


def _by_multiplying(
    matrix: sparse.csr_matrix,
    places: Floats | None,
    targets: Floats,
    weights: npt.NDArray[np.float64],
    ridge: float,
    on_rows: Callable[[int], None] | None,
) -> Floats:
    """Conjugate gradients, every label at once; √weights on both sides makes the problem round."""
    root = np.sqrt(weights).astype(np.float32)[:, None]
    turned = matrix.T.tocsr()
    features = _nystrom(places) if places is not None else None

    def times(vector: Floats) -> Floats:
        heavy = root * vector
        out: Floats = matrix @ (turned @ heavy) + CONSTANT * heavy.sum(axis=0)
        if features is not None:
            out += features @ (features.T @ heavy)
        out *= root
        out += np.float32(ridge) * vector
        return out

    found = np.zeros_like(targets)
    residual = root * targets
    direction = residual.copy()
    size = (residual**2).sum(axis=0)
    enough = _TOLERANCE**2 * size
    for turn in range(_ROUNDS):
        image = times(direction)
        step = size / np.maximum((direction * image).sum(axis=0), 1e-20)
        found += step * direction
        residual -= step * image
        before, size = size, (residual**2).sum(axis=0)
        if on_rows is not None:
            on_rows(len(targets) * (turn + 1) // _ROUNDS - len(targets) * turn // _ROUNDS)
        if (size <= enough).all():
            break
        direction = residual + size / np.maximum(before, 1e-20) * direction
    return root * found


def _nystrom(places: Floats) -> Floats:
    """Features (cases × landmarks) whose products stand for the nearness of two places."""
    chosen = np.random.default_rng(0).choice(len(places), min(_LANDMARKS, len(places)), replace=False)
    landmarks = places[np.sort(chosen)]
    among = nearness(landmarks, landmarks).astype(np.float64)
    among[np.diag_indices_from(among)] += 1e-3
    factor = linalg.cholesky(among, lower=True)
    out = np.empty((len(places), len(landmarks)), dtype=np.float32)
    for start in range(0, len(places), _ROWS):
        near = nearness(places[start : start + _ROWS], landmarks).astype(np.float64)
        out[start : start + _ROWS] = linalg.solve_triangular(factor, near.T, lower=True).T
    return out
