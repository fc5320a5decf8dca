"""Reading the CSV files of a city line by line: nothing is imported when a single line is wrong."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time


@dataclass(frozen=True, slots=True)
class LineError:
    """One fault: `line` counts from 1 with the header, `column` is its name."""

    line: int
    column: str
    detail: str


class SheetError(ValueError):
    """The whole file cannot be read (no text, a column is missing)."""


def decode(data: bytes) -> str:
    """UTF-8 with or without a byte order mark, else GB 18030 (what Excel writes here).

    Raises SheetError when it is neither.
    """
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            break
        return text
    raise SheetError("The file is neither UTF-8 nor GB 18030 text; save it as CSV UTF-8.")


def rows(text: str, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped cells of each non-empty row; unknown columns are kept, missing cells are "".

    Raises SheetError when a required column is not in the header.
    """
    try:
        reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in required if name not in header]:
            raise SheetError(f"The header lacks {', '.join(missing)}; it has {', '.join(header) or 'nothing'}.")
        for cells in reader:
            padded = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
            if any(padded):
                yield reader.line_num, dict(zip(header, padded, strict=False))
    except csv.Error as error:
        raise SheetError(f"The file is no CSV: {error}") from error


_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")


def day(cell: str) -> date | None:
    """`2026-01-31` or `2026/1/31`; empty is None. Raises ValueError for anything else, also Excel's day numbers."""
    if not cell:
        return None
    if (found := _DAY.fullmatch(cell)) is None:
        raise ValueError(f"{cell!r} is no date; write it as 2026-01-31")
    return date(*(int(part) for part in found.groups()))


def clock(cell: str) -> time | None:
    """`08:30`; empty is None."""
    return time.fromisoformat(cell) if cell else None


def words(cell: str) -> tuple[str, ...]:
    """Several values in one cell, separated by `|`."""
    return tuple(dict.fromkeys(part.strip() for part in cell.split("|") if part.strip()))


def filled(row: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The row with its `{placeholders}` replaced; an unknown one stays and is found by the checks that follow."""
    made = {}
    for column, cell in row.items():
        for name, value in values.items():
            if "{" not in cell:
                break
            cell = cell.replace("{" + name + "}", value)
        made[column] = cell
    return made
