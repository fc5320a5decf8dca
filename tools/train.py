"""`make train`: fit a classifier on a city's own labelled texts (docs/classification.md)."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, get_args

# one thread is quicker for these small matrices, and leaves the machine to others
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from services.classify.models.card import model_card
from services.classify.models.dataset import Columns, DatasetError, Example, read_examples, with_enough
from services.classify.models.folder import save
from services.classify.models.training import Configuration, Options, Sample, train

console = Console(stderr=True)
_DEFAULTS = Options()


def main(
    data: Annotated[Path, typer.Option(help="CSV or JSONL, plain or .gz")],
    text: Annotated[str, typer.Option(help="column with the text")],
    label: Annotated[str, typer.Option(help="column with the label")],
    out: Annotated[Path, typer.Option(help="folder for the model")],
    date_column: Annotated[str | None, typer.Option("--date", help="column with the date, YYYY-MM-DD…")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day not used")] = None,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day used")] = None,
    min_count: Annotated[int, typer.Option(min=1, help="leave out labels with fewer texts")] = 2,
    config: Annotated[str, typer.Option(help="fast, best (encodes every text, slower) or words")] = (
        _DEFAULTS.configuration
    ),
    corrections: Annotated[
        Path | None, typer.Option(help="what persons decided, as `python -m services.classify corrections` writes it")
    ] = None,
    tags: Annotated[
        str | None, typer.Option(help="column with the tags that a person set (a list, or with | between)")
    ] = None,
    ridge: Annotated[
        float | None, typer.Option(min=0.01, help="how much the fit is held back; by texts a label")
    ] = None,
    balance: Annotated[
        float | None, typer.Option(min=0, max=1, help="0: as counted, 1: all labels equal; by texts a label")
    ] = None,
    names: Annotated[
        float, typer.Option(min=0, help="how much a label's own name says for texts that use its words")
    ] = _DEFAULTS.names,
    half_life: Annotated[float, typer.Option(min=0, help="days after which a text counts half; 0: never")] = (
        _DEFAULTS.half_life_days
    ),
) -> None:
    """Train a model. Ctrl-C keeps what is finished; the same command goes on from there."""
    began = time.monotonic()
    try:
        window = {"until": until.date() if until else None, "since": since.date() if since else None}
        everything = read_examples(data, Columns(text, label, date_column, tags=tags, **window))
        if corrections is not None:
            everything = corrected(
                everything, read_examples(corrections, Columns("text", "label", "date", tags="tags", **window))
            )
        examples = with_enough(everything, min_count)
        sample = sample_of(examples, everything)
        if config not in get_args(Configuration):
            raise ValueError(f"config is one of {', '.join(get_args(Configuration))}, not {config!r}")
        options = Options(configuration=config, ridge=ridge, balance=balance, names=names, half_life_days=half_life)  # type: ignore[arg-type]
        version = version_of(out.name, examples)
        with Progress(
            TextColumn("{task.description:12}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=console,
        ) as bars:
            tasks: dict[str, TaskID] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done)

            model, facts = train(
                sample, version=version, options=options, progress=show, work=out.with_name(out.name + ".partial")
            )
    except (DatasetError, ValueError) as error:
        console.print(f"[red]Cannot train:[/red] {error}")
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        console.print(f"Interrupted; finished pieces stay in {out.name}.partial. Run the same command to go on.")
        raise typer.Exit(130) from None
    source = f"{data.name}, text column {text}, label column {label}"
    saved = save(
        out,
        model,
        training={**facts, "source": source},
        metrics=facts["held_out"],
        card=model_card(version, facts, source),
    )
    console.print(
        f"{saved.version}: {facts['texts']} texts, {facts['labels']} labels, {facts['features']} n-grams, "
        f"configuration {facts['options']['configuration']}, "
        f"{len(facts['tags'])} tags, held-out accuracy {facts['held_out']['accuracy']}, "
        f"{time.monotonic() - began:.0f} s → {out}"
    )


def sample_of(examples: list[Example], everything: list[Example]) -> Sample:
    """Ages from the dates, copies of one text kept together; what is not in `examples` is of rare labels."""
    newest = max((example.day for example in everything if example.day), default=date.min)

    def age_of(example: Example) -> float:
        return float((newest - example.day).days) if example.day else 0.0

    learnt = {example.label for example in examples}
    strangers = [(example.text, age_of(example)) for example in everything if example.label not in learnt]
    age = np.array([age_of(example) for example in examples], dtype=np.float64)
    group_of: dict[str, int] = {}
    group = np.array([group_of.setdefault(example.text, len(group_of)) for example in examples], dtype=np.int64)
    texts, labels = [example.text for example in examples], [example.label for example in examples]
    tags = [example.tags for example in examples]
    return Sample(texts, labels, age, group, strangers, tags if any(one is not None for one in tags) else ())


def corrected(examples: list[Example], decisions: list[Example]) -> list[Example]:
    """The cases with what persons decided: a decision takes the place of cases of the same text."""
    decided = {decision.text for decision in decisions}
    first = 1 + max(example.row for example in examples)
    return [
        *(example for example in examples if example.text not in decided),
        *(replace(decision, row=first + decision.row) for decision in decisions),
    ]


def version_of(name: str, examples: list[Example]) -> str:
    """Names the model after its folder and its texts: the same texts give the same version."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.label}\0{example.text}\0".encode("utf-8", "surrogatepass"))
        if example.tags is not None:
            digest.update("|".join(sorted(example.tags)).encode("utf-8", "surrogatepass"))
    return f"{name}-{digest.hexdigest()[:8]}"


if __name__ == "__main__":
    typer.run(main)
