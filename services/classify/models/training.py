"""Fitting the classifier: places of the texts, a least-squares fit of all labels, calibration on the most recent texts.

Interrupting is harmless: every finished piece is kept in a work folder beside the model and the same command goes on
from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from services.classify.models import encoder, ridge, tag_heads
from services.classify.models.calibration import Calibrator, fit_calibrator
from services.classify.models.features import Floats, Ints, Vocabulary
from services.classify.models.linear import LinearClassifier
from services.classify.models.meaning import (
    LANDMARKS,
    STUDY,
    Meaning,
    joined,
    learn_pieces,
    nearness,
    place,
    principal_axes,
    summarise,
    unit,
)
from services.classify.models.schooling import Schooling

log = logging.getLogger(__name__)

Configuration = Literal["words", "fast", "best"]

MAX_CELLS = 50_000_000
"""Bound on features × labels (200 MB of float32): beyond it the least telling n-grams are dropped."""

_TELLS_A_TAG = 1e-3
_TELLS_ITSELF = 200
"""texts of a label from which on its name counts less; with twice as many it says nothing more"""
_WORD = re.compile(r"[^\W\d_a-zA-Z]{2}|[a-zA-Z]{3}")
"""a name that says something: numbers and short codes do not"""
_ENCODED = 512
"""texts of one piece of the encoding stage"""


@dataclass(frozen=True, slots=True)
class Options:
    """`configuration`: `words` knows n-grams alone; `fast` also places texts by what their n-grams mean, learnt from
    the sentence encoder; `best` runs the encoder on every text. `balance` 0 leaves classes as they are, 1 gives every
    class the same weight; `ridge` holds the fit back (both None: by how many texts a label has, see `fitting`); `names`
    is what a label whose name has words says by itself for the texts that use them; texts lose half their weight every
    `half_life_days` (0: never); `windows` times the share `window` is held out for calibration."""

    configuration: Configuration = "fast"
    orders: tuple[int, ...] = (1, 2, 3)
    min_texts: int = 2
    ridge: float | None = None
    balance: float | None = None
    names: float = 2.0
    half_life_days: float = 60.0
    window: float = 0.15
    windows: int = 4
    seed: int = 12345


def fitting(options: Options, texts: int, labels: int) -> Options:
    """The options with `ridge` and `balance` chosen: from 30 texts a label on 1 and 0.35, down to 10 towards 3 and 0,
    because a label's few texts tell neither how it sounds nor how often it comes."""
    few = float(np.clip(30 * labels / texts - 1, 0, 2)) / 2
    return replace(
        options,
        ridge=1.0 + 2.0 * few if options.ridge is None else options.ridge,
        balance=0.35 * (1.0 - few) if options.balance is None else options.balance,
    )


