"""Which rules are asked, and in which order: `rules.yaml` of the city folder decides."""

from pathlib import Path
from typing import Any

import yaml

from services.dispatch.domain.routing import RoutingRule
from services.dispatch.rules import BUILT_IN, ENTRY_POINT_GROUP
from shared.plugins.registry import load


class RulesError(ValueError):
    """rules.yaml cannot be used; the text says what to mend."""


def load_rules(file: Path, level: str) -> tuple[RoutingRule, ...]:
    """The rules of `file` for a city profile `level` (mega, medium, small), in order.

    Raises RulesError for a file of another shape and PluginMissing for a rule that is not installed.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RulesError(f"{file.name}: {error}") from error
    entries = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise RulesError(f"{file.name}: `rules` must be a list of rule names")
    names = [name for entry in entries if (name := _enabled(entry, level, file.name)) is not None]
    if len(set(names)) < len(names):
        raise RulesError(f"{file.name}: a rule is named twice")
    rules = load(ENTRY_POINT_GROUP, {str(rule.name): rule() for rule in BUILT_IN}, names)
    for name, rule in zip(names, rules, strict=True):
        if not callable(getattr(rule, "propose", None)) or getattr(rule, "name", None) != name:
            raise RulesError(f"{file.name}: the plug-in {name!r} is no routing rule of that name")
    return tuple(rules)


def _enabled(entry: Any, level: str, file: str) -> str | None:
    """The rule's name when it is meant for `level`."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        profiles = entry.get("profiles")
        if profiles is None or (isinstance(profiles, list) and level in profiles):
            return str(entry["name"])
        if isinstance(profiles, list):
            return None
    raise RulesError(f"{file}: {entry!r} is neither a rule's name nor {{name: …, profiles: […]}}")
