"""The catalogue of matters (domain.md, Words: 事项): four levels, versioned, effective-dated.

A code has two digits for each level, so the first two, four or six digits name a group: units answer for code
prefixes, and a report can be summed on any level.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

COLUMNS = ("code", "l1", "l2", "l3", "l4", "class", "kind", "dimension", "social", "elderly", "synonyms", "examples")
OPTIONAL = ("units", "formerly")
"""further columns, each at the end and in this order: units that answer for the matter; codes of the version in force
that it takes the place of"""
MAX_ROWS = 20_000
MAX_PROBLEMS = 50


class HandlingClass(StrEnum):
    """处置类别 (domain.md, Words), the most pressing first."""

    URGENT = "urgent"
    LIVELIHOOD = "livelihood"
    GENERAL = "general"
    COMPLEX = "complex"


class Kind(StrEnum):
    """诉求类型 (domain.md, Words)."""

    CONSULT = "consult"
    HELP = "help"
    COMPLAINT = "complaint"
    REPORT = "report"
    SUGGESTION = "suggestion"
    PRAISE = "praise"
    OTHER = "other"


DIMENSIONS = ("幼有所育", "学有所教", "劳有所得", "病有所医", "老有所养", "住有所居", "弱有所扶")
"""七有: the seven things that every resident is to have."""


@dataclass(frozen=True, slots=True)
class Matter:
    """A leaf of the catalogue. `path` has the four level names; `social` admits the social pool; `elderly` moves the
    matter one class up in the queue of an elderly or disabled reporter (domain.md, SLA). `units` are the codes of those
    who answer for it, as its authors see it (dispatch's units decide); `formerly` its codes in the version before.
    """

    code: str
    path: tuple[str, str, str, str]
    handling_class: HandlingClass
    kind: Kind
    dimension: str | None = None
    social: bool = False
    elderly: bool = False
    synonyms: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an imported file: the line (from 1, the header is line 1), the column, and what to do."""

    line: int
    column: str
    detail: str


class CatalogueError(ValueError):
    """An imported catalogue cannot be used; `problems` says why, at most 50 of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:MAX_PROBLEMS])
        first = self.problems[0]
        super().__init__(f"line {first.line}, column {first.column}: {first.detail}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One version of the catalogue. `effective_from` is None for a version that was never activated."""

    version: str
    matters: Mapping[str, Matter]
    effective_from: datetime | None = None
    _search: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, version: str, matters: Iterable[Matter], effective_from: datetime | None = None) -> Catalogue:
        by_code = {matter.code: matter for matter in matters}
        search = tuple(
            (code, "\n".join((code, *matter.path, *matter.synonyms)).lower()) for code, matter in by_code.items()
        )
        return cls(version, by_code, effective_from, search)

    def __contains__(self, code: object) -> bool:
        return code in self.matters

    def __len__(self) -> int:
        return len(self.matters)

    def get(self, code: str) -> Matter | None:
        return self.matters.get(code)

    def find(self, words: str) -> list[Matter]:
        """Matters whose code, path or synonyms contain every word of `words` (all matters when there is none), those
        that carry the first word in their own name first, then by code."""
        terms = words.lower().split()
        hits = [self.matters[code] for code, text in self._search if all(term in text for term in terms)]
        if terms:
            hits.sort(key=lambda matter: (terms[0] not in matter.name.lower(), matter.code))
        return hits


