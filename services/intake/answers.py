"""Who sees an appeal, and answers that were given before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.security.principal import STAFF, Principal


class FirstAnswer(dict[str, Any]):
    """The answer of an earlier, equal call: HTTP says 200 instead of 201."""


def visible(who: Principal, region_code: str, units: Sequence[str], source_platform: str) -> bool:
    """Row scope: region × unit; a platform sees what it sent (api.md, Errors: else 404)."""
    if who.has(*STAFF):
        return who.sees_region(region_code) and who.sees_unit(*units)
    return "platform" in who.roles and who.platform is not None and who.platform == source_platform
