"""The process of sla; `deadlines`, which computes many at once; `check-policy`, which reads a policy before its use."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.sla.calendars import published_calendar
from services.sla.deadlines import answer_lines
from services.sla.policy_file import PolicyFileError, policy_of_file
from shared.errors import Problem
from shared.service.cli import cli

app = cli("sla")


@app.command()
def deadlines(
    calendar: Annotated[Path | None, typer.Option(help="CSV file: day, to, rule (holiday or workday), name")] = None,
    years: Annotated[str, typer.Option(help="the whole years that the file publishes, as in 2027,2028")] = "",
) -> None:
    """Reads cases as NDJSON from standard input and writes one answer per line (docs/deadlines.md)."""
    counting = published_calendar()
    try:
        if calendar is not None:
            from services.sla.terms import calendar_of_file  # brings the tables along, which most runs can spare

            counting = calendar_of_file(calendar.read_bytes(), years)
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


@app.command("check-policy")
def check_policy(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="YAML in the form of policies/default.yaml")
    ],
) -> None:
    """Says whether a file is a policy that can be used, or what is wrong on which line (docs/deadlines.md)."""
    try:
        policy = policy_of_file(file.read_bytes())
    except PolicyFileError as error:
        fault = {"policy": str(file), "line": error.line, "pointer": error.pointer, "detail": error.detail}
        sys.stderr.write(orjson.dumps(fault).decode() + "\n")
        raise typer.Exit(1) from error
    clocks = sum(len(row) for row in policy.table.values())
    found = {"policy": policy.version, "classes": len(policy.table), "clocks": clocks, "rules": len(policy.rules)}
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    app()
