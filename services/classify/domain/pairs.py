"""A mapping of codes as a file: CSV with the header `old,new`."""

from __future__ import annotations

import csv
import io

from services.classify.domain.catalogue import MAX_PROBLEMS, MAX_ROWS, is_code


class PairsError(ValueError):
    """The file cannot be used; `errors` has a pointer `/<line>/<column>` and a remedy for every fault."""

    def __init__(self, faults: list[tuple[int, str, str]]) -> None:
        self.errors = [{"pointer": f"/{line}/{column}", "detail": detail} for line, column, detail in faults]
        line, column, detail = faults[0]
        super().__init__(f"line {line}, column {column}: {detail}")


def parse_pairs(text: str) -> dict[str, str]:
    """Old code → new code. Raises PairsError with at most 50 faults."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    faults: list[tuple[int, str, str]] = []
    pairs: dict[str, str] = {}
    try:
        if [name.strip() for name in next(reader, [])] != ["old", "new"]:
            raise PairsError([(1, "header", "the header must be exactly old,new")])
        for cells in reader:
            line = reader.line_num
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if len(values) != 2:
                faults.append((line, "row", f"has {len(values)} columns, needs 2"))
                continue
            old, new = values
            for column, code in (("old", old), ("new", new)):
                if not is_code(code):
                    faults.append((line, column, f"{code[:40]!r} is not 8 digits"))
            if pairs.setdefault(old, new) != new:
                faults.append((line, "old", f"{old[:40]} leads to {pairs[old][:40]} already: name it once"))
            if len(pairs) > MAX_ROWS or len(faults) >= MAX_PROBLEMS:
                break
    except csv.Error as error:
        faults.append((reader.line_num, "row", f"not valid CSV: {error}"))
    if not pairs and not faults:
        faults.append((1, "row", "no pair in the file: add at least one line"))
    if faults:
        raise PairsError(faults)
    return pairs
