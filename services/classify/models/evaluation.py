"""How well a model does on labelled texts: the report of `make evaluate` (quality.md, Quality of the intelligence)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classify.domain.labels import Candidate
from services.classify.models.dataset import Example
from services.classify.models.protocol import TOP, Classifier

_BATCH = 512
_BINS = 15


def predict(
    model: Classifier, examples: Sequence[Example], on_batch: Callable[[int], None] | None = None
) -> tuple[list[list[Candidate]], float]:
    """Candidates of every example, and the seconds it took."""
    answers: list[list[Candidate]] = []
    began = time.perf_counter()
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        answers += model.classify([example.text for example in batch])
        if on_batch is not None:
            on_batch(len(batch))
    return answers, time.perf_counter() - began


def write_predictions(path: Path, examples: Sequence[Example], answers: Sequence[Sequence[Candidate]]) -> None:
    """One line a row: `{row, label, top}`; `row` counts the file's rows from 0, `label` is the right one; no
    text is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        for example, answer in zip(examples, answers, strict=True):
            top = [[candidate.code, candidate.probability] for candidate in answer[:TOP]]
            out.write(json.dumps({"row": example.row, "label": example.label, "top": top}, ensure_ascii=False) + "\n")


def report(
    model: Classifier, examples: Sequence[Example], answers: Sequence[Sequence[Candidate]], seconds: float
) -> dict[str, Any]:
    """The figures, all over all rows: a row whose label the model does not know counts as wrong.

    `accuracy_known`, `top3_known`, `top5_known` and `macro_f1` leave those rows out, `macro_f1_all_labels` has them in.
    `ece` is the expected calibration error over 15 equal bins; `coverage_at_95` is the share of rows, the surest first,
    that can be answered alone while 95 % of them are right.
    """
    known_labels = frozenset(model.labels)
    truth = np.array([example.label for example in examples], dtype=object)
    first = np.array([answer[0].code if answer else "" for answer in answers], dtype=object)
    sure = np.array([answer[0].probability if answer else 0.0 for answer in answers])
    hit = first == truth
    ranks = np.array([_rank(example, answer) for example, answer in zip(examples, answers, strict=True)])
    hit3, hit5 = ranks < 3, ranks < 5
    known = np.array([example.label in known_labels for example in examples])
    labels = sorted(set(truth.tolist()))
    per_class = {label: _class_figures(label, truth[known], first[known]) for label in labels if label in known_labels}
    everyone = [
        _class_figures(label, truth, first)["f1"] for label in sorted(set(truth.tolist()) | set(first.tolist()))
    ]
    months: dict[str, dict[str, Any]] = {}
    for month in sorted({example.day.strftime("%Y-%m") for example in examples if example.day}):
        mine = np.array([example.day is not None and example.day.strftime("%Y-%m") == month for example in examples])
        months[month] = {
            "rows": int(mine.sum()),
            "accuracy": _share(hit[mine]),
            "mean_probability": round(float(sure[mine].mean()), 4),
            "unknown_label_share": _share(~known[mine]),
        }
    predicted_known = sorted(set(truth[known].tolist()) | set(first[known].tolist()))
    return {
        "rows": len(examples),
        "unknown_label_rows": int((~known).sum()),
        "accuracy": _share(hit),
        "top3": _share(hit3),
        "top5": _share(hit5),
        "accuracy_known": _share(hit[known]),
        "top3_known": _share(hit3[known]),
        "top5_known": _share(hit5[known]),
        "macro_f1": round(
            float(
                np.mean([_class_figures(label, truth[known], first[known])["f1"] for label in predicted_known] or [0.0])
            ),
            4,
        ),
        "macro_f1_all_labels": round(float(np.mean(everyone)), 4),
        "ece": expected_calibration_error(sure, hit),
        "coverage_at_95": coverage_at(0.95, sure, hit),
        "coverage_at_99": coverage_at(0.99, sure, hit),
        "texts_per_second": round(len(examples) / max(seconds, 1e-9)),
        "model": model.version,
        "by_month": months,
        "per_class": per_class,
    }


def _rank(example: Example, answer: Sequence[Candidate]) -> int:
    """How many candidates stand before the right one; TOP when it is not among them."""
    codes = [candidate.code for candidate in answer[:TOP]]
    return codes.index(example.label) if example.label in codes else TOP


def expected_calibration_error(sure: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_]) -> float:
    """Mean distance between what a bin promises and what it keeps, weighted by its rows (Naeini et al. 2015)."""
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(hit[bins == one].mean()) - float(sure[bins == one].mean())) * int((bins == one).sum())
        for one in np.unique(bins)
    ]
    return round(sum(gaps) / max(len(sure), 1), 4)


def coverage_at(precision: float, sure: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_]) -> float:
    """The largest share of rows, surest first, that is right at `precision` or better; equal probabilities stay
    together, because a threshold cannot part them."""
    order = np.argsort(-sure, kind="stable")
    right = np.cumsum(hit[order]) / np.arange(1, len(sure) + 1)
    last_of_tie = np.append(sure[order][1:] != sure[order][:-1], True)
    good = np.flatnonzero((right >= precision) & last_of_tie)
    return round((int(good[-1]) + 1) / len(sure), 4) if len(good) else 0.0


def _class_figures(label: str, truth: npt.NDArray[Any], first: npt.NDArray[Any]) -> dict[str, Any]:
    rows, answers = int((truth == label).sum()), int((first == label).sum())
    right = int(((truth == label) & (first == label)).sum())
    return {
        "rows": rows,
        "precision": round(right / answers, 4) if answers else 0.0,
        "recall": round(right / rows, 4) if rows else 0.0,
        "f1": round(2 * right / (rows + answers), 4) if rows + answers else 0.0,
    }


def _share(marks: npt.NDArray[Any]) -> float:
    return round(float(marks.mean()), 4) if len(marks) else 0.0
