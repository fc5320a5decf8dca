"""The tag dictionary (domain.md, Words: 标签) as an importable file."""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from typing import TypeVar

from services.classify.domain.catalogue import CatalogueError, Problem
from services.classify.domain.labels import TagDefinition, TagFamily, TagTier

TAG_COLUMNS = ("code", "name", "family", "tier", "words")
_E = TypeVar("_E", bound=StrEnum)


def parse_tags(text: str) -> list[TagDefinition]:
    """Read a tag file (CSV, UTF-8, header exactly `TAG_COLUMNS`, words separated by `|`).

    Raises CatalogueError with every problem found, each with its line, column and remedy.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    problems: list[Problem] = []
    tags: dict[str, TagDefinition] = {}
    try:
        if tuple(name.strip() for name in next(reader, [])) != TAG_COLUMNS:
            raise CatalogueError([Problem(1, "header", f"the header must be exactly {','.join(TAG_COLUMNS)}")])
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(TAG_COLUMNS):
                problems.append(Problem(line, "row", f"has {len(cells)} columns, needs {len(TAG_COLUMNS)}"))
                continue
            code, name, family, tier, words = (cell.strip() for cell in cells)
            before = len(problems)
            if not 1 <= len(code) <= 60 or code in tags:
                problems.append(Problem(line, "code", "must be 1–60 characters and stand only once in the file"))
            if not 1 <= len(name) <= 80:
                problems.append(Problem(line, "name", "must have 1–80 characters"))
            found_family = _one_of(line, "family", family, TagFamily, problems)
            found_tier = _one_of(line, "tier", tier, TagTier, problems)
            entries = tuple(dict.fromkeys(word.strip() for word in words.split("|") if word.strip()))
            if not entries or max(map(len, entries)) > 40:
                problems.append(Problem(line, "words", "needs at least one word, each of at most 40 characters"))
            if len(problems) == before and found_family is not None and found_tier is not None:
                tags[code] = TagDefinition(code, name, found_family, found_tier, entries)
    except csv.Error as error:
        problems.append(Problem(reader.line_num, "row", f"not valid CSV: {error}"))
    if problems:
        raise CatalogueError(problems)
    return list(tags.values())


def _one_of(line: int, column: str, value: str, options: type[_E], problems: list[Problem]) -> _E | None:
    try:
        return options(value)
    except ValueError:
        problems.append(Problem(line, column, f"{value[:40]!r} must be one of {', '.join(options)}"))
        return None
