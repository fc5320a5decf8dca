"""`python -m services.intake`: the service, and `keys <file>` which writes its key file."""

from pathlib import Path

import typer

from services.intake.keys import write_new
from shared.service.cli import cli

app = cli("intake")


@app.command()
def keys(path: Path) -> None:
    """Write random keys to PATH (mode 600) when there is no such file; keep a copy safe (docs/privacy.md)."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists: keys are never overwritten")
    write_new(path)


if __name__ == "__main__":
    app()
