"""Writes a consumer service that works at once: code, migration, tests, route, topic reader, Kubernetes folder.

python -m tools.new_service rain                       # services/rain, GET /v1/rain/{day}
python -m tools.new_service rain --segment rain-days   # another first path segment

docs/adding-a-service.md says what to change next. Run it in a clean checkout: `git status` then shows all that it did.
"""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "templates" / "service"
TOPIC = "dispatch.work-orders.v1"
"""what the new service reads; its owner lists the readers"""

NAME = re.compile(r"[a-z][a-z0-9]{1,29}")
SEGMENT = re.compile(r"[a-z][a-z0-9-]{1,39}")
TAKEN = frozenset({"bus", "sim", "public", "shared", "tests", "services", "root"})
"""schemas and words of the runtime"""


class Refused(Exception):
    """The service cannot be written; the text says what to do instead."""


def check(name: str, segment: str, root: Path) -> None:
    """Raises `Refused` when the name or the path segment cannot be used."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name in TAKEN or name.startswith("pg"):
        raise Refused(f"{name!r} cannot be a service: take one lower-case word of 2 to 30 letters and digits")
    if (root / "services" / name).exists():
        raise Refused(f"services/{name} is there already")
    if not SEGMENT.fullmatch(segment):
        raise Refused(f"{segment!r} cannot be a path segment: lower-case letters, digits and dashes")
    for owner, entry in _routes(root).items():
        if owner != name and segment in [*entry.get("segments", []), *entry.get("local_only", [])]:
            raise Refused(f"/v1/{segment} belongs to {owner}: choose another with --segment")


def segment_of(name: str, root: Path) -> str:
    """The first path segment that the route table keeps for the service, else its name."""
    planned: list[str] = _routes(root).get(name, {}).get("segments", [])
    return planned[0] if planned else name


def write(name: str, segment: str, root: Path) -> list[Path]:
    """Writes every file of the service and its lines in the two tables; returns the new files.

    Raises `Refused` before anything is written.
    """
    check(name, segment, root)
    homes = {
        "service": root / "services" / name,
        "unit": root / "tests" / "unit" / name,
        "integration": root / "tests" / "integration" / name,
    }
    words = {"{{name}}": name, "{{title}}": name.capitalize(), "{{segment}}": segment}
    written = []
    for template in sorted(TEMPLATES.rglob("*.tmpl")):
        home, *rest = template.relative_to(TEMPLATES).parts
        target = homes[home].joinpath(*rest[:-1], _filled(rest[-1].removesuffix(".tmpl"), words))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(template.read_text("utf-8"), words), "utf-8")
        written.append(target)
    if name not in _routes(root):
        with (root / "deploy" / "routes.yaml").open("a", encoding="utf-8") as table:
            table.write(f"  {name}:\n    segments: [{segment}]\n")
    _add_reader(root / "shared" / "events" / "topics" / f"{TOPIC}.yaml", name)
    k8s = root / "deploy" / "k8s"
    _substitute(k8s / "database.sql", r"(unnest\(ARRAY\[[^\]]*)(\]\) AS name)", rf"\1, '{name}'\2")
    _substitute(
        k8s / "overlays" / "local-kafka" / "secrets.sh", r'(=evaluate="\$url")', rf'\1 --from-literal={name}="$url"'
    )
    return written


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


def _routes(root: Path) -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = yaml.safe_load((root / "deploy" / "routes.yaml").read_text("utf-8"))[
        "services"
    ]
    return table


def _add_reader(topic: Path, name: str) -> None:
    def add(line: re.Match[str]) -> str:
        readers = {reader.strip() for reader in line.group(1).split(",")} | {name}
        return f"consumers: [{', '.join(sorted(readers))}]"

    _substitute(topic, r"consumers: \[(.*)\]", add)


def _substitute(path: Path, pattern: str, by: str | Callable[[re.Match[str]], str]) -> None:
    text, times = re.subn(pattern, by, path.read_text("utf-8"), count=1)
    if not times:
        raise RuntimeError(f"{path} has changed its shape: this tool looks for {pattern}")
    path.write_text(text, "utf-8")


def refresh(name: str, root: Path) -> None:
    """Bring what is generated up to date: event documents, Kubernetes folder and routes."""
    for command in (["tools.generate"], ["tools.k8s", "scaffold", name]):
        subprocess.run([sys.executable, "-m", *command], cwd=root, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def main(
    name: Annotated[str, typer.Argument(help="one lower-case word, e.g. rain")],
    segment: Annotated[str, typer.Option(help="first path segment after /v1/; default: the name")] = "",
) -> None:
    """Write a consumer service that works at once."""
    try:
        written = write(name, segment or segment_of(name, ROOT), ROOT)
    except Refused as refusal:
        typer.echo(f"new-service: {refusal}", err=True)
        raise typer.Exit(2) from None
    refresh(name, ROOT)
    for path in written:
        typer.echo(f"wrote {path.relative_to(ROOT)}")
    typer.echo(f"\nIts tests: {sys.executable} -m pytest tests/unit/{name} tests/integration/{name}")
    typer.echo("`make run` runs it with the others. What to change next: docs/adding-a-service.md")


if __name__ == "__main__":
    typer.run(main)
