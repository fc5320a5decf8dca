"""`python -m services.journal`: the service, and `keys <file>` which writes the key of its webhooks."""

from pathlib import Path

import typer

from services.journal.keys import write_new
from shared.service.cli import cli

app = cli("journal")


@app.command()
def keys(path: Path) -> None:
    """Write a random key to PATH (mode 600) when there is no such file; keep a copy safe."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists: keys are never overwritten")
    write_new(path)


if __name__ == "__main__":
    app()
