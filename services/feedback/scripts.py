"""What a seat says when it asks a citizen: 话术 of the city's file `scripts.yaml`, one for each group of matters.

The script of the longest prefix of the matter's code is taken, among these the one for the seat's medium; a file that
has none for everything is completed by the built-in one.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final

import msgspec
import yaml

from services.feedback.domain import Medium, Round
from shared.city import CityError
from shared.clock import ZONE

FILE: Final = "scripts.yaml"
_PLACES: Final = frozenset({"unit", "matter", "result", "day"})
"""what a text may have in braces: unit, matter and answer of the completion, and its day"""

_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One script. `matters`: prefixes of matter codes, an empty one fits every matter; `media`: none fits every one."""

    matters: list[str] = msgspec.field(default_factory=lambda: [""])
    media: list[Medium] = msgspec.field(default_factory=list)
    greeting: _Words
    contacted: _Words
    solved: _Words
    satisfaction: _Words
    closing: _Words
    notes: list[_Words] = msgspec.field(default_factory=list)

    def texts(self) -> list[str]:
        return [self.greeting, self.contacted, self.solved, self.satisfaction, self.closing, *self.notes]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    scripts: list[Script]


_BUILT_IN: Final = Script(
    greeting="您好，这里是 12345 热线。您反映的“{matter}”已由{unit}于{day}答复，想听听您的评价，大约一分钟。",
    contacted="办理单位是否联系过您？",
    solved="您反映的问题是否解决？",
    satisfaction="您对办理结果是否满意？非常满意 5 分，满意 4 分，基本满意 3 分，不满意 2 分，非常不满意 1 分。",
    closing="谢谢您的评价。如果问题没有解决，我们会要求办理单位再次办理。",
)


class Scripts:
    """The scripts of a city, with the version of their file."""

    def __init__(self, version: str, scripts: list[Script]) -> None:
        self.version = version
        self._scripts = [*scripts, _BUILT_IN]

    def for_round(self, asked: Round) -> dict[str, Any]:
        """What is said about the completion of a round, its places filled in."""
        completion, medium = asked.completion, asked.seat_medium
        fitting = [
            (max(map(len, prefixes)), medium in script.media, script)
            for script in self._scripts
            if (prefixes := [one for one in script.matters if completion.matter.startswith(one)])
            and (not script.media or medium in script.media)
        ]
        script = max(fitting, key=lambda one: one[:2])[2]  # the first of equals: the file's before the built-in one
        places = {
            "unit": completion.unit_name or completion.unit,
            "matter": completion.matter_name or "诉求",
            "result": completion.result or "",
            "day": _day(completion.at),
        }
        return {
            "version": self.version,
            "greeting": script.greeting.format_map(places),
            "questions": [
                {"field": name, "words": getattr(script, name).format_map(places)}
                for name in ("contacted", "solved", "satisfaction")
            ],
            "closing": script.closing.format_map(places),
            "notes": [note.format_map(places) for note in script.notes],
        }


def load(folder: Path) -> Scripts:
    """The scripts of a city's folder; the built-in one alone without the file. Raises `CityError`."""
    path = folder / FILE
    if not path.is_file():
        return Scripts("built-in", [])
    try:
        read = msgspec.convert(yaml.safe_load(path.read_bytes()), _File)
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CityError(f"{path}: {error}") from error
    for number, script in enumerate(read.scripts, 1):
        for text in script.texts():
            if fault := _fault(text):
                raise CityError(f"{path}: script {number}: {fault}, in: {text}")
    return Scripts(read.version, read.scripts)


def _fault(text: str) -> str | None:
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except ValueError as error:
        return f"braces that do not fit ({error})"
    for name, spec, conversion in fields:
        if name not in _PLACES or spec or conversion:
            return f"{{{name}}} is none of {', '.join(f'{{{place}}}' for place in sorted(_PLACES))}"
    return None


def _day(at: datetime) -> str:
    local = at.astimezone(ZONE)
    return f"{local.month}月{local.day}日"
