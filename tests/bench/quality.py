"""bench-quality: every quality row of a model (docs/model-card.md) in one table, on files of the kinds named there.

    make bench-quality data=FOLDER [config=fast] [only=routing,leaf,online,topics,catalogue,flag,speed]

    python -m tests.bench.quality month data=F text=COL label=COL date=COL until=DAY [since=DAY] [min_count=20]
    python -m tests.bench.quality folds data=F text=COL label=COL [folds=5] [config=fast] [min_count=2]
    python -m tests.bench.quality online data=F text=COL label=COL date=COL [config=fast]
    python -m tests.bench.quality flag data=F text=COL label=COL flag=VALUE [lead=no] [folds=5] [config=fast]
    python -m tests.bench.quality catalogue data=F text=COL[,COL] label=COL catalogue=F path=COL,COL,COL

`month`: trained before a day, judged after it, as `make train` and `make evaluate` do. `folds`: k-fold macro-F1,
copies of one text in one fold. `online`: the fit that learns from every single case, from nothing, in time order,
judged before it learns. `flag`: recall and precision of one label, threshold from the other folds; `lead=no` leaves out
the phrase that opens a call (it names the kind). `catalogue`: the first level of a catalogue by its own names alone.
The last line is one JSON object.
"""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
from scipy import linalg

from services.classify.models import encoder, ridge
from services.classify.models.dataset import Columns, Example, read_examples, with_enough
from services.classify.models.evaluation import predict, report
from services.classify.models.features import Floats, Vocabulary
from services.classify.models.folder import save
from services.classify.models.meaning import nearness
from services.classify.models.training import Options, lay_ground, train
from tests.bench.stack import machine
from tools.train import sample_of

_ONLINE_RIDGE = 0.5
_CITED = re.compile(r"\d{8,}")
_LEAD = re.compile(
    r"^\W*(?:市民|网友|群众|交警|热线)?(?:来电|微信|网络|来信|短信|网站|APP)?"
    r"(?:再次|多次)?(?:反映|咨询|反馈|投诉|建议|求助|表扬|举报|表示|称)?[:：,，]?\s*"
)
_MONTH = (
    "rows",
    "accuracy",
    "accuracy_known",
    "top3_known",
    "top5",
    "macro_f1",
    "ece",
    "coverage_at_95",
    "coverage_at_99",
)


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
    """The kernel fit of the training after every case: each row of the Cholesky factor of cases in time order gives the
    answer of all cases before it. Vocabulary and ground are of earlier cases only, made anew whenever these double."""
    examples = sorted(read(words), key=lambda one: (one.day is not None, one.day or 0, one.row))
    names = sorted({one.label for one in examples})
    truth = np.array([names.index(one.label) for one in examples])
    said = [one.text for one in examples]
    day = np.array([one.day.toordinal() if one.day else 0 for one in examples])
    encode_once(examples)
    targets = np.full((len(said), len(names)), -1, dtype=np.float32)
    targets[np.arange(len(said)), truth] = 1
    top = np.zeros((len(said), 3), dtype=np.int64)
    start = min(200, len(said))
    while start < len(said):
        end = min(len(said), 2 * start + 1_500)
        matrix = Vocabulary.fit(said[:start], orders=(1, 2, 3), min_texts=1).encode(said[:end]).matrix
        ground = lay_ground(said[:start], matrix[:start], options(words))
        assert ground.places is not None
        places = np.concatenate((ground.places, ground.place(matrix[start:], said[start:end])))
        kernel = ridge.linear_kernel(matrix)
        for at in range(0, end, 1_024):
            kernel[at : at + 1_024] += nearness(places[at : at + 1_024], places)
        kernel += ridge.CONSTANT
        recency = 0.5 ** (np.maximum(day[start] - day[:end], 0) / Options().half_life_days)
        kernel[np.diag_indices_from(kernel)] += (_ONLINE_RIDGE / recency).astype(np.float32)
        factor = linalg.cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
        half = linalg.solve_triangular(factor, targets[:end], lower=True, check_finite=False)
        for at in range(start, end, 512):
            to = min(end, at + 512)
            scores = np.tril(factor[at:to, :to], k=at - 1) @ half[:to]
            top[at:to] = np.argsort(-scores, axis=1)[:, :3]
        print(f"{end}/{len(said)} {(top[:end, 0] == truth[:end]).mean():.4f}", file=sys.stderr)
        start = end
    hit = top == truth[:, None]
    return {
        "rows": len(said),
        "labels": len(names),
        "top1": round(float(hit[:, 0].mean()), 4),
        "top3": round(float(hit.any(axis=1).mean()), 4),
        "top1_of_the_last_500": round(float(hit[-500:, 0].mean()), 4),
    }


