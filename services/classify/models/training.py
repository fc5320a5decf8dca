"""Fitting the linear classifier: one support vector machine a label, then calibration on the most recent texts.

Interrupting is harmless: the weights of every finished label are kept in a work folder beside the model and the same
command goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from services.classify.models.calibration import Calibrator, fit_calibrator
from services.classify.models.features import Floats, Vocabulary
from services.classify.models.linear import LinearClassifier

MAX_CELLS = 50_000_000
"""Bound on features × labels (200 MB of float32): beyond it the least telling n-grams are dropped."""


@dataclass(frozen=True, slots=True)
class Options:
    """`balance` 0 leaves classes as they are, 1 gives every class the same weight; texts lose half their weight every
    `half_life_days` (0: never); `window` is the share held out for calibration; `cost` is the SVM's C."""

    orders: tuple[int, ...] = (1, 2, 3)
    min_texts: int = 2
    cost: float = 0.7
    balance: float = 0.35
    half_life_days: float = 60.0
    window: float = 0.15
    seed: int = 12345


class Progress(Protocol):
    """Hears how far a stage is: `done` of `total` steps."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def quiet(stage: str, done: int, total: int) -> None:
    """The Progress of a caller who does not watch."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled texts: `age_days` counts back from the newest text (all 0 without dates); `group` names texts that must
    not be split between fitting and calibration (say, copies of one call), -1 for texts on their own. `strangers` are
    texts of labels too rare to learn, with their ages: they only tell how often no answer can be right."""

    texts: Sequence[str]
    labels: Sequence[str]
    age_days: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]
    strangers: Sequence[tuple[str, float]] = ()


def train(
    sample: Sample,
    *,
    version: str,
    options: Options | None = None,
    progress: Progress = quiet,
    work: Path | None = None,
) -> tuple[LinearClassifier, dict[str, Any]]:
    """Fit a model; returns it with the facts for model.json. Raises ValueError with fewer than two labels.

    `work` is a folder for the resumable pieces; it is removed at the end.
    """
    options = options or Options()
    names = tuple(sorted(set(sample.labels)))
    if len(names) < 2:
        raise ValueError("training needs at least two labels; lower min_count or check the label column")
    place_of = {name: place for place, name in enumerate(names)}
    truth = np.array([place_of[label] for label in sample.labels], dtype=np.int64)
    vocabulary = Vocabulary.fit(
        sample.texts,
        orders=options.orders,
        min_texts=options.min_texts,
        on_chunk=_counter("vocabulary", len(sample.texts), progress),
    )
    encoded = vocabulary.encode(sample.texts)
    matrix = encoded.matrix.astype(np.float64)
    shelf = _Shelf(work, _signature(sample, options))
    old, recent = _split(sample, options)
    weights = _sample_weights(truth, sample.age_days, options)

    fitted, bias = _fit_labels(
        matrix[old], truth[old], weights[old], len(names), options, shelf, "calibration", progress
    )
    scores = matrix[recent] @ fitted + bias
    strangers = vocabulary.encode(_strangers(sample, recent))
    calibrator = fit_calibrator(
        np.concatenate((scores, strangers.matrix @ fitted + bias)),
        np.concatenate((truth[recent], np.full(len(strangers.known), -1))),
        np.concatenate((encoded.known[recent], strangers.known)),
    )
    held_out = _held_out(calibrator, scores, truth[recent], encoded.known[recent])
    del fitted, scores

    final, bias = _fit_labels(matrix, truth, weights, len(names), options, shelf, "model", progress)
    kept = _telling(final, vocabulary.idf, len(names))
    model = LinearClassifier(
        version, names, vocabulary.restrict(kept), np.ascontiguousarray(final[kept]), bias, calibrator
    )
    facts = {
        "texts": len(sample.texts),
        "labels": len(names),
        "smallest_label": min(Counter(sample.labels).values()),
        "features": int(kept.sum()),
        "calibration_texts": len(recent) + len(strangers.known),
        "options": asdict(options),
        "held_out": held_out,
    }
    shelf.clear()
    return model, facts


def _split(sample: Sample, options: Options) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places to fit on, and the most recent `window` of the texts to calibrate on (any texts when all are as old)."""
    rng = np.random.default_rng(options.seed)
    count = len(sample.texts)
    size = min(max(1, round(count * options.window)), count - 1)
    groups = np.where(sample.group >= 0, sample.group, sample.group.max(initial=-1) + 1 + np.arange(count))
    # a group is as recent as its newest text, and falls on one side as a whole
    _, member = np.unique(groups, return_inverse=True)
    newest = np.full(member.max() + 1, np.inf)
    np.minimum.at(newest, member, sample.age_days)
    draw = rng.random(len(newest))
    order = np.lexsort((member, draw[member], newest[member]))
    cut = size
    while cut < count - 1 and member[order[cut]] == member[order[cut - 1]]:
        cut += 1
    return np.sort(order[cut:]), np.sort(order[:cut])


