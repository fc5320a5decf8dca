"""Rows of an export: CSV or JSON lines, plain or gzipped, read as a stream."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast


class ExportError(ValueError):
    """The export cannot be read; the text says why."""


def read(
    path: Path, encoding: str, delimiter: str, columns: list[str]
) -> Iterator[tuple[int, dict[str, Any] | None, float]]:
    """(row number from 1, row or None when it is no JSON object, share of the file read so far from 0 to 1).

    Raises `ExportError` for a file that is none, or a CSV that lacks one of `columns`.
    """
    try:
        size = path.stat().st_size or 1
        with path.open("rb") as raw:
            plain = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
            text = io.TextIOWrapper(plain, encoding=encoding, newline="")

            def done() -> float:
                return min(1.0, raw.tell() / size)

            if ".csv" in path.suffixes or ".tsv" in path.suffixes:
                yield from _csv(path, text, "\t" if ".tsv" in path.suffixes else delimiter, columns, done)
            else:
                yield from _lines(text, done)
    except UnicodeDecodeError as error:
        raise ExportError(
            f"{path} is not {encoding}; name its encoding in the mapping, e.g. encoding: gb18030"
        ) from error
    except (OSError, EOFError, LookupError, csv.Error) as error:
        raise ExportError(f"{path}: {error}") from error


def _csv(
    path: Path, text: io.TextIOWrapper, delimiter: str, columns: list[str], done: Callable[[], float]
) -> Iterator[tuple[int, dict[str, Any] | None, float]]:
    rows = csv.DictReader(text, delimiter=delimiter)
    missing = [column for column in columns if column not in (rows.fieldnames or ())]
    if missing:
        raise ExportError(f"{path} has no column {', '.join(missing)}; it has {', '.join(rows.fieldnames or ())}")
    for number, row in enumerate(rows, start=1):
        yield number, row, done()


def _lines(text: io.TextIOWrapper, done: Callable[[], float]) -> Iterator[tuple[int, dict[str, Any] | None, float]]:
    number = 0
    for line in text:
        if not line.strip():
            continue
        number += 1
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        yield number, row if isinstance(row, dict) else None, done()