def month(words: dict[str, str]) -> dict[str, Any]:
    """Figures of `make evaluate`, and those of the rows that cite no ticket number."""
    until = date.fromisoformat(words["until"])
    since = date.fromisoformat(words["since"]) if "since" in words else None
    path, day = Path(words["data"]), words["date"]
    everything = read_examples(path, Columns(words["text"], words["label"], day, until=until, since=since))
    learnt = with_enough(everything, int(words.get("min_count", 20)))
    began = time.monotonic()
    chosen = Options(words.get("config", "fast"))  # type: ignore[arg-type]
    model, facts = train(sample_of(learnt, everything), version="month", options=chosen)
    took = time.monotonic() - began
    if "folder" in words:
        save(Path(words["folder"]), model, training=facts, metrics=facts["held_out"], card="# bench")
    examples = read_examples(path, Columns(words["text"], words["label"], day, since=until))
    answers, seconds = predict(model, examples)
    figures = report(model, examples, answers, seconds)
    alone = [place for place, one in enumerate(examples) if not _CITED.search(one.text)]
    clean = report(model, [examples[at] for at in alone], [answers[at] for at in alone], 1.0)
    return {
        **{name: figures[name] for name in _MONTH},
        "training_s": round(took),
        "citing_no_ticket": {name: clean[name] for name in _MONTH},
    }


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
    if words.get("lead") == "no":
        examples = [replace(one, text=_LEAD.sub("", one.text, count=1) or one.text) for one in examples]
    return with_enough(examples, int(words.get("min_count", 2)))


def options(words: dict[str, str]) -> Options:
    return Options(words.get("config", "fast"), half_life_days=0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """A row of the table: the task that measures it and, by figure, the bar (a ceiling where it is negative)."""

    name: str
    task: str
    words: dict[str, str]
    bars: dict[str, float]
    configured: bool = True


ROUTING = {"data": "haikou_routing.jsonl.gz", "text": "content_nohint", "date": "date"}
ROWS = (
    Row(
        "routing",
        "month",
        {**ROUTING, "label": "dept_norm", "until": "2018-05-01", "min_count": "20"},
        {"accuracy_known": 0.765, "top3_known": 0.905, "macro_f1": 0.52, "ece": -0.03, "coverage_at_95": 0.53},
    ),
    Row(
        "leaf",
        "month",
        {**ROUTING, "label": "cat1,cat2,cat3,cat4", "since": "2018-01-22", "until": "2018-05-01", "min_count": "1"},
        {"top5": 0.68},
    ),
    Row("online", "online", {**ROUTING, "label": "dept_norm", "min_count": "1"}, {"top1": 0.68}),
    Row(
        "topics",
        "folds",
        {"data": "teddy_topics_tokens.jsonl.gz", "text": "tokens", "label": "label"},
        {"macro_f1": 0.925},
    ),
    Row(
        "catalogue",
        "catalogue",
        {
            "data": "teddy_topics_raw.jsonl.gz",
            "text": "留言主题,留言详情",
            "label": "一级标签",
            "catalogue": "teddy_catalogue.csv.gz",
            "path": "一级分类,二级分类,三级分类",
        },
        {"top1": 0.75, "hit5": 0.90},
        configured=False,
    ),
    Row(
        "flag",
        "flag",
        {
            "data": "haikou_stream_2days.jsonl.gz",
            "text": "诉求内容",
            "label": "诉求类型",
            "flag": "紧急类",
            "lead": "no",
        },
        {"recall": 0.90, "precision": 0.5},
    ),
)
SPEED = {"batch_texts_per_cpu_s": 2_000.0, "single_p99_ms": -10.0, "load_s": -3.0, "rss_mb": -400.0}


def table(words: dict[str, str]) -> dict[str, Any]:
    """Every row that `only` names, with each configuration that it has."""
    folder = Path(words["data"])
    only = words.get("only", ",".join([*(row.name for row in ROWS), "speed"])).split(",")
    configurations = words.get("config", "fast,best").split(",")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sushu-quality-") as work:
        for row in (row for row in ROWS if row.name in only or (row.name == "routing" and "speed" in only)):
            for configuration in configurations if row.configured else ("",):
                name = f"{row.name} {configuration}".strip()
                told = row.words | {"data": str(folder / row.words["data"]), "config": configuration or "fast"}
                if "catalogue" in told:
                    told["catalogue"] = str(folder / told["catalogue"])
                if row.name == "routing":
                    told["folder"] = str(Path(work) / configuration)
                found[name] = held(_alone(row.task, told), row.bars)
                print(json.dumps({name: found[name]}, ensure_ascii=False), file=sys.stderr)
        for configuration in configurations if "speed" in only else ():
            count = 20_000 if configuration == "fast" else 1_000
            command = [
                sys.executable,
                "-m",
                "tests.bench.classify",
                f"measure={Path(work) / configuration}",
                f"n={count}",
            ]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found[f"speed {configuration}"] = held(figures, SPEED)
    return {"rows": found, "machine": machine()}


def _alone(task: str, words: dict[str, str]) -> dict[str, Any]:
    """One task in a process of its own: it gives its memory back."""
    command = [sys.executable, "-m", "tests.bench.quality", task, *(f"{name}={value}" for name, value in words.items())]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    return figures


def held(figures: dict[str, Any], bars: dict[str, float]) -> dict[str, Any]:
    """The figures, and which bars they miss."""
    missed = [name for name, bar in bars.items() if (figures[name] < bar if bar >= 0 else figures[name] > -bar)]
    return {**figures, "missed": {name: abs(bars[name]) for name in missed}}


TASKS = {"month": month, "folds": folds, "flag": folds, "online": online, "catalogue": catalogue}


def main() -> None:
    """One task, or the table."""
    told = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if sys.argv[1:] and sys.argv[1] in TASKS:
        print(json.dumps({"task": sys.argv[1], **TASKS[sys.argv[1]](told)}, ensure_ascii=False))
    elif "data" not in told:
        print(json.dumps({"bench": "quality", "skipped": "say data=FOLDER: the texts are not part of the project"}))
    else:
        print(json.dumps({"bench": "quality", **table(told)}, ensure_ascii=False))


if __name__ == "__main__":
    main()
