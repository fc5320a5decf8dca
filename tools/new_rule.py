"""Writes a routing rule that works at once: a package of its own with its tests.

python -m tools.new_rule school_zone              # rules/school_zone
python -m tools.new_rule school_zone --into DIR

docs/writing-a-routing-rule.md says what a rule may look at and how it is put into the chain.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from services.dispatch.rules import BUILT_IN

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "templates" / "rule"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40


class Refused(Exception):
    """The rule cannot be written; the text says what to do instead."""


def write(name: str, folder: Path) -> list[Path]:
    """Write the package into `folder`, which must not exist; returns its files. Raises `Refused` before anything is
    written."""
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        raise Refused(f"{name!r} cannot be a rule: take lower-case words joined by _, at most {LONGEST} letters")
    if name in {str(rule.name) for rule in BUILT_IN}:
        raise Refused(f"{name} is a rule of the chain already")
    if folder.exists():
        raise Refused(f"{folder} is there already")
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    words = {
        "{{name}}": name,
        "{{dashed}}": name.replace("_", "-"),
        "{{class}}": "".join(part.capitalize() for part in name.split("_")),
        "{{folder}}": str(shown),
    }
    written = []
    for template in sorted(TEMPLATES.rglob("*.tmpl")):
        place = str(template.relative_to(TEMPLATES)).removesuffix(".tmpl").replace("package", f"sushu_rule_{name}")
        text = template.read_text("utf-8")
        for mark, word in words.items():
            text = text.replace(mark, word)
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        written.append(target)
    return written


def main(
    name: Annotated[str, typer.Argument(help="lower-case words joined by _, e.g. school_zone")],
    into: Annotated[Path | None, typer.Option(help="a new folder; default: rules/<name>")] = None,
) -> None:
    """Write a routing rule that works at once."""
    folder = (into or ROOT / "rules" / name).resolve()
    try:
        written = write(name, folder)
    except Refused as refusal:
        typer.echo(f"new-rule: {refusal}", err=True)
        raise typer.Exit(2) from None
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(f"\nIts tests and how to install it: {folder / 'README.md'}")


if __name__ == "__main__":
    typer.run(main)
