"""How far a long piece of work is: a bar for a person at a terminal, a few log lines for a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from services.classify.models.training import Progress

log = logging.getLogger(__name__)


@contextmanager
def shown(title: str) -> Iterator[Progress]:
    """Yields the Progress to hand to the work."""
    if not sys.stderr.isatty():

        def note(stage: str, done: int, total: int) -> None:
            if done == total:
                log.info("training", extra={"stage": stage, "done": done, "total": total})

        yield note
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(f"{title} · {stage}", total=total)
            bars.update(tasks[stage], completed=done)

        yield draw
