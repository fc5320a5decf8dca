"""`python -m services.intake`: the service; `keys` and `platform-key` write its two key files."""

import base64
from pathlib import Path
from typing import Annotated

import typer

from services.intake.keys import write_new
from shared.federation.keys import FILE as PLATFORM_FILE
from shared.federation.keys import PlatformKeys, add_key, read_seeds
from shared.service.cli import cli

app = cli("intake")


@app.command()
def keys(path: Path) -> None:
    """Write random keys to PATH (mode 600) when there is no such file; keep a copy safe (docs/privacy.md)."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists: keys are never overwritten")
    write_new(path)


@app.command()
def platform_key(
    folder: Path,
    code: Annotated[str, typer.Option(help="region code of the platform")] = "",
    level: Annotated[int, typer.Option(help="1 province, 2 city, 3 county")] = 2,
    parent: Annotated[str, typer.Option(help="region code of the platform above")] = "",
    url: Annotated[str, typer.Option(help="under which the others call it")] = "",
    add: Annotated[bool, typer.Option("--add", help="make the next key beside those that are there")] = False,
) -> None:
    """Make the platform's key in FOLDER (mode 600) when there is none, and print its line of the platform directory.

    To change keys: `--add`, publish the new line everywhere, and drop the old number from file and directory a day
    later. Nothing need be restarted (docs/federation.md).
    """
    path = folder / PLATFORM_FILE
    if add or not path.exists():
        add_key(path)
    public = PlatformKeys(code, read_seeds(path)).public()
    listed = ", ".join(f'"{number}": "{base64.b64encode(raw).decode()}"' for number, raw in sorted(public.items()))
    above = f', parent: "{parent}"' if parent else ""
    typer.echo(f'  - {{code: "{code}", level: {level}{above}, base_url: "{url}", keys: {{{listed}}}}}')


if __name__ == "__main__":
    app()
