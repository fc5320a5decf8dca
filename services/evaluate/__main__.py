"""`python -m services.evaluate`: serve (default), migrate, setup, rebuild."""

from pathlib import Path
from typing import Annotated

import typer

from shared.service.cli import cli

app = cli("evaluate")


@app.command()
def rebuild(
    period: Annotated[str, typer.Argument(help="a published month, YYYY-MM")],
    journal: Annotated[
        Path | None, typer.Option(help="events of the feed, one a line (.gz too); default: SUSHU_JOURNAL_URL")
    ] = None,
) -> None:
    """Count a published month again from the journal, on the database of DATABASE_URL. Exit status 1: other bytes.

    On a fresh database the publications are put back. Interrupt it at will: the same command goes on where it stopped.
    """
    from services.evaluate.publishing import command

    raise typer.Exit(command.main(period, journal))


if __name__ == "__main__":
    app()
