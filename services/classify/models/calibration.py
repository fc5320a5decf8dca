"""Turning scores into probabilities that mean what they say.

Two stages. A softmax with one temperature spreads the scores over the labels; a logistic function of a few facts about
the answer (how likely, how far ahead of the second, how far above the boundary, how many of its n-grams are known, how
often this label was right before) then says how often such an answer is right. Both are fitted on texts that the scores
have not seen, the most recent ones when dates are known, and on texts of labels that the model does not have, because
such texts will come too. No fact may speak against an answer by being better, and none counts beyond what was seen
while fitting: texts of another kind get less confidence, never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FACTS = ("log p1", "log p1/p2", "score", "margin", "known share", "record", "constant")
_DOUBT = 10.0
"""answers that a label's own record must outweigh before it counts as much as the average of all labels"""
_TEMPERATURES = np.geomspace(0.3, 30, 41)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best labels of each text: `place` (texts × top) indexes the labels, `probability` belongs to it."""

    place: npt.NDArray[np.int64]
    probability: Array


@dataclass(frozen=True, slots=True)
class Calibrator:
    """`temperature` multiplies scores before the softmax; `coefficients` belong to FACTS and `bounds` is the lowest and
    highest value of each that was seen; `record` has the log-odds that an answer of each label was right (all three
    empty for a model without labelled texts); no probability exceeds `ceiling`."""

    temperature: float
    coefficients: tuple[float, ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    record: tuple[float, ...] = ()
    ceiling: float = 0.995

    def rank(self, scores: npt.NDArray[np.floating[Any]], known: npt.NDArray[Any], top: int = 5) -> Ranking:
        """Rank `scores` (texts × labels); `known` is the share of each text's n-grams that the model knows."""
        width = min(top, scores.shape[1])
        if width < scores.shape[1]:
            place = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        else:
            place = np.tile(np.arange(width), (len(scores), 1))
        best = np.take_along_axis(scores, place, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        place, best = np.take_along_axis(place, order, axis=1), np.take_along_axis(best, order, axis=1)
        heat = best[:, :1]
        total = np.exp(self.temperature * (scores - heat)).sum(axis=1, keepdims=True, dtype=np.float64)
        probability = np.exp(self.temperature * (best - heat).astype(np.float64)) / total
        if self.coefficients:
            low, high = np.array(self.bounds).T
            record = np.array(self.record)[place[:, 0]]
            design = np.clip(facts(best, probability, known, record), low, high)
            right = logistic(design @ np.array(self.coefficients))
            rest = np.maximum(1 - probability[:, :1], 1e-9)
            probability[:, 1:] = np.minimum(probability[:, 1:] / rest * (1 - right[:, None]), right[:, None])
            probability[:, 0] = right
        return Ranking(place, np.minimum(probability, self.ceiling))

    def restrict(self, kept: Sequence[int]) -> Calibrator:
        """The calibration of the labels at the places `kept`."""
        return replace(self, record=tuple(self.record[place] for place in kept) if self.record else ())

    def to_json(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "coefficients": list(self.coefficients),
            "bounds": [list(pair) for pair in self.bounds],
            "record": list(self.record),
            "ceiling": self.ceiling,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Calibrator:
        """Raises KeyError, TypeError or ValueError for a body that `to_json` never wrote."""
        found = cls(
            temperature=float(body["temperature"]),
            coefficients=tuple(float(one) for one in body["coefficients"]),
            bounds=tuple((float(low), float(high)) for low, high in body["bounds"]),
            record=tuple(float(one) for one in body["record"]),
            ceiling=float(body["ceiling"]),
        )
        numbers = [
            found.temperature,
            found.ceiling,
            *found.coefficients,
            *found.record,
            *(one for pair in found.bounds for one in pair),
        ]
        if (
            not np.isfinite(numbers).all()
            or not 0 < found.ceiling <= 1
            or len(found.coefficients) not in (0, len(FACTS))
            or len(found.bounds) != len(found.coefficients)
            or bool(found.record) != bool(found.coefficients)
        ):
            raise ValueError("the calibration has wrong numbers")
        return found


def facts(best: npt.NDArray[Any], probability: Array, known: npt.NDArray[Any], record: Array) -> Array:
    """The facts about each first answer, (texts × len(FACTS)), from its sorted scores and softmax probabilities, and
    the record of its label."""
    p1 = np.clip(probability[:, 0], 1e-9, 1)
    p2 = np.clip(probability[:, 1], 1e-9, 1) if probability.shape[1] > 1 else np.full(len(p1), 1e-9)
    second = best[:, 1] if best.shape[1] > 1 else best[:, 0] - 1
    return np.column_stack(
        (np.log(p1), np.log(p1 / p2), best[:, 0], best[:, 0] - second, known, record, np.ones(len(p1)))
    ).astype(np.float64)


def fit_calibrator(scores: npt.NDArray[Any], truth: npt.NDArray[np.int64], known: npt.NDArray[Any]) -> Calibrator:
    """Fit on held-out texts; `truth` is the place of the right label, -1 when the scores have no such label."""
    ours = truth >= 0
    shifted = (scores - scores.max(axis=1, keepdims=True)).astype(np.float64)[ours]
    right = shifted[np.arange(len(shifted)), truth[ours]]
    losses = [
        float((np.log(np.exp(heat * shifted).sum(axis=1)) - heat * right).mean()) for heat in _TEMPERATURES.tolist()
    ]
    plain = Calibrator(float(_TEMPERATURES[int(np.argmin(losses))]), ceiling=1.0)
    ranking = plain.rank(scores, known)
    first = ranking.place[:, 0]
    hit = (first == truth).astype(np.float64)
    usual = _DOUBT * float(np.clip(hit.mean(), 0.01, 0.99))
    answers = np.bincount(first, minlength=scores.shape[1]).astype(np.float64)
    hits = np.bincount(first, weights=hit, minlength=scores.shape[1])
    record = _log_odds((hits + usual) / (answers + _DOUBT))
    # what an answer adds to its label's record must not help to judge that answer
    record_of_others = _log_odds((hits[first] - hit + usual) / (answers[first] - 1 + _DOUBT))
    design = facts(np.take_along_axis(scores, ranking.place, axis=1), ranking.probability, known, record_of_others)
    return Calibrator(
        plain.temperature,
        tuple(float(one) for one in fit_logistic(design, hit)),
        tuple(zip(design.min(axis=0).tolist(), design.max(axis=0).tolist(), strict=True)),
        tuple(record.tolist()),
    )


def fit_logistic(design: Array, hit: Array, ridge: float = 1.0) -> Array:
    """Ridge logistic regression on scaled columns; all coefficients but the constant (last) are ≥ 0."""
    from scipy.optimize import minimize  # only training needs it

    spread = design.std(axis=0)
    spread[spread < 1e-9] = 1.0
    scaled = design / spread
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 0.0

    def loss(weights: Array) -> tuple[float, Array]:
        guess = np.clip(logistic(scaled @ weights), 1e-12, 1 - 1e-12)
        cost = -(hit * np.log(guess) + (1 - hit) * np.log(1 - guess)).sum() + 0.5 * float(penalty @ weights**2)
        return float(cost), scaled.T @ (guess - hit) + penalty * weights

    limits = [(0.0, None)] * (design.shape[1] - 1) + [(None, None)]
    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=limits)
    weights: Array = found.x / spread
    return weights


def _log_odds(share: Array) -> Array:
    odds: Array = np.log(share / (1 - share))
    return odds


def logistic(value: Array) -> Array:
    probability: Array = 1 / (1 + np.exp(-np.clip(value, -30, 30)))
    return probability
