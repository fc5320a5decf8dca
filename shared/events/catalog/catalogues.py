"""classify.catalogues.v1: versions of the catalogue of matters. Key: platform/version. Owner: classify."""

from datetime import datetime
from typing import ClassVar

from shared.events.event import Event, Snapshot


class CatalogueVersion(Snapshot, frozen=True, kw_only=True):
    """A version of the catalogue: which codes there are, and from when on it is in force."""

    platform: str
    version: int
    codes: list[str]
    """of its matters (leaves), 2 digits per level"""
    effective_from: datetime | None = None
    """None: only imported; the newest start that has come is in force"""


class CatalogueEvent(Event, frozen=True, kw_only=True):
    """Any fact of a version."""

    topic: ClassVar[str] = "classify.catalogues.v1"
    after: CatalogueVersion


class CatalogueImported(CatalogueEvent, frozen=True, kw_only=True):
    """It may be looked at, and units and duties be prepared for it."""

    type: ClassVar[str] = "catalogue.imported"


class CatalogueActivated(CatalogueEvent, frozen=True, kw_only=True):
    """It is in force from `effective_from` on."""

    type: ClassVar[str] = "catalogue.activated"