class Progress(Protocol):
    """Hears how far a stage is: `done` of `total` steps."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def quiet(stage: str, done: int, total: int) -> None:
    """The Progress of a caller who does not watch."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled texts: `age_days` counts back from the newest text (all 0 without dates); `group` names texts that must
    not be split between fitting and calibration (say, copies of one call), -1 for texts on their own. `strangers` are
    texts of labels too rare to learn, with their ages: they only tell how often no answer can be right. `tags` has the
    tags of each text that somebody tagged, None for the others (empty: nobody tagged any)."""

    texts: Sequence[str]
    labels: Sequence[str]
    age_days: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]
    strangers: Sequence[tuple[str, float]] = ()
    tags: Sequence[frozenset[str] | None] = ()


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
    options = fitting(options, len(sample.texts), len(names))
    place_of = {name: place for place, name in enumerate(names)}
    truth = np.array([place_of[label] for label in sample.labels], dtype=np.int64)
    vocabulary = Vocabulary.fit(
        sample.texts,
        orders=options.orders,
        min_texts=options.min_texts,
        on_chunk=_counter("vocabulary", len(sample.texts), progress),
    )
    encoded = vocabulary.encode(sample.texts)
    matrix = encoded.matrix
    shelf = _Shelf(work, _signature(sample, options))
    ground = lay_ground(sample.texts, matrix, options, shelf, progress)
    windows = _windows(sample, options)
    weights = _sample_weights(truth, sample.age_days, options)
    targets = np.full((len(truth), len(names)), -1, dtype=np.float32)
    targets[np.arange(len(truth)), truth] = 1
    dual, held = _fit(matrix, ground.places, targets, weights, windows, options, shelf, progress)
    final, bias = _weights(matrix, dual)
    spoken = _names(vocabulary, names, np.bincount(truth), options.names)
    final += spoken.T.toarray()

    recent = np.concatenate(windows[: len(held)])
    scores = np.concatenate(held) + (matrix[recent] @ spoken.T).toarray()
    stranger_texts = _strangers(sample, recent)
    strangers = vocabulary.encode(stranger_texts)
    foreign = strangers.matrix @ final + bias
    if ground.places is not None:
        foreign += nearness(ground.place(strangers.matrix, stranger_texts), ground.places) @ dual
    calibrator = fit_calibrator(
        np.concatenate((scores, foreign)),
        np.concatenate((truth[recent], np.full(len(strangers.known), -1))),
        np.concatenate((encoded.known[recent], strangers.known)),
    )
    newest = slice(0, len(windows[0]))
    held_out = _held_out(calibrator, scores[newest], truth[windows[0]], encoded.known[windows[0]])

    heads = tag_heads.fit(vocabulary, matrix, sample.tags, sample.group, options.seed) if sample.tags else None
    kept = _telling(final, vocabulary.idf, len(names))
    if heads is not None:
        kept |= np.abs(heads.weights).max(axis=1) * vocabulary.idf > _TELLS_A_TAG
    spoken_for = vocabulary.restrict(kept)
    model = LinearClassifier(
        version,
        names,
        spoken_for,
        np.ascontiguousarray(final[kept]),
        bias,
        calibrator,
        meaning=ground.meaning(dual, kept, options),
        schooling=Schooling.of(
            [*sample.texts, *(text for text, _ in sample.strangers)],
            [sample.texts[place] for place in recent],
            np.argmax(scores, axis=1),
        ),
        tags=heads.restrict(kept, spoken_for) if heads is not None else None,
    )
    facts = {
        "texts": len(sample.texts),
        "labels": len(names),
        "smallest_label": min(Counter(sample.labels).values()),
        "features": int(kept.sum()),
        "calibration_texts": len(recent) + len(strangers.known),
        "options": {**asdict(options), "configuration": ground.configuration},
        "held_out": held_out,
        "tags": heads.to_json() if heads is not None else [],
    }
    shelf.clear()
    return model, facts


def _windows(sample: Sample, options: Options) -> list[npt.NDArray[np.int64]]:
    """Places of the texts to calibrate on, the most recent `windows` × `window` of all, in windows of like age, the
    newest first (any texts when all are as old). Each is judged by a fit without it."""
    rng = np.random.default_rng(options.seed)
    count = len(sample.texts)
    size = min(max(1, round(count * options.window)), count - 1)
    groups = np.where(sample.group >= 0, sample.group, sample.group.max(initial=-1) + 1 + np.arange(count))
    # a group is as recent as its newest text, and falls into one window as a whole
    _, member = np.unique(groups, return_inverse=True)
    newest = np.full(member.max() + 1, np.inf)
    np.minimum.at(newest, member, sample.age_days)
    draw = rng.random(len(newest))
    order = np.lexsort((member, draw[member], newest[member]))
    windows: list[npt.NDArray[np.int64]] = []
    begin = 0
    while len(windows) < options.windows and begin < count:
        end = min(begin + size, count if windows else count - 1)
        while end < (count if windows else count - 1) and member[order[end]] == member[order[end - 1]]:
            end += 1
        windows.append(np.sort(order[begin:end]))
        begin = end
    return windows


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
    weights: npt.NDArray[np.float64] = (1.0 / counts[truth]) ** (options.balance or 0.0)
    weights /= weights.mean()
    if options.half_life_days > 0:
        weights = weights * 0.5 ** (age_days / options.half_life_days)
    weights /= weights.mean()
    return weights


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the training texts stand (None: only their words count), and how another text is placed."""

    configuration: Configuration
    places: Floats | None = None
    pieces: Floats | None = None
    mean: Floats | None = None
    axes: Floats | None = None

    def place(self, matrix: sparse.csr_matrix, texts: Sequence[str]) -> Floats:
        assert self.pieces is not None
        return place(matrix, texts, self.pieces, self.mean, self.axes)

    def meaning(self, dual: Floats, kept: npt.NDArray[np.bool_], options: Options) -> Meaning | None:
        if self.places is None or self.pieces is None:
            return None
        rng = np.random.default_rng(options.seed)
        count = len(self.places)
        chosen = np.sort(rng.choice(count, min(LANDMARKS, count), replace=False))
        landmarks, pull = summarise(self.places, dual, chosen)
        return Meaning(landmarks, pull, np.ascontiguousarray(self.pieces[kept]), self.mean, self.axes)


