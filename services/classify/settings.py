"""The service's own numbers, from the city's profile (profile.yaml, section `classify`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared import city
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """`threshold` is `auto_dispatch_threshold` (domain.md, Classification); `classifiers` are tried in this order, the
    rules always come last; a prediction that takes longer than `timeout_s` is given up for the rules; a repeat is
    suggested from `repeat_threshold` within `repeat_days` (domain.md, Appeal)."""

    platform: str
    data_dir: Path
    city: city.City
    threshold: float
    classifiers: tuple[str, ...] = ("model",)
    timeout_s: float = 10.0
    repeat_threshold: float = 0.6
    repeat_days: int = 30

    @classmethod
    def of(cls, settings: Settings) -> ClassifySettings:
        """Raises CityError for a city folder that cannot be read, ValueError for impossible numbers."""
        found = city.load(settings.city)
        section = found.sections.get("classify") or {}
        chosen = cls(
            platform=settings.platform,
            data_dir=settings.data_dir,
            city=found,
            threshold=found.auto_dispatch_threshold,
            classifiers=tuple(str(name) for name in section.get("classifiers", ("model",))),
            timeout_s=float(section.get("timeout_s", 10.0)),
            repeat_threshold=float(section.get("repeat_threshold", 0.6)),
            repeat_days=int(section.get("repeat_days", 30)),
        )
        if not 0 < chosen.repeat_threshold <= 1 or chosen.timeout_s <= 0 or not 0 < chosen.repeat_days <= 366:
            raise ValueError("profile.yaml, classify: repeat_threshold is 0–1, timeout_s above 0, repeat_days 1–366")
        return chosen
