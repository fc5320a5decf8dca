"""The platform directory (`SUSHU_PLATFORMS`): a YAML file of platforms and agreements (api.md, Between platforms)."""

from datetime import date
from pathlib import Path
from typing import Any

import yaml

from services.dispatch.domain.platforms import Agreement, Platform, PlatformDirectory
from shared.regions import RegionDirectory


class DirectoryError(ValueError):
    """The directory cannot be used; the text says what to mend."""


def load_platforms(path: str, own: str) -> PlatformDirectory:
    """The directory seen from the platform `own`; without a path this platform is alone.

    Raises DirectoryError for a file of another shape.
    """
    if not path:
        return PlatformDirectory.of(own)
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        platforms = [_platform(entry) for entry in content["platforms"]]
        agreements = [_agreement(entry) for entry in content.get("agreements") or []]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DirectoryError(f"SUSHU_PLATFORMS, {Path(path).name}: {type(error).__name__}: {error}") from error
    return PlatformDirectory.of(own, platforms, agreements)


def neighbours(own: str, regions: RegionDirectory) -> PlatformDirectory:
    """The directory of the demo city: every province and city of the division list is a platform, without an address.

    So a case of another city is offered there and stays `offered` until a real directory says how to reach it.
    """
    provinces = regions.children("")
    cities = [region for province in provinces for region in regions.children(province.code) if region.level == 2]
    return PlatformDirectory.of(
        own, [Platform(region.code, region.level, region.parent or None) for region in (*provinces, *cities)]
    )


def _platform(entry: Any) -> Platform:
    return Platform(
        code=str(entry["code"]),
        level=int(entry.get("level", 2)),
        parent=str(entry["parent"]) if entry.get("parent") else None,
        base_url=str(entry.get("base_url", "")),
    )


def _agreement(entry: Any) -> Agreement:
    until = entry.get("until")
    if isinstance(until, str):
        until = date.fromisoformat(until)
    return Agreement(frozenset(str(code) for code in entry["platforms"]), until)
