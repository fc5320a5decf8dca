"""`make evaluate`: how well a model does on labelled texts; the last line of stdout is one JSON object."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

# one thread is quicker for these small matrices, and leaves the machine to others
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from services.classify.models.dataset import Columns, DatasetError, read_examples
from services.classify.models.evaluation import predict, report, write_predictions
from services.classify.models.folder import ModelFolderError, load

console = Console(stderr=True)


def main(
    model: Annotated[Path, typer.Option(help="model folder")],
    data: Annotated[Path, typer.Option(help="CSV or JSONL, plain or .gz")],
    text: Annotated[str, typer.Option(help="column with the text")],
    label: Annotated[str, typer.Option(help="column with the label")],
    predictions: Annotated[Path, typer.Option(help="JSONL: {row, label, top} for each row")],
    date_column: Annotated[str | None, typer.Option("--date", help="column with the date, YYYY-MM-DD…")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day not used")] = None,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day used")] = None,
) -> None:
    """Evaluate a model."""
    try:
        window = {"until": until.date() if until else None, "since": since.date() if since else None}
        examples = read_examples(data, Columns(text, label, date_column, until=window["until"], since=window["since"]))
        classifier, _ = load(model)
    except (DatasetError, ModelFolderError) as error:
        console.print(f"[red]Cannot evaluate:[/red] {error}")
        raise typer.Exit(2) from error
    with Progress(console=console) as bars:
        task = bars.add_task("rows", total=len(examples))
        answers, seconds = predict(classifier, examples, lambda count: bars.advance(task, count))
    write_predictions(predictions, examples, answers)
    figures = report(classifier, examples, answers, seconds)
    table = Table("label", "rows", "precision", "recall", "F1", title="per label")
    for name, row in sorted(figures["per_class"].items(), key=lambda item: -item[1]["rows"]):
        table.add_row(name, str(row["rows"]), str(row["precision"]), str(row["recall"]), str(row["f1"]))
    console.print(table)
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    typer.run(main)
