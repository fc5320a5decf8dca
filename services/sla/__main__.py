"""The process of sla, and `deadlines`, which computes many at once."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.sla.calendars import published_calendar
from services.sla.deadlines import answer_lines
from services.sla.terms import calendar_of_file
from shared.errors import Problem
from shared.service.process import cli

app = cli("sla")


@app.command()
def deadlines(
    calendar: Annotated[Path | None, typer.Option(help="CSV file: day, to, rule (holiday or workday), name")] = None,
    years: Annotated[str, typer.Option(help="the whole years that the file publishes, as in 2027,2028")] = "",
) -> None:
    """Reads cases as NDJSON from standard input and writes one answer per line (docs/deadlines.md)."""
    try:
        counting = published_calendar() if calendar is None else calendar_of_file(calendar.read_bytes(), years)
    except Problem as problem:
        for error in problem.errors:
            sys.stderr.write(orjson.dumps({"calendar": str(calendar), **error}).decode() + "\n")
        raise typer.Exit(1) from problem
    failures = 0
    out = sys.stdout.buffer
    for answer, succeeded in answer_lines(sys.stdin.buffer, counting):
        failures += not succeeded
        out.write(answer + b"\n")
        if not succeeded:
            sys.stderr.buffer.write(answer + b"\n")
    out.flush()
    if failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
