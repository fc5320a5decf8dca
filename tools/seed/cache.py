"""The last rehearsal of each seed, kept between runs: playing the stories takes a minute or two.

It is valid as long as what decides on the form of rows has not changed: tables, domains, events, the city, the stories.
Folder: `$XDG_CACHE_HOME/sushu`, else `~/.cache/sushu`.
"""

import gzip
import hashlib
import os
from datetime import datetime
from pathlib import Path

import orjson

import shared
from shared.settings import Settings
from tools.seed.rehearsal import Played, Rehearsal

_SOURCES = (
    "services/*/migrations/**/*.py",
    "services/*/domain*",
    "services/*/domain/**/*.py",
    "shared/db/runtime_migrations/**/*.py",
    "shared/events/catalog/*.py",
    "cities/demo/*",
    *(f"tools/seed/{part}.py" for part in ("rehearsal", "stage", "stories", "tables")),
)


def path_of(settings: Settings, seed: int) -> Path:
    """Where the rehearsal of these sources, this city and this seed is or would be kept."""
    root = Path(next(iter(shared.__path__))).parent
    digest = hashlib.sha256(f"{settings.city} {settings.platform} {settings.platforms} {seed}".encode())
    for pattern in _SOURCES:
        for file in sorted(root.glob(pattern)):
            if file.is_file():
                digest.update(file.read_bytes())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sushu"
    return folder / f"rehearsal-{digest.hexdigest()[:16]}.json.gz"


def load(path: Path) -> Rehearsal | None:
    """A kept rehearsal, or None."""
    try:
        held = orjson.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError):
        return None
    return Rehearsal(
        datetime.fromisoformat(held["end"]),
        [(real, datetime.fromisoformat(business)) for real, business in held["turned"]],
        {_table(name): columns for name, columns in held["columns"].items()},
        [
            Played(
                one["life"], one["open"], one["weight"], {_table(n): _bytes(rows) for n, rows in one["rows"].items()}
            )
            for one in held["stories"]
        ],
        _bytes(held["units"]),
    )


def keep(path: Path, found: Rehearsal) -> None:
    """Keep a rehearsal; older ones are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob("rehearsal-*.json.gz"):
        old.unlink(missing_ok=True)
    body = {
        "end": found.end.isoformat(),
        "turned": [(real, business.isoformat()) for real, business in found.turned],
        "columns": {".".join(table): columns for table, columns in found.columns.items()},
        "stories": [
            {
                "life": one.life,
                "open": one.open,
                "weight": one.weight,
                "rows": {".".join(table): [row.decode() for row in rows] for table, rows in one.rows.items()},
            }
            for one in found.stories
        ],
        "units": [row.decode() for row in found.units],
    }
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_bytes(gzip.compress(orjson.dumps(body), 3))
    draft.replace(path)


def _table(name: str) -> tuple[str, str]:
    schema, _, table = name.partition(".")
    return schema, table


def _bytes(rows: list[str]) -> list[bytes]:
    return [row.encode() for row in rows]
