"""The city folder (`SUSHU_CITY`): profile.yaml, units.csv, catalogue.csv, rules.yaml and what services add.

`demo` is the folder `cities/demo` of the checkout, anything else is a path. The numbers of domain.md are defaults of
the profile's level (mega, medium, small) and can be set one by one in profile.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Level = Literal["mega", "medium", "small"]

CITIES = Path(__file__).parents[1] / "cities"

_BY_LEVEL: dict[str, dict[str, float]] = {
    # domain.md, "Classification" and "Insight"
    "mega": {"auto_dispatch_threshold": 0.80, "hot_event_appeals": 10},
    "medium": {"auto_dispatch_threshold": 0.85, "hot_event_appeals": 10},
    "small": {"auto_dispatch_threshold": 0.90, "hot_event_appeals": 5},
}


class CityError(ValueError):
    """The city folder lacks something or says something impossible; the text says what to mend."""


@dataclass(frozen=True, slots=True)
class City:
    """A city's configuration as read from its folder."""

    folder: Path
    version: str
    level: Level
    auto_dispatch_threshold: float
    """calibrated probability from which an appeal is dispatched without a person"""
    auto_link_threshold: float
    """score from which a repeat of the same reporter and matter is joined without a person"""
    min_asked: int
    """units with fewer asked appeals are shown unranked"""
    sections: Mapping[str, Any]
    """further parts of profile.yaml by name, each read by the service of that name"""

    def file(self, name: str) -> Path:
        """A file of the folder. Raises `CityError` when it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise CityError(
                f"{path} is missing: a city folder needs profile.yaml, units.csv, catalogue.csv, rules.yaml"
            )
        return path


def load(city: str) -> City:
    """The city folder of `SUSHU_CITY`. Raises `CityError`."""
    folder = CITIES / "demo" if city == "demo" else Path(city)
    path = folder / "profile.yaml"
    if not path.is_file():
        raise CityError(f"{path} is missing: set SUSHU_CITY to `demo` or to a folder with profile.yaml")
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CityError(f"{path}: {error}") from error
    if not isinstance(facts, dict):
        raise CityError(f"{path} holds no mapping of settings")
    level = facts.pop("level", None)
    if level not in _BY_LEVEL:
        raise CityError(f"{path}: level must be mega, medium or small")
    defaults = _BY_LEVEL[level]
    try:
        return City(
            folder=folder,
            version=str(facts.pop("version", "1")),
            level=level,
            auto_dispatch_threshold=_share(
                facts.pop("auto_dispatch_threshold", defaults["auto_dispatch_threshold"]), "auto_dispatch_threshold"
            ),
            auto_link_threshold=_share(facts.pop("auto_link_threshold", 0.95), "auto_link_threshold"),
            min_asked=int(facts.pop("min_asked", 20)),
            sections=facts,
        )
    except (TypeError, ValueError) as error:
        raise CityError(f"{path}: {error}") from error


def _share(value: Any, name: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be from 0 to 1")
    return number
