"""Writes a history into a running hub: `n` cases of the past months, consistent in every service's tables.

    make seed n=1000000 [seed=1] [months=12] [journal=12] [force=yes]

The hub is the one of SUSHU_DATA_DIR (its stack.json names the database), or DATABASE_URL. Interrupt it with Ctrl-C and
give the same command again: it goes on where it stopped. docs/seed.md tells what a seeded case has.
"""

import asyncio
import json
import sys
import time

from rich.console import Console

from deploy.local.errors import StackError
from deploy.local.folder import DataFolder
from services.intake.keys import Keys
from shared.settings import Settings
from tools.seed import cache
from tools.seed.clone import Copier
from tools.seed.cost import Cost, load_average
from tools.seed.load import Loader, SeedRefused, begin, business_now, connected
from tools.seed.rehearsal import Size, rehearse
from tools.seed.templates import compile_all

MOST_MONTHS = 120
console = Console(stderr=True)


def database_of(settings: Settings) -> str:
    """Where the hub keeps its data. Raises `SeedRefused` without one, and in production."""
    if settings.env == "production":
        raise SeedRefused("SUSHU_ENV=production: invented cases have no place among real ones.")
    published = DataFolder(settings.data_dir).published() or {}
    url: str = settings.database_url or published.get("database_url", "")
    if not url:
        raise SeedRefused(f"No stack runs in {settings.data_dir}: start one with `make run` or `make up`.")
    return url


async def seed_hub(
    settings: Settings,
    cases: int,
    seed: int = 1,
    months: int = 12,
    journal: int | None = None,
    *,
    force: bool = False,
    size: Size | None = None,
) -> dict[str, object]:
    """Seed the hub of `settings`; returns the figures. `size`: of the rehearsal (tests take a small one)."""
    url = database_of(settings)
    began = time.monotonic()
    async with connected(url) as pg:
        run = await begin(pg, seed, cases, months, journal or months, await business_now(pg), force=force)
        if run.finished:
            return {"seed": seed, "cases": cases, "written": 0}
        with console.status("…") as line:
            kept = cache.path_of(settings, seed)
            found = cache.load(kept) if size is None else None
            if found is None:
                found = await rehearse(url, settings, seed, run.now, line.update, size or Size())
                if size is None:
                    cache.keep(kept, found)
            keys = Keys.load(settings.keys, make=False)
            templates = compile_all(found, seed, keys.current)
            loader = Loader(run, found, templates, Copier(keys, settings.platform, seed))
            rehearsed = time.monotonic() - began
            line.update("writing …")
            cost = Cost(settings)

            def show(done: int, rate: float) -> None:
                left = (cases - done) / max(rate, 1)
                line.update(f"{done:,} of {cases:,} cases, {rate:,.0f} a second, {left / 60:.0f} min left")

            written = await loader.write(url, pg, show)
            wrote = time.monotonic() - began - rehearsed
            of_copy = cost.spent()
            await loader.tidy(url, lambda words: line.update(words))
            of_tidy = cost.spent()
    total = time.monotonic() - began
    return {
        "seed": seed,
        "cases": cases,
        "written": written,
        "stories": len(templates),
        "seconds": {
            "rehearsal": round(rehearsed, 1),
            "copy": round(wrote, 1),
            "tidy": round(total - rehearsed - wrote, 1),
        },
        "copy_seconds": {
            name: round(spent, 1) for name, spent in sorted(loader.spent.items(), key=lambda item: -item[1])[:12]
        },
        "cases_per_second": round(written / wrote),
        "cases_per_second_tidied": round(written / (total - rehearsed)),
        "cases_per_second_all": round(written / total),
        "cpu_ms_per_case": {
            "copy": {name: round(spent * 1000 / max(1, written), 3) for name, spent in of_copy.items()},
            "tidy": {name: round(spent * 1000 / max(1, written), 3) for name, spent in of_tidy.items()},
        },
        "load_average": load_average(),
    }


def main() -> int:
    """One command; exit status."""
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    try:
        cases, seed = int(arguments.get("n", "10000")), int(arguments.get("seed", "1"))
        months = int(arguments.get("months", "12"))
        journal = int(arguments.get("journal", months))
        if cases < 1 or not 2 <= months <= MOST_MONTHS or journal < 1:
            raise ValueError
    except ValueError:
        print(
            f"sushu: n=, seed=, months= and journal= are whole numbers; n at least 1, months 2 to {MOST_MONTHS}",
            file=sys.stderr,
        )
        return 1
    try:
        figures = asyncio.run(seed_hub(Settings(), cases, seed, months, journal, force=arguments.get("force") == "yes"))
    except (SeedRefused, StackError, FileNotFoundError) as refused:
        print(f"sushu: {refused}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sushu: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
