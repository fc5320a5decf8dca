"""The process of sla, and `deadlines`, which computes many at once."""

import sys

import typer

from services.sla.calendars import published_calendar
from services.sla.deadlines import answer_lines
from shared.service.process import cli

app = cli("sla")


@app.command()
def deadlines() -> None:
    """Reads cases as NDJSON from standard input and writes one answer per line (docs/deadlines.md)."""
    failures = 0
    out = sys.stdout.buffer
    for answer, succeeded in answer_lines(sys.stdin.buffer, published_calendar()):
        failures += not succeeded
        out.write(answer + b"\n")
        if not succeeded:
            sys.stderr.buffer.write(answer + b"\n")
    out.flush()
    if failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
