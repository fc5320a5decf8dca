"""Labelled texts from a CSV or JSONL file, plain or gzip, as any city exports them."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

_TEXT: Any = {"encoding": "utf-8-sig", "newline": ""}


class DatasetError(ValueError):
    """The file cannot be used for this; the message names the line, the column and the remedy."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row; `row` counts the file's rows from 0, `day` is None without a date column."""

    row: int
    text: str
    label: str
    day: date | None
    tags: frozenset[str] | None = None
    """None: nobody tagged it"""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read, and the window: `until` exclusive, `since` inclusive (api.md, Make targets). `text` and
    `label` may name several columns with commas between: their texts become one, their labels a path. `tags` names a
    column with the tags that a person set: a list, or text with `|` between; empty where nobody looked."""

    text: str
    label: str
    day: str | None = None
    until: date | None = None
    since: date | None = None
    tags: str | None = None

    def __post_init__(self) -> None:
        if (self.until or self.since) and self.day is None:
            raise DatasetError("until and since need the date column: add date=COLUMN")


def read_examples(path: Path, columns: Columns) -> list[Example]:
    """Rows inside the window that have a text and a label. Raises DatasetError."""
    examples = []
    for row, record in enumerate(_records(path)):
        texts, labels = _named(columns.text, record), _named(columns.label, record)
        missing = [name for name in (*texts, *labels, columns.day, columns.tags) if name and name not in record]
        if missing:
            has = ", ".join(str(name) for name in list(record)[:20])
            raise DatasetError(f"row {row}: no column {missing[0]!r}; the file has {has}")
        text = "。".join(str(record[name]) for name in texts if record[name])
        label = "/".join(part for name in labels if (part := str(record[name] or "").strip()))
        day = None
        if columns.day:
            raw = str(record[columns.day] or "")
            try:
                day = date.fromisoformat(raw[:10])
            except ValueError:
                raise DatasetError(f"row {row}: {columns.day} does not begin with a date YYYY-MM-DD") from None
            if (columns.until and day >= columns.until) or (columns.since and day < columns.since):
                continue
        if text.strip() and label:
            tags = _tags(record.get(columns.tags)) if columns.tags else None
            examples.append(Example(row, text, label, day, tags))
    if not examples:
        raise DatasetError("no row left: check the file, the column names and the dates")
    return examples


def with_enough(examples: list[Example], min_count: int) -> list[Example]:
    """Only the labels that have at least `min_count` examples."""
    counts = Counter(example.label for example in examples)
    return [example for example in examples if counts[example.label] >= min_count]


def _tags(value: Any) -> frozenset[str] | None:
    if value is None or value == "":
        return None
    return frozenset(str(one).strip() for one in (value if isinstance(value, list) else str(value).split("|"))) - {""}


def _named(columns: str, record: Mapping[str, Any]) -> list[str]:
    """The columns that are meant: one whose name has commas in it, or several."""
    return [columns] if columns in record else columns.split(",")


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    names = [suffix for suffix in path.suffixes if suffix != ".gz"]
    suffix = names[-1] if names else ""
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        raise DatasetError(f"{path.name}: the name must end in .csv or .jsonl, with or without .gz")
    try:
        with gzip.open(path, "rt", **_TEXT) if path.suffix == ".gz" else path.open("rt", **_TEXT) as stream:
            if suffix == ".csv":
                yield from csv.DictReader(stream)
                return
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _json_row(line, number)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        raise DatasetError(f"{path.name} cannot be read as UTF-8 {suffix[1:]}: {error}") from error


def _json_row(line: str, number: int) -> Mapping[str, Any]:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"line {number} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise DatasetError(f"line {number} is not a JSON object")
    return body
