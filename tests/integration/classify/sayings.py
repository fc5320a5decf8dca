"""Appeals as intake would publish them, and what classify said about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from shared.events.catalog import appeals
from shared.ids import uuid7
from shared.testing.harness import Harness

APPEALS = "intake.appeals.v1"
LABELS = "classify.labels.v1"

LEAK = "楼道里有很浓的煤气味，快派人来"
LAMP = "和平路整条巷子路灯不亮半个月了，晚上不敢走"
VAGUE = "我想说一下那个事情，请你们看看怎么回事"


def appeal(text: str, *, received_at: datetime, **changes: Any) -> appeals.Appeal:
    fields: dict[str, Any] = {
        "id": uuid7(),
        "platform": "460100",
        "reference_no": "460100-20261121-000001",
        "channel": "web",
        "text": text,
        "received_at": received_at,
        "source_platform": "460100",
        "reporter": appeals.Reporter(pseudonym=uuid7()),
        "place": appeals.Place(region_code="460106"),
        "rating_token_sha256": [],
        "status": "received",
    }
    return appeals.Appeal(**{**fields, **changes})


async def receive(hub: Harness, text: str, *, event_id: str | None = None, **changes: Any) -> str:
    """One appeal arrives; returns its id."""
    said = appeal(text, received_at=changes.pop("received_at", hub.clock.now()), **changes)
    await hub.emit(appeals.AppealReceived(actor="citizen", after=said), key=said.id, sequence=1, event_id=event_id)
    return said.id


async def labels(hub: Harness, appeal_id: str) -> list[Any]:
    """The published facts about one appeal's label, in their order."""
    return await hub.events(LABELS, key=appeal_id)


async def label(hub: Harness, text: str, **changes: Any) -> Any:
    """Receive an appeal and return the first fact about its label."""
    appeal_id = await receive(hub, text, **changes)
    await hub.settle()
    (fact,) = await labels(hub, appeal_id)
    return fact


def json_of(event: Any) -> dict[str, Any]:
    """The body of an event as JSON types."""
    return msgspec.json.decode(msgspec.json.encode(event))  # type: ignore[no-any-return]
