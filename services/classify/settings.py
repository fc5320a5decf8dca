"""The service's own numbers, from the city's profile (profile.yaml, section `classify`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import city
from shared.settings import Settings

RECENT_DAYS = 30
"""how long appeals can be found by what they speak of"""
EVENT_THRESHOLD = 0.5
EVENT_DAYS = 7
REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """An OpenAI-compatible endpoint that advises at the review queue: `url` up to and with `/v1`. Its key is
    `SUSHU_LLM_KEY`, never in the profile."""

    url: str
    model: str
    timeout_s: float = 10.0
    tokens_per_day: int = 1_000_000

    @classmethod
    def of(cls, section: Mapping[str, Any] | None) -> LanguageModel | None:
        """None where the profile has no `llm`. Raises ValueError."""
        if not section:
            return None
        try:
            chosen = cls(**section)
        except TypeError as error:
            raise ValueError("profile.yaml, classify, llm: has url, model, timeout_s, tokens_per_day") from error
        if not chosen.url.startswith(("http://", "https://")) or not chosen.model:
            raise ValueError("profile.yaml, classify, llm: url is http(s)://…/v1, model a name the endpoint knows")
        if not 0 < chosen.timeout_s <= 120 or chosen.tokens_per_day < 10_000:
            raise ValueError("profile.yaml, classify, llm: timeout_s lies in 0–120, tokens_per_day is at least 10000")
        return chosen


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """`threshold` is `auto_dispatch_threshold` (domain.md, Classification); `classifiers` are tried in this order, the
    rules always come last; a prediction that takes longer than `timeout_s` is given up for the rules; a repeat is
    suggested from `repeat_threshold` within `repeat_days`, the same event from `event_threshold` within `event_days`
    (domain.md, Appeal); each process remembers the last `remembered` decisions of persons (3 KB each)."""

    platform: str
    data_dir: Path
    city: city.City
    threshold: float
    classifiers: tuple[str, ...] = ("model",)
    timeout_s: float = 10.0
    repeat_threshold: float = 0.6
    repeat_days: int = 30
    event_threshold: float = EVENT_THRESHOLD
    event_days: int = EVENT_DAYS
    remembered: int = REMEMBERED
    llm: LanguageModel | None = None

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
            event_threshold=float(section.get("event_threshold", EVENT_THRESHOLD)),
            event_days=int(section.get("event_days", EVENT_DAYS)),
            remembered=int(section.get("remembered", REMEMBERED)),
            llm=LanguageModel.of(section.get("llm")),
        )
        shares = (chosen.repeat_threshold, chosen.event_threshold)
        if not all(0 < share <= 1 for share in shares) or chosen.timeout_s <= 0:
            raise ValueError("profile.yaml, classify: repeat_threshold and event_threshold are 0–1, timeout_s above 0")
        if not 0 < chosen.repeat_days <= 366 or not 0 < chosen.event_days <= RECENT_DAYS:
            raise ValueError(f"profile.yaml, classify: repeat_days is 1–366, event_days 1–{RECENT_DAYS}")
        if not 0 <= chosen.remembered <= 200_000:
            raise ValueError("profile.yaml, classify: remembered is 0–200000")
        return chosen
