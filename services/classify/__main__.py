"""`python -m services.classify`: serve (default), migrate, setup, corrections."""

import asyncio
from pathlib import Path
from typing import NoReturn

import typer

from services.classify.corrections import write_corrections
from services.classify.knowledge import Library
from shared.clock import SystemClock
from shared.db.database import Database
from shared.db.migrate import known_role
from shared.service.cli import cli
from shared.settings import Settings

app = cli("classify")


@app.command()
def corrections(out: Path) -> None:
    """Write reviewed texts with their matter to a JSONL file, ready for `make train`."""
    settings = Settings()
    if not settings.database_url:
        _refuse("DATABASE_URL names the database of the hub; for a local stack use `make corrections`")
    if not out.absolute().parent.is_dir():
        _refuse(f"{out.absolute().parent} is no folder; make it first")

    async def main() -> int:
        role = await known_role(settings.database_url, "classify")
        database = Database(settings.database_url, "classify", SystemClock(), platform=settings.platform, role=role)
        try:
            return await write_corrections(database, out, Library(settings.data_dir, ()))
        finally:
            await database.close()

    typer.echo(f"{asyncio.run(main())} reviewed texts → {out}")


def _refuse(why: str) -> NoReturn:
    typer.echo(f"sushu: {why}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
