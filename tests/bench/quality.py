"""The quality figures that one `make train` and `make evaluate` do not give (docs/classification.md, Figures).

    python -m tests.bench.quality folds data=F text=COL label=COL [folds=5] [config=fast] [min_count=2]
    python -m tests.bench.quality online data=F text=COL label=COL date=COL [chunk=100]
    python -m tests.bench.quality flag data=F text=COL label=COL flag=VALUE [folds=5] [config=fast]
    python -m tests.bench.quality catalogue data=F text=COL[,COL] label=COL catalogue=F path=COL,COL,COL

`folds`: k-fold macro-F1, copies of one text in one fold. `online`: the memory that learns from every single case, from
nothing, in time order, judged before it learns. `flag`: recall and precision of one label, threshold from the other
folds. `catalogue`: the first level of a catalogue by its own names alone. The last line is one JSON object.
"""

import csv
import gzip
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from services.classify.models import encoder, ridge
from services.classify.models.dataset import Columns, Example, read_examples, with_enough
from services.classify.models.evaluation import report
from services.classify.models.features import Floats, Vocabulary
from services.classify.models.meaning import nearness, unit
from services.classify.models.training import Options, train
from tools.train import sample_of


def folds_of(examples: list[Example], count: int) -> npt.NDArray[np.int64]:
    """Which fold each example is judged in; copies of one text share it."""
    names = sorted({example.text for example in examples})
    draw = dict(zip(names, np.random.default_rng(1).permutation(len(names)) % count, strict=True))
    return np.array([draw[example.text] for example in examples])


def folds(words: dict[str, str]) -> dict[str, Any]:
    examples = read(words)
    count = int(words.get("folds", 5))
    where = folds_of(examples, count)
    found: list[Any] = [None] * len(examples)
    model = None
    encode_once(examples)
    for fold in range(count):
        rest = [one for one, place in zip(examples, where, strict=True) if place != fold]
        mine = np.flatnonzero(where == fold)
        model, _ = train(sample_of(rest, rest), version="fold", options=options(words))
        for place, answer in zip(mine, model.classify([examples[at].text for at in mine]), strict=True):
            found[place] = answer
        print(f"fold {fold + 1}/{count}", file=sys.stderr)
    assert model is not None
    if "flag" in words:
        return flag(words["flag"], examples, where, found)
    figures = report(model, examples, found, 1.0)
    return {name: figures[name] for name in ("rows", "accuracy", "top3", "macro_f1", "ece", "coverage_at_95")}


def encode_once(examples: list[Example]) -> None:
    """All folds share one encoding of each text."""
    texts = sorted({one.text for one in examples})
    known = dict(zip(texts, encoder.encode(texts), strict=True))

    def encode(texts: Sequence[str], on_chunk: Callable[[int], None] | None = None) -> Floats:
        return np.array([known[text] for text in texts], dtype=np.float32).reshape(-1, encoder.WIDTH)

    encoder.encode = encode


def flag(value: str, examples: list[Example], where: npt.NDArray[np.int64], found: list[Any]) -> dict[str, Any]:
    """The threshold of a fold is the highest that gave recall 0.92 on the other folds."""
    chance = np.array([sum(one.probability for one in answer if one.code == value) for answer in found])
    truth = np.array([example.label == value for example in examples])
    raised = np.zeros(len(truth), dtype=bool)
    for fold in np.unique(where):
        others = where != fold
        threshold = np.quantile(chance[others & truth], 0.08)
        raised[~others] = chance[~others] >= threshold
    right = int((raised & truth).sum())
    return {
        "rows": len(truth),
        "flagged": int(truth.sum()),
        "recall": round(right / max(1, int(truth.sum())), 4),
        "precision": round(right / max(1, int(raised.sum())), 4),
        "raised_share": round(float(raised.mean()), 4),
    }


