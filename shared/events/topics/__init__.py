"""Topics as files: one YAML per topic beside this module says key, partitions, retention, owner and readers."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's facts."""

    name: str
    title: str
    key: str
    owner: str
    partitions: int
    retention_days: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    carries: str = ""
    """the topic of other platforms whose events it holds; empty: it has types of its own"""


@lru_cache
def load() -> dict[str, Topic]:
    """Every topic by name. Raises `KeyError` / `TypeError` for a file that lacks a line."""
    found: dict[str, Topic] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            facts = yaml.safe_load(file.read_text(encoding="utf-8"))
            topic = Topic(**{**facts, "producers": tuple(facts["producers"]), "consumers": tuple(facts["consumers"])})
            found[topic.name] = topic
    return found