@dataclass(frozen=True, slots=True)
class CatalogueDiff:
    """What a new version would change, by matter code. `changed` names the changed fields of each code."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]

    @property
    def empty(self) -> bool:
        return not (self.added or self.removed or self.changed)


_COMPARED = ("path", "handling_class", "kind", "dimension", "social", "elderly", "synonyms", "examples", "units")


def diff(old: Catalogue | None, new: Catalogue) -> CatalogueDiff:
    """Compare two versions; without an old one, everything is added."""
    before = old.matters if old is not None else {}
    changed = {}
    for code in sorted(before.keys() & new.matters.keys()):
        fields = tuple(name for name in _COMPARED if getattr(before[code], name) != getattr(new.matters[code], name))
        if fields:
            changed[code] = fields
    return CatalogueDiff(
        added=tuple(sorted(new.matters.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - new.matters.keys())),
        changed=changed,
    )


def parse_catalogue(text: str) -> list[Matter]:
    """Read a catalogue file (CSV, header `COLUMNS`, then any of `OPTIONAL`; lists separated by `|`).

    Raises CatalogueError with every problem found, each with its line, column and remedy.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    problems: list[Problem] = []
    matters: list[Matter] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        more = tuple(name for name in OPTIONAL if name in header)
        if tuple(header) != COLUMNS + more:
            wanted = f"{','.join(COLUMNS)}[,{'][,'.join(OPTIONAL)}]"
            raise CatalogueError([Problem(1, "header", f"the header must be exactly {wanted}")])
        group_names: dict[str, tuple[str, int]] = {}
        seen: dict[str, int] = {}
        successors: dict[str, str] = {}
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(matters) >= MAX_ROWS:
                problems.append(Problem(line, "code", f"more than {MAX_ROWS} matters: split the catalogue"))
                break
            row = _Row(line, header, cells, problems)
            matter = row.matter()
            if matter is None:
                continue
            if matter.code in seen:
                row.complain("code", f"{matter.code} stands on line {seen[matter.code]} already: give each matter one")
                continue
            seen[matter.code] = line
            for code in matter.formerly:
                if successors.setdefault(code, matter.code) != matter.code:
                    row.complain("formerly", f"{code} became {successors[code]} already: name it once")
            for level in range(1, 4):
                prefix, name = matter.code[: 2 * level], matter.path[level - 1]
                known, where = group_names.setdefault(prefix, (name, line))
                if known != name:
                    row.complain(f"l{level}", f"group {prefix} is called {known} on line {where}, here {name}")
            matters.append(matter)
    except csv.Error as error:
        problems.append(Problem(reader.line_num, "row", f"not valid CSV: {error}"))
    if not matters and not problems:
        problems.append(Problem(1, "row", "no matter in the file: add at least one line"))
    if problems:
        raise CatalogueError(problems)
    return matters


_E = TypeVar("_E", bound=StrEnum)


class _Row:
    """One line of the file on its way to a Matter; complaints are collected, so that an author sees all at once."""

    def __init__(self, line: int, header: Sequence[str], cells: Sequence[str], problems: list[Problem]) -> None:
        self.line = line
        self._header = header
        self._cells = [cell.strip() for cell in cells]
        self._problems = problems
        self._sound = True

    def complain(self, column: str, detail: str) -> None:
        self._sound = False
        self._problems.append(Problem(self.line, column, detail))

    def matter(self) -> Matter | None:
        if len(self._cells) != len(self._header):
            self.complain("row", f"has {len(self._cells)} columns, needs {len(self._header)}: check commas and quotes")
            return None
        cell = dict(zip(self._header, self._cells, strict=True))
        code, units, formerly = cell["code"], _parts(cell.get("units", "")), _parts(cell.get("formerly", ""))
        if not is_code(code):
            self.complain("code", f"{code[:40]!r} is not 8 digits, two for each of the four levels")
        for unit in units:
            if len(unit) > 64 or not re.fullmatch(r"[\w.\-:]+", unit):
                self.complain("units", f"{unit[:40]!r} is no code of a unit")
        for old in formerly:
            if not is_code(old):
                self.complain("formerly", f"{old[:40]!r} is not 8 digits")
        for level in ("l1", "l2", "l3", "l4"):
            if not 1 <= len(cell[level]) <= 80:
                self.complain(level, "must have 1–80 characters")
        handling_class = self._one_of("class", cell["class"], HandlingClass)
        kind = self._one_of("kind", cell["kind"], Kind)
        dimension = cell["dimension"] or None
        if dimension is not None and dimension not in DIMENSIONS:
            self.complain("dimension", f"{dimension[:40]!r} must be empty or one of {'、'.join(DIMENSIONS)}")
        social, elderly = self._flag("social", cell["social"]), self._flag("elderly", cell["elderly"])
        if not self._sound or handling_class is None or kind is None:
            return None
        return Matter(
            code=code,
            path=(cell["l1"], cell["l2"], cell["l3"], cell["l4"]),
            handling_class=handling_class,
            kind=kind,
            dimension=dimension,
            social=social,
            elderly=elderly,
            synonyms=_parts(cell["synonyms"]),
            examples=_parts(cell["examples"]),
            units=units,
            formerly=formerly,
        )

    def _one_of(self, column: str, value: str, options: type[_E]) -> _E | None:
        try:
            return options(value)
        except ValueError:
            self.complain(column, f"{value[:40]!r} must be one of {', '.join(options)}")
            return None

    def _flag(self, column: str, value: str) -> bool:
        if value not in ("", "0", "1"):
            self.complain(column, f"{value[:40]!r} must be 0 or 1")
        return value == "1"


def is_code(code: str) -> bool:
    """Whether `code` has the shape of a matter's code."""
    return len(code) == 8 and code.isascii() and code.isdigit()


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in cell.split("|") if part.strip()))
