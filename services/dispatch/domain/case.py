"""What the routing rules may know of a case: labels and place, nothing personal."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HandlingClass(StrEnum):
    """处置类别, from the most to the least pressing (domain.md, Words)."""

    URGENT = "urgent"
    LIVELIHOOD = "livelihood"
    GENERAL = "general"
    COMPLEX = "complex"


@dataclass(frozen=True, slots=True)
class Case:
    """One appeal as a routing rule sees it.

    `matter` is a catalogue code of 2 digits per level ("" when unknown), `region_code` a GB/T 2260 code of any level
    ("" when the place is unknown), `tags` are tag codes, `groups` the reporter's groups (elderly, disabled …),
    `taken_at` is set when the action came
    before the paper (先处置后补单), `text` is redacted. `repeat_of` is the closed appeal that the citizen repeats.
    `came_by` are the platforms that handed it over to here: it does not go back to them. `task` and `allowed_s` are
    set when another platform leads the case and asked this one for a part of the work.
    """

    appeal_id: str
    matter: str
    handling_class: HandlingClass
    received_at: datetime
    taken_at: datetime | None = None
    kind: str = "other"
    region_code: str = ""
    channel: str = ""
    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    text: str = ""
    repeat_of: str | None = None
    came_by: tuple[str, ...] = ()
    task: str | None = None
    allowed_s: int | None = None