def lay_ground(
    texts: Sequence[str],
    matrix: sparse.csr_matrix,
    options: Options,
    shelf: _Shelf | None = None,
    progress: Progress = quiet,
) -> Ground:
    """Encode the texts (for `fast` a sample of them) and place all. Without the encoder's package words must do."""
    if options.configuration == "words":
        return Ground("words")
    shelf = shelf or _Shelf(None, "")
    count = len(texts)
    study = everything = np.arange(count)
    if count > STUDY:
        study = np.sort(np.random.default_rng(options.seed).choice(count, STUDY, replace=False))
    encoded = everything if options.configuration == "best" else study
    parts = []
    try:
        for number, start in enumerate(range(0, len(encoded), _ENCODED)):
            part = encoded[start : start + _ENCODED]
            found = shelf.get("encoding", number)
            if found is None:
                found = encoder.encode([texts[place] for place in part])
                shelf.put("encoding", number, found)
            parts.append(found)
            progress("encoding", start + len(part), len(encoded))
    except encoder.EncoderMissing as error:
        log.warning("the model knows words alone", extra={"reason": str(error)})
        return Ground("words")
    encodings = np.concatenate(parts)
    mean, axes = principal_axes(encodings)
    directions = (encodings - mean) @ axes
    gram = ridge.linear_kernel(matrix[study], _counter("meaning", len(study), progress))
    pieces, honest = learn_pieces(matrix[study], directions[np.searchsorted(encoded, study)], gram)
    places = unit(np.asarray(matrix @ pieces))
    places[study] = unit(honest)
    if options.configuration == "best":
        return Ground("best", joined(places, unit(directions)), pieces, mean, axes)
    return Ground("fast", places, pieces)


def _fit(
    matrix: sparse.csr_matrix,
    places: Floats | None,
    targets: Floats,
    weights: npt.NDArray[np.float64],
    windows: Sequence[npt.NDArray[np.int64]],
    options: Options,
    shelf: _Shelf,
    progress: Progress,
) -> tuple[Floats, list[Floats]]:
    """The share of each case in each label's score, and the scores of the windows' cases by fits without them."""
    dual, flat = shelf.get("fit", 0), shelf.get("fit", 1)
    if dual is None or flat is None:
        on_rows = _counter("model", len(targets), progress)
        dual, held = ridge.fit(matrix, places, targets, weights, options.ridge or 1.0, windows, on_rows)
        shelf.put("fit", 0, dual)
        shelf.put("fit", 1, np.concatenate(held))
        return dual, held
    progress("model", len(targets), len(targets))
    cuts = np.cumsum([len(window) for window in windows])
    return dual, np.split(flat, [cut for cut in cuts.tolist() if cut < len(flat)])


def _weights(matrix: sparse.csr_matrix, dual: Floats) -> tuple[Floats, Floats]:
    """The weight of each n-gram for each label, and each label's bias."""
    return np.asarray(matrix.T @ dual), ridge.CONSTANT * dual.sum(axis=0)


def _names(vocabulary: Vocabulary, names: Sequence[str], counts: Ints, weight: float) -> sparse.csr_matrix:
    """The labels' names as texts, (labels × features), of length `weight`: all zero for a name without a word, as a
    number is, and less and less for a label of more than 200 texts, whose texts tell more than its name."""
    spoken = vocabulary.encode([name if _WORD.search(name) else "" for name in names]).matrix
    fading = np.clip(2 - counts / _TELLS_ITSELF, 0, 1)
    return sparse.csr_matrix(sparse.diags(weight * fading).astype(np.float32) @ spoken)


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


def _counter(stage: str, total: int, progress: Progress) -> Callable[[int], None]:
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

    def get(self, stage: str, number: int) -> npt.NDArray[np.float32] | None:
        if self._folder is None:
            return None
        path = self._folder / f"{stage}-{number}.npy"
        if not path.exists():
            return None
        return np.load(path, allow_pickle=False).astype(np.float32)  # type: ignore[no-any-return]

    def put(self, stage: str, number: int, values: npt.NDArray[np.float32]) -> None:
        if self._folder is None:
            return
        part = self._folder / f"{stage}-{number}.part.npy"
        np.save(part, values, allow_pickle=False)
        part.replace(self._folder / f"{stage}-{number}.npy")

    def clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
