"""The integrator's mapping: which column of the export is which field of an appeal (docs/feed.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml

FIELDS = frozenset(
    {
        "channel",
        "text",
        "title",
        "kind",
        "external_id",
        "source_platform",
        "occurred_at",
        "reporter.name",
        "reporter.phone",
        "reporter.id_number",
        "reporter.groups",
        "reporter.anonymous",
        "reporter.confidential",
        "location.address",
        "location.region_code",
        "location.lon",
        "location.lat",
        "attachments",
        "emergency_action.taken_at",
        "emergency_action.by",
        "emergency_action.what",
    }
)
_TIMES = frozenset({"occurred_at", "emergency_action.taken_at"})
_NUMBERS = frozenset({"location.lon", "location.lat"})
_FLAGS = frozenset({"reporter.anonymous", "reporter.confidential"})
_LISTS = frozenset({"reporter.groups", "attachments"})
_OPTIONS = frozenset({"field", "map", "default", "empty", "format", "zone", "range", "separator", "lenient"})
_EMPTY = ("", "null", "NULL", "None", "\\N")
_TRUE = frozenset({"true", "1", "yes", "y", "是", "有"})
_FALSE = frozenset({"false", "0", "no", "n", "否", "无", ""})


class MappingError(ValueError):
    """The mapping file says something impossible; the text says what to mend."""


class RowError(ValueError):
    """A row that cannot become an appeal; the text names the column."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One column to one field."""

    column: str
    field: str
    map: Mapping[str, Any] | None
    default: Any
    empty: tuple[str, ...]
    formats: tuple[str, ...]
    zone: timezone
    range: tuple[float, float] | None
    separator: str
    lenient: bool

    def value(self, raw: Any) -> Any:
        """The field's value, or None to leave it out. Raises `RowError`."""
        text = raw.strip() if isinstance(raw, str) else raw
        if text is None or (isinstance(text, str) and text in self.empty):
            return self.default
        if self.map is not None:
            return self.map.get(str(text), self.default)
        try:
            return self._typed(text)
        except RowError:
            if self.lenient:
                return self.default
            raise

    def _typed(self, text: Any) -> Any:
        if self.field in _TIMES:
            return self._instant(str(text))
        if self.field in _NUMBERS:
            return self._number(text)
        if self.field in _FLAGS:
            return self._flag(text)
        if self.field in _LISTS:
            return text if isinstance(text, list) else [part for part in str(text).split(self.separator) if part]
        return text if isinstance(text, str) else str(text)

    def _instant(self, text: str) -> str:
        for form in self.formats or (None,):
            try:
                # a form without an offset gets the rule's zone below
                instant = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
            except ValueError:
                continue
            return (instant if instant.tzinfo else instant.replace(tzinfo=self.zone)).isoformat()
        raise RowError(f"column {self.column}: no time of the form {' or '.join(self.formats) or 'ISO 8601'}")

    def _number(self, text: Any) -> float | None:
        try:
            number = float(text)
        except (TypeError, ValueError):
            raise RowError(f"column {self.column}: no number") from None
        if self.range is not None and not self.range[0] <= number <= self.range[1]:
            return None
        return number

    def _flag(self, text: Any) -> bool:
        word = str(text).lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise RowError(f"column {self.column}: neither yes nor no")


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """The whole mapping: rules, constants, and how the file is written."""

    rules: tuple[Rule, ...]
    constants: Mapping[str, Any]
    encoding: str
    delimiter: str

    def appeal(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The request body of one row. Raises `RowError`."""
        body: dict[str, Any] = {}
        for field, value in self.constants.items():
            _put(body, field, value)
        for rule in self.rules:
            value = rule.value(row.get(rule.column))
            if value is not None:
                _put(body, rule.field, value)
        return body

    def columns(self) -> list[str]:
        """Columns that must be in the export."""
        return list(dict.fromkeys(rule.column for rule in self.rules))


def load(path: Path) -> FieldMapping:
    """Read a mapping file. Raises `MappingError`."""
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: {error}") from error
    if not isinstance(facts, dict):
        raise MappingError(f"{path} holds no mapping: write `column: field` lines")
    if "columns" not in facts:
        facts = {"columns": facts}
    unknown = set(facts) - {"columns", "constants", "encoding", "delimiter"}
    if unknown:
        raise MappingError(f"{path}: unknown part {', '.join(sorted(map(str, unknown)))}")
    constants = facts.get("constants") or {}
    if not isinstance(constants, dict) or not isinstance(facts["columns"], dict):
        raise MappingError(f"{path}: `columns` and `constants` are mappings")
    for field in constants:
        _known(path, field)
    rules = tuple(rule for column, target in facts["columns"].items() for rule in _rules(path, str(column), target))
    targets = {rule.field for rule in rules} | set(constants)
    for needed in ("channel", "text"):
        if needed not in targets:
            raise MappingError(f"{path}: no column or constant gives `{needed}`")
    return FieldMapping(rules, constants, str(facts.get("encoding", "utf-8-sig")), str(facts.get("delimiter", ",")))


def _rules(path: Path, column: str, target: Any) -> Iterator[Rule]:
    for one in target if isinstance(target, list) else [target]:
        options = {"field": one} if isinstance(one, str) else one
        if not isinstance(options, dict) or not isinstance(options.get("field"), str):
            raise MappingError(f"{path}: column {column} needs a field name or {{field: …}}")
        if set(options) - _OPTIONS:
            raise MappingError(f"{path}: column {column}: unknown option {', '.join(sorted(set(options) - _OPTIONS))}")
        _known(path, options["field"])
        bounds = options.get("range")
        if bounds is not None and not (isinstance(bounds, list) and len(bounds) == 2):
            raise MappingError(f"{path}: column {column}: range is [lowest, highest]")
        mapped = options.get("map")
        yield Rule(
            column,
            options["field"],
            {str(name): value for name, value in mapped.items()} if mapped is not None else None,
            options.get("default"),
            (*_EMPTY, *map(str, options.get("empty", ()))),
            _formats(path, column, options.get("format")),
            _zone(path, str(options.get("zone", "+08:00"))),
            (float(bounds[0]), float(bounds[1])) if bounds else None,
            str(options.get("separator", ",")),
            options.get("lenient") is True,
        )


def _formats(path: Path, column: str, given: Any) -> tuple[str, ...]:
    formats = [given] if isinstance(given, str) else (given or [])
    if not isinstance(formats, list) or not all(isinstance(form, str) for form in formats):
        raise MappingError(f"{path}: column {column}: format is one form or a list of them")
    return tuple(formats)


def _known(path: Path, field: str) -> None:
    if field not in FIELDS:
        raise MappingError(f"{path}: `{field}` is no field of an appeal; known: {', '.join(sorted(FIELDS))}")


def _zone(path: Path, text: str) -> timezone:
    try:
        offset = datetime.strptime(text.replace("Z", "+00:00"), "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise MappingError(f"{path}: zone is an offset such as +08:00, quoted")
    return timezone(timedelta(seconds=offset.total_seconds()))


def _put(body: dict[str, Any], field: str, value: Any) -> None:
    head, _, tail = field.partition(".")
    if tail:
        body.setdefault(head, {})[tail] = value
    else:
        body[head] = value
