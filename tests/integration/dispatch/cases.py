"""Events of other services as dispatch reads them."""

from datetime import datetime
from typing import Any

from shared.events.catalog import appeals, labels, ratings
from shared.ids import uuid7
from shared.testing.harness import Harness

LONGHUA = "460106001"
STREET_TRADE = "01010101"
"""流动摊贩占道: the district's 城市管理局"""
GAS_LEAK = "03030101"
ROAD = "02010101"
"""路面破损: the city's 市政设施维护中心"""


def appeal(hub: Harness, appeal_id: str, **changes: Any) -> appeals.Appeal:
    fields: dict[str, Any] = {
        "id": appeal_id,
        "platform": "460100",
        "reference_no": "460100-20261102-000001",
        "channel": "phone",
        "text": "路口有摊贩占道经营",
        "received_at": hub.clock.now(),
        "source_platform": "460100",
        "reporter": appeals.Reporter(pseudonym="p1"),
        "place": appeals.Place(region_code=LONGHUA, confidence=0.9),
        "rating_token_sha256": ["00" * 32] * 3,
        "status": "received",
    }
    return appeals.Appeal(**{**fields, **changes})


def label(appeal_id: str, matter: str = STREET_TRADE, **changes: Any) -> labels.Label:
    found = labels.Matter(code=matter, path=["城市管理", "市容秩序", "占道经营", "流动摊贩占道"], probability=0.95)
    fields: dict[str, Any] = {
        "appeal_id": appeal_id,
        "matter": found,
        "candidates": [found],
        "tags": [],
        "handling_class": "general",
        "kind": "complaint",
        "region_code": LONGHUA,
        "model": "test",
        "catalogue_version": "1",
        "needs_review": False,
    }
    return labels.Label(**{**fields, **changes})


def feedback(appeal_id: str, order_id: str, at: datetime, **changes: Any) -> ratings.Feedback:
    fields: dict[str, Any] = {
        "appeal_id": appeal_id,
        "work_order_id": order_id,
        "unit": "460106-cityadmin",
        "region_code": LONGHUA,
        "matter": STREET_TRADE,
        "round": 1,
        "method": "link",
        "status": "open",
        "opened_at": at,
    }
    return ratings.Feedback(**{**fields, **changes})


async def received(hub: Harness, appeal_id: str | None = None, **changes: Any) -> str:
    """intake says that an appeal is there; returns its id."""
    key = appeal_id or uuid7()
    event = appeals.AppealReceived(actor="citizen", after=appeal(hub, key, **changes))
    await hub.emit(event, key=key, sequence=1)
    return key


async def classified(hub: Harness, appeal_id: str, matter: str = STREET_TRADE, **changes: Any) -> None:
    """classify gives its machine label."""
    event = labels.LabelClassified(actor="system:classify", after=label(appeal_id, matter, **changes))
    await hub.emit(event, key=appeal_id, sequence=1)


async def reviewed(hub: Harness, appeal_id: str, matter: str = STREET_TRADE, sequence: int = 2, **changes: Any) -> None:
    """A person decides the label."""
    after = label(appeal_id, matter, **{"reviewed_by": "reviewer", **changes})
    event = labels.LabelReviewed(actor="user:reviewer", after=after, before_matter=STREET_TRADE)
    await hub.emit(event, key=appeal_id, sequence=sequence)


async def order_of(hub: Harness, appeal_id: str) -> dict[str, Any]:
    """The order that answers an appeal, as the admin sees it."""
    await hub.settle()
    rows = await hub.query("SELECT work_order_id FROM dispatch.cases WHERE appeal_id = $1", appeal_id)
    assert rows, "dispatch does not know the appeal"
    assert rows[0]["work_order_id"], "the appeal has no order"
    answer = await hub.http.get(f"/v1/work-orders/{rows[0]['work_order_id']}", headers=hub.admin)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def new_order(hub: Harness, matter: str = STREET_TRADE, **label_changes: Any) -> dict[str, Any]:
    """An appeal that was received and classified, and its order."""
    key = await received(hub)
    await classified(hub, key, matter, **label_changes)
    return await order_of(hub, key)


async def act(
    hub: Harness, order_id: str, action: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Any:
    return await hub.http.post(f"/v1/work-orders/{order_id}/{action}", json=body or {}, headers=headers or hub.admin)


async def facts(hub: Harness, order_id: str) -> list[str]:
    """The types of an order's events, in order; their sequence has no gap."""
    await hub.settle()
    events = await hub.events("dispatch.work-orders.v1", key=order_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return [event.type.removeprefix("work_order.") for event in events]
