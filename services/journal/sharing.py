"""Who sees which part of the feed: row scope by region, and the fields that other platforms do not get (共享负面清单).

Events hold no contact data at all (domain.md, "Privacy and audit"). What is left out here is what would let another
platform follow one citizen or one clerk through all cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import Problem
from shared.security.principal import Principal
from shared.security.scope import within

WITHHELD = (
    "actor",
    "after.reporter.pseudonym",
    "after.rating_token_sha256",
    "evidence",
)
"""fields of an event's data that a platform does not get; the city's profile may list others (section `journal`)"""


@dataclass(frozen=True, slots=True)
class View:
    """What of the feed somebody sees."""

    regions: tuple[str, ...] | None = None
    """region codes, each with everything below it; None: all, also events that belong to no region"""
    withheld: tuple[str, ...] = ()
    """paths of fields that are left out"""

    def shown(self, event: dict[str, Any]) -> dict[str, Any]:
        """A CloudEvent as the viewer gets it."""
        if not self.withheld:
            return event
        data = event["data"]
        for path in self.withheld:
            data = _without(data, path.split("."))
        return event | {"data": data}

    def narrowed(self, region: str | None) -> View:
        """The part of it that lies in `region`."""
        if region is None:
            return self
        if self.regions is None or any(within(region, own) for own in self.regions):
            return View((region,), self.withheld)
        return View(tuple(own for own in self.regions if within(own, region)), self.withheld)


def view_of(who: Principal, platform: str, withheld: Sequence[str]) -> View:
    """What `who` sees of the feed of `platform`. Raises `Problem` 403.

    admin, auditors and leaders see the events of their regions. A platform above sees everything of those below it, a
    platform below the events of its own region, both without the withheld fields; a token of units sees nothing.
    """
    if "admin" in who.roles:
        return View()
    if who.has("auditor", "leader") and not who.units:
        return View(tuple(sorted(who.regions)) or None)
    if "platform" in who.roles and who.platform and not who.units and not who.regions:
        if within(platform, who.platform):
            return View(None, tuple(withheld))
        if within(who.platform, platform):
            return View((who.platform,), tuple(withheld))
    raise Problem(
        403,
        "forbidden",
        "The feed shows the events of regions: to auditors and leaders without units, and to platforms above this one "
        "or inside it. Read single cases under /v1/appeals.",
    )


def view_of_platform(asker: str, above: Sequence[str], withheld: Sequence[str]) -> View:
    """What a platform that signed its request sees: everything but the withheld fields, when it is one of those that
    stand `above` this one in the directory. Raises `Problem` 403."""
    if asker in above:
        return View(None, tuple(withheld))
    raise Problem(403, "not_above", f"{asker} is not above this platform in its directory; only such read its feed.")


def _without(value: Any, path: Sequence[str]) -> Any:
    """A copy of `value` without what stands at `path`; lists on the way are gone through."""
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    name, *rest = path
    if not rest:
        return {key: item for key, item in value.items() if key != name}
    return {**value, name: _without(value[name], rest)}
