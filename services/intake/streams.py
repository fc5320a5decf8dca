"""What the streams said about one case, kept together in one row: all that its status is derived from, and most of what
readers see.

Each part is the newest of its stream by `sequence`, so repeats and disorder change nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from services.intake.domain.case import OrderFact, status_of
from shared.clock import ZONE
from shared.events.catalog import clocks, labels, ratings, work_orders

_encode = msgspec.json.Encoder().encode


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of classify.labels.v1."""

    sequence: int
    matter: str
    region_code: str
    kind: str
    tags: list[str] = []
    needs_review: bool = False
    """and no person has looked yet"""
    matter_name: str | None = None
    likenesses: list[tuple[str, str, float]] = []
    """(relation, other appeal, score) as classify suggests them"""


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of dispatch.work-orders.v1; also the orders that the appeal was parted from."""

    id: str
    sequence: int
    status: str
    lead: str
    lead_name: str
    version: int
    opened_at: datetime
    appeal_ids: list[str]
    co_handlers: list[str] = []
    checking: list[str] = []
    in_review: bool = False
    is_part: bool = False
    result: str | None = None
    handoff: work_orders.HandoffState | None = None


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of feedback.ratings.v1."""

    sequence: int
    work_order_id: str
    status: str
    method: str
    round: int
    answered: bool = False
    """in this round"""


class Columns(NamedTuple):
    """What lists filter by (table `cases`)."""

    status: str
    region_code: str
    matter: str | None
    tags: list[str]
    units: list[str]


class Streams(msgspec.Struct, omit_defaults=True):
    """`status` and `region_code` are intake's own: what it received, or ended itself, and where it placed it.

    `parted`: a person undid a link, so what classify suggested is answered (domain.md, Appeal: Repeat)."""

    status: str
    region_code: str
    parted: bool = False
    label: Label | None = None
    feedback: Feedback | None = None
    orders: dict[str, Order] = {}
    handed_in: str | None = None
    """the hand-over by which another platform gave it to this one"""

    def live(self, appeal_id: str) -> list[Order]:
        """The orders that answer the appeal, oldest first."""
        orders = [order for order in self.orders.values() if appeal_id in order.appeal_ids]
        return sorted(orders, key=lambda order: (order.opened_at, order.id)) if len(orders) > 1 else orders

    def whole(self, appeal_id: str) -> list[Order]:
        """Those that are no parts of joint work: they speak for the appeal."""
        return [order for order in self.live(appeal_id) if not order.is_part]

    def hear_label(self, after: labels.Label, sequence: int) -> bool:
        """Whether that was news."""
        if self.label is not None and self.label.sequence >= sequence:
            return False
        suggested = (("repeat", after.repeat_of), ("same_event", after.same_event))
        self.label = Label(
            sequence=sequence,
            matter=after.matter.code,
            region_code=after.region_code,
            kind=after.kind,
            tags=list(dict.fromkeys(tag.code for tag in after.tags)),
            needs_review=after.needs_review and after.reviewed_by is None,
            matter_name=after.matter.path[-1] if after.matter.path else None,
            likenesses=[(relation, one.appeal_id, one.score) for relation, one in suggested if one is not None],
        )
        return True

    def hear_order(self, order: Order) -> bool:
        """Whether that was news."""
        known = self.orders.get(order.id)
        if known is not None and known.sequence >= order.sequence:
            return False
        self.orders = {**self.orders, order.id: order}
        return True

    def hear_feedback(self, after: ratings.Feedback, sequence: int) -> bool:
        """Whether that was news."""
        if self.feedback is not None and self.feedback.sequence >= sequence:
            return False
        self.feedback = Feedback(
            sequence=sequence,
            work_order_id=after.work_order_id,
            status=after.status,
            method=after.method,
            round=after.round,
            answered=any(answer.round == after.round for answer in after.answers),
        )
        return True

    def columns(self, appeal_id: str) -> Columns:
        """What lists filter by, derived from all streams (domain.md, Appeal)."""
        orders, label, feedback = self.live(appeal_id), self.label, self.feedback
        units: dict[str, None] = {}
        for order in orders:
            if order.status != "cancelled":
                units.update(dict.fromkeys((order.lead, *order.co_handlers, *order.checking)))
        status = status_of(
            self.status,
            labelled=label is not None,
            needs_review=label is not None and label.needs_review,
            orders=[
                OrderFact(
                    order.id,
                    order.status,
                    order.opened_at,
                    order.in_review,
                    order.appeal_ids[0] == appeal_id,
                    order.is_part,
                )
                for order in orders
            ],
            feedback_closed_on=feedback.work_order_id if feedback and feedback.status == "closed" else None,
        )
        return Columns(
            status,
            label.region_code if label else self.region_code,
            label.matter if label else None,
            label.tags if label else [],
            list(units),
        )

    def encoded(self) -> str:
        """As it is stored."""
        return _encode(self).decode()


decode = msgspec.json.Decoder(Streams).decode
"""The inverse of `Streams.encoded`."""


def order_of(after: work_orders.WorkOrder, sequence: int) -> Order:
    """What is kept of a work order."""
    return Order(
        id=after.id,
        sequence=sequence,
        status=after.status,
        lead=after.lead,
        lead_name=after.lead_name,
        version=after.version,
        opened_at=after.opened_at,
        appeal_ids=after.appeal_ids,
        co_handlers=after.co_handlers,
        checking=after.checking,
        in_review=after.in_review,
        is_part=after.parent_id is not None,
        result=after.result,
        handoff=after.handoff,
    )


def label_json(after: labels.Label) -> str:
    """A label as the case view shows it."""
    return _encode(after).decode()


def feedback_json(after: ratings.Feedback) -> str:
    """A feedback as the case view shows it, its instants in the platform's zone."""
    answers = [msgspec.structs.replace(answer, at=answer.at.astimezone(ZONE)) for answer in after.answers]
    false = [_in_zone(one, "suspected_at", "decided_at") for one in after.false_completions]
    shown = _in_zone(after, "opened_at", "expires_at", "closed_at", answers=answers, false_completions=false)
    return _encode(shown).decode()


def clocks_json(after: clocks.ClockSet) -> str:
    """The clocks of an order as the case view shows them, side by side and without a list around them."""
    head = b'{"work_order_id":' + _encode(after.work_order_id) + b","
    states = (_in_zone(state, "started_at", "due_at", "yellow_at", "stopped_at") for state in after.clocks)
    return b",".join(head + _encode(state)[1:] for state in states).decode()


def _in_zone(snapshot: Any, *names: str, **more: Any) -> Any:
    instants = {name: at.astimezone(ZONE) for name in names if (at := getattr(snapshot, name)) is not None}
    return msgspec.structs.replace(snapshot, **instants, **more)
