"""The contract between services: every topic's events and snapshots.

This package is the one place in `shared` that speaks of the business (architecture.md).
"""

from typing import Any

import msgspec

from shared.events.catalog import (
    appeals,
    attachments,
    catalogues,
    clocks,
    evaluations,
    handoffs,
    labels,
    notices,
    peers,
    ratings,
    signs,
    work_orders,
)
from shared.events.event import Event

_MODULES = (
    appeals,
    attachments,
    labels,
    catalogues,
    work_orders,
    handoffs,
    peers,
    clocks,
    notices,
    ratings,
    signs,
    evaluations,
)

EVENTS: dict[str, type[Event]] = {
    kind.type: kind
    for module in _MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind.type
}
"""every event body by its CloudEvents type"""

TOPICS: tuple[str, ...] = tuple(dict.fromkeys(kind.topic for kind in EVENTS.values()))
"""topic names, in the order of the loop"""

DECODERS: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(kind) for name, kind in EVENTS.items()}