def online(words: dict[str, str]) -> dict[str, Any]:
    """Ridge regression whose normal equations grow case by case, over encodings and the nearest earlier cases."""
    examples = sorted(read(words), key=lambda one: (one.day is not None, one.day or 0, one.row))
    names = sorted({one.label for one in examples})
    truth = np.array([names.index(one.label) for one in examples])
    vectors = encoder.encode([one.text for one in examples])
    chunk = int(words.get("chunk", 100))
    hits, hits3, judged = 0, 0, 0
    for start in range(0, len(examples), chunk):
        end = min(start + chunk, len(examples))
        if start:
            top = remembered(examples, vectors, truth, start, end, len(names))
            hits += int((top[:, 0] == truth[start:end]).sum())
            hits3 += int((top[:, :3] == truth[start:end, None]).any(axis=1).sum())
        judged = end
        print(f"{end}/{len(examples)} {hits / judged:.4f}", file=sys.stderr)
    return {"rows": judged, "labels": len(names), "top1": round(hits / judged, 4), "top3": round(hits3 / judged, 4)}


def remembered(
    examples: list[Example], vectors: Floats, truth: npt.NDArray[np.int64], start: int, end: int, labels: int
) -> npt.NDArray[np.int64]:
    """The three likeliest labels of the cases from `start` to `end` by the cases before `start`."""
    said = [one.text for one in examples[:end]]
    vocabulary = Vocabulary.fit(said[:start], orders=(1, 2, 3), min_texts=1)
    matrix = vocabulary.encode(said).matrix
    places = unit(vectors[:end] - vectors[:start].mean(axis=0))
    targets = np.full((start, labels), -1, dtype=np.float32)
    targets[np.arange(start), truth[:start]] = 1
    dual, _ = ridge.fit(matrix[:start], places[:start], targets, np.ones(start), 1.0, [])
    scores = matrix[start:] @ (matrix[:start].T @ dual) + ridge.CONSTANT * dual.sum(axis=0)
    scores += nearness(places[start:], places[:start]) @ dual
    return np.argsort(-scores, axis=1)[:, :3]


def catalogue(words: dict[str, str]) -> dict[str, Any]:
    """As the rules do it: cosine of n-grams with the names on an item's path."""
    with gzip.open(words["catalogue"], "rt", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    paths = [[row[name] for name in words["path"].split(",") if row[name]] for row in rows]
    first = np.array([path[0] for path in paths])
    texts = [" ".join(path[1:] + path[-1:]) for path in paths]
    columns = words["text"].split(",")
    parts = [read_examples(Path(words["data"]), Columns(name, words["label"])) for name in columns]
    said = {one.row: "" for one in parts[0]}
    for part in parts:
        said |= {one.row: said[one.row] + " " + one.text for one in part}
    truth = np.array([one.label for one in parts[0]])
    vocabulary = Vocabulary.fit(texts, orders=(1, 2, 3), min_texts=1)
    scores = (
        vocabulary.encode([said[one.row] for one in parts[0]]).matrix @ vocabulary.encode(texts).matrix.T
    ).toarray()
    order = first[np.argsort(-scores, axis=1, kind="stable")]
    return {
        "rows": len(truth),
        "items": len(paths),
        "top1": round(float((order[:, 0] == truth).mean()), 4),
        "hit5": round(float((order[:, :5] == truth[:, None]).any(axis=1).mean()), 4),
    }


def read(words: dict[str, str]) -> list[Example]:
    examples = read_examples(Path(words["data"]), Columns(words["text"], words["label"], words.get("date")))
    return with_enough(examples, int(words.get("min_count", 2)))


def options(words: dict[str, str]) -> Options:
    return Options(words.get("config", "fast"), half_life_days=0)  # type: ignore[arg-type]


if __name__ == "__main__":
    told = dict(word.split("=", 1) for word in sys.argv[2:])
    task = {"folds": folds, "flag": folds, "online": online, "catalogue": catalogue}[sys.argv[1]]
    print(json.dumps({"task": sys.argv[1], **task(told)}, ensure_ascii=False))
