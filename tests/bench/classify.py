"""bench-classify: how fast a model answers on one core: texts/s in batches of 1,000, one text alone, loading, memory.

    make bench-classify [folder=MODEL] [n=20000]

Without a folder it trains two models of the demo city's sentences, `fast` and `best`, as `make train` would. The texts
are the city's invented ones, joined to about 90 characters. Each model is measured in a process of its own, with one
BLAS thread, and the evidence is made too. The last line is one JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psutil

from services.classify.grammar import Grammar
from services.classify.models.folder import load, save
from services.classify.models.training import Configuration, Options, Sample, train
from tests.bench.load import percentile
from tests.bench.stack import ROOT, machine

SENTENCES = 12
ALONE = 500


def texts(count: int) -> list[str]:
    """Invented calls of about 90 characters."""
    said = [one.text for one in Grammar.read(ROOT / "cities/demo/grammar.yaml").sentences(SENTENCES, 1)]
    width = max(1, round(90 / (sum(map(len, said)) / len(said))))
    return [
        "市民来电反映：" + "，".join(said[(at * 7 + part) % len(said)] for part in range(width)) for at in range(count)
    ]


def trained(folder: Path, configuration: Configuration) -> Path:
    """A model of the demo city's sentences."""
    sentences = Grammar.read(ROOT / "cities/demo/grammar.yaml").sentences(SENTENCES, 1)
    sample = Sample(
        [one.text for one in sentences],
        [one.code for one in sentences],
        np.zeros(len(sentences)),
        np.array([one.pattern for one in sentences], dtype=np.int64),
    )
    model, facts = train(sample, version=f"bench-{configuration}", options=Options(configuration, half_life_days=0))
    save(folder, model, training=facts, metrics=facts["held_out"], card="# bench")
    return folder


def measure(folder: Path, count: int) -> dict[str, Any]:
    """The figures of one model, in this process."""
    own = psutil.Process()
    began = time.perf_counter()
    model, facts = load(folder)
    model.classify(["热身"])
    load_s = time.perf_counter() - began
    said = texts(count)
    began, cpu = time.perf_counter(), sum(own.cpu_times()[:2])
    for start in range(0, count, 1_000):
        model.classify(said[start : start + 1_000])
    took, cpu = time.perf_counter() - began, sum(own.cpu_times()[:2]) - cpu
    alone = []
    for text in said[:ALONE]:
        one = time.perf_counter()
        model.classify([text])
        alone.append(1_000 * (time.perf_counter() - one))
    return {
        "model": facts.version,
        "labels": len(facts.labels),
        "n_grams": len(model.vocabulary),
        "batch_texts_per_s": round(count / took),
        "batch_texts_per_cpu_s": round(count / max(cpu, 1e-9)),
        "single_p50_ms": round(percentile(alone, 0.5), 2),
        "single_p99_ms": round(percentile(alone, 0.99), 2),
        "load_s": round(load_s, 2),
        "rss_mb": round(own.memory_info().rss / 1e6),
    }


def main() -> None:
    """Measure each model in a fresh process."""
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    count = int(words.get("n", 20_000))
    if "measure" in words:
        print(json.dumps(measure(Path(words["measure"]), count), ensure_ascii=False))
        return
    with tempfile.TemporaryDirectory(prefix="sushu-bench-") as work:
        folders = [Path(words["folder"])] if "folder" in words else []
        for configuration in ("fast", "best") if not folders else ():
            print(f"training {configuration} …", file=sys.stderr)
            folders.append(trained(Path(work) / configuration, configuration))
        models = []
        for folder in folders:
            size = count if "folder" in words or folder.name == "fast" else count // 10
            command = [sys.executable, "-m", "tests.bench.classify", f"measure={folder}", f"n={size}"]
            models.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(json.dumps(models[-1], ensure_ascii=False), file=sys.stderr)
        print(json.dumps({"bench": "classify", "models": models, "machine": machine()}, ensure_ascii=False))


if __name__ == "__main__":
    main()