def _strangers(sample: Sample, recent: npt.NDArray[np.int64]) -> list[str]:
    """Texts of unlearnt labels that are as recent as the calibration texts; their share of all when none has a date."""
    ages = sample.age_days[recent]
    if len(ages) and sample.age_days.max() > 0:
        oldest = float(np.quantile(ages, 0.9))  # a few old texts are among the recent ones, as copies of those
        return [text for text, age in sample.strangers if age <= oldest]
    return [text for text, _ in sample.strangers[: round(len(sample.strangers) * len(recent) / len(sample.texts))]]


def _sample_weights(
    truth: npt.NDArray[np.int64], age_days: npt.NDArray[np.float64], options: Options
) -> npt.NDArray[np.float64]:
    counts = np.bincount(truth)
    weights: npt.NDArray[np.float64] = (1.0 / counts[truth]) ** options.balance
    weights /= weights.mean()
    if options.half_life_days > 0:
        weights = weights * 0.5 ** (age_days / options.half_life_days)
    weights /= weights.mean()
    return weights


def _fit_labels(
    matrix: sparse.csr_matrix,
    truth: npt.NDArray[np.int64],
    sample_weights: npt.NDArray[Any],
    labels: int,
    options: Options,
    shelf: _Shelf,
    stage: str,
    progress: Progress,
) -> tuple[Floats, Floats]:
    from sklearn.svm import LinearSVC  # only training needs it: the service starts faster and smaller without

    weights = np.zeros((matrix.shape[1], labels), dtype=np.float32)
    bias = np.full(labels, -1.0, dtype=np.float32)
    for label in range(labels):
        found = shelf.get(stage, label)
        if found is None:
            mine = truth == label
            if mine.any() and not mine.all():
                machine = LinearSVC(C=options.cost, random_state=options.seed, max_iter=2000)
                machine.fit(matrix, mine, sample_weight=sample_weights)
                found = np.concatenate((machine.coef_[0], machine.intercept_)).astype(np.float32)
            else:  # a label that is only in the held-out part
                found = np.concatenate((np.zeros(matrix.shape[1]), [-1.0])).astype(np.float32)
            shelf.put(stage, label, found)
        weights[:, label], bias[label] = found[:-1], found[-1]
        progress(stage, label + 1, labels)
    return weights, bias


def _telling(weights: Floats, idf: Floats, labels: int) -> npt.NDArray[np.bool_]:
    """Mark the n-grams to keep: those with any weight, and not more than MAX_CELLS allows."""
    power = np.abs(weights).max(axis=1) * idf
    kept: npt.NDArray[np.bool_] = power > 1e-6
    room = MAX_CELLS // labels
    if int(kept.sum()) > room:
        kept = power > np.partition(power, len(power) - room - 1)[len(power) - room - 1]
    return kept


def _held_out(
    calibrator: Calibrator,
    scores: npt.NDArray[Any],
    truth: npt.NDArray[np.int64],
    known: npt.NDArray[Any],
) -> dict[str, float]:
    """Accuracy and top-3 on the calibration texts, by a model that has not seen them."""
    ranking = calibrator.rank(scores, known)
    return {
        "accuracy": round(float((ranking.place[:, 0] == truth).mean()), 4),
        "top3": round(float((ranking.place[:, :3] == truth[:, None]).any(axis=1).mean()), 4),
    }


def _counter(stage: str, total: int, progress: Progress) -> Any:
    done = 0

    def on_chunk(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    return on_chunk


def _signature(sample: Sample, options: Options) -> str:
    digest = hashlib.sha256(json.dumps(asdict(options), sort_keys=True).encode())
    for text, label, age in zip(sample.texts, sample.labels, sample.age_days.tolist(), strict=True):
        digest.update(f"{label}\0{age}\0{text}\0".encode("utf-8", "surrogatepass"))
    for text, age in sample.strangers:
        digest.update(f"{age}\0{text}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class _Shelf:
    """Finished pieces of an interrupted training; without a folder it keeps nothing."""

    def __init__(self, folder: Path | None, signature: str) -> None:
        self._folder = folder
        if folder is None:
            return
        mark = folder / "signature"
        if not mark.exists() or mark.read_text() != signature:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(signature)

    def get(self, stage: str, label: int) -> npt.NDArray[np.float32] | None:
        if self._folder is None:
            return None
        path = self._folder / f"{stage}-{label}.npy"
        if not path.exists():
            return None
        return np.load(path, allow_pickle=False).astype(np.float32)  # type: ignore[no-any-return]

    def put(self, stage: str, label: int, values: npt.NDArray[np.float32]) -> None:
        if self._folder is None:
            return
        part = self._folder / f"{stage}-{label}.part.npy"
        np.save(part, values, allow_pickle=False)
        part.replace(self._folder / f"{stage}-{label}.npy")

    def clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
