"""dispatch.work-orders.v1: the unit of handling. Key: work-order id. Owner: dispatch."""

from datetime import datetime
from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class RuleAnswer(Snapshot, frozen=True, kw_only=True):
    """What one routing rule said."""

    rule: str
    outcome: str
    """chosen, proposed, passed, failed, off"""
    reason: str
    """in words that a citizen could read"""


class HandoffState(Snapshot, frozen=True, kw_only=True):
    """Where a hand-over to another platform stands."""

    id: str
    platform: str
    state: str
    """offered, accepted, refused, completed, withdrawn"""
    reason: str | None = None
    """why it was refused or taken back"""


class Return(Snapshot, frozen=True, kw_only=True):
    """One return by a unit."""

    unit: str
    reason: str
    suggested_unit: str | None = None
    at: datetime


class SubOrder(Snapshot, frozen=True, kw_only=True):
    """A part of an order of joint handling."""

    id: str
    unit: str
    task: str
    """redacted"""
    status: str
    """open, completed, returned, cancelled"""
    platform: str | None = None
    """another platform that is asked to do it; `unit` is then the own centre"""


class WorkOrder(Snapshot, frozen=True, kw_only=True):
    """Public state of a work order. It carries what clocks need, so that sla asks nobody."""

    id: str
    platform: str
    appeal_ids: list[str]
    status: str
    """pending, dispatched, accepted, reopened, suspended, disputed, completed, closed, handed_off, cancelled"""
    lead: str
    """unit code; an order always has an owner"""
    lead_name: str
    lead_region: str
    """region code of the lead unit"""
    co_handlers: list[str] = msgspec.field(default_factory=list)
    handling_class: str = msgspec.field(name="class")
    matter: str
    matter_path: list[str]
    kind: str
    region_code: str
    channel: str
    """of the first appeal: decides how feedback is asked"""
    reporter_groups: list[str] = msgspec.field(default_factory=list)
    in_review: bool = False
    round: int = 1
    """1, then 2 in second handling"""
    dispatch_no: int = 0
    """counts dispatches to a lead: the round of the accept clock"""
    version: int
    received_at: datetime
    """clocks of first contact and completion count from here"""
    taken_at: datetime | None = None
    """先处置后补单: clocks count from here instead"""
    opened_at: datetime
    dispatched_at: datetime | None = None
    return_until: datetime | None = None
    accepted_at: datetime | None = None
    contacted_at: datetime | None = None
    completed_at: datetime | None = None
    result: str | None = None
    """the unit's answer, redacted"""
    solved: bool | None = None
    returns: list[Return] = msgspec.field(default_factory=list)
    dispute_id: str | None = None
    disputed_at: datetime | None = None
    checking: list[str] = msgspec.field(default_factory=list)
    """units that are to look at the place of a disputed order: they see the case meanwhile"""
    decision: list[RuleAnswer] = msgspec.field(default_factory=list)
    handoff: HandoffState | None = None
    parent_id: str | None = None
    """of a sub-order: the order that it is a part of"""
    task: str | None = None
    """of a part of joint work, redacted: somebody else gives the citizen the answer, so he is not asked about it"""
    allowed_s: int | None = None
    """of such a part: the budget of its complete clock from `received_at`, in natural seconds"""
    sub_orders: list[SubOrder] = msgspec.field(default_factory=list)
    repeat_of: str | None = None
    """the closed appeal that this order's first appeal repeats (a repeat after closing opens a new order)"""
    suspended_until: datetime | None = None


class WorkOrderEvent(Event, frozen=True, kw_only=True):
    """Any fact of a work order."""

    topic: ClassVar[str] = "dispatch.work-orders.v1"
    after: WorkOrder


class WorkOrderOpened(WorkOrderEvent, frozen=True, kw_only=True):
    """An order exists, `pending`, owned by the centre while a person reviews the label."""

    type: ClassVar[str] = "work_order.opened"


class WorkOrderDispatched(WorkOrderEvent, frozen=True, kw_only=True):
    """A lead has it; starts an accept clock each time."""

    type: ClassVar[str] = "work_order.dispatched"
    cause: str
    """routing, review, return, ruling, transfer, split"""


class WorkOrderAccepted(WorkOrderEvent, frozen=True, kw_only=True):
    """The lead takes it on."""

    type: ClassVar[str] = "work_order.accepted"


class WorkOrderContacted(WorkOrderEvent, frozen=True, kw_only=True):
    """The lead spoke with the citizen."""

    type: ClassVar[str] = "work_order.contacted"


class WorkOrderProgressed(WorkOrderEvent, frozen=True, kw_only=True):
    """A note on the way."""

    type: ClassVar[str] = "work_order.progressed"


class WorkOrderCompleted(WorkOrderEvent, frozen=True, kw_only=True):
    """The lead says it is done."""

    type: ClassVar[str] = "work_order.completed"


class WorkOrderReturned(WorkOrderEvent, frozen=True, kw_only=True):
    """The lead says it is not theirs; stops its accept clock."""

    type: ClassVar[str] = "work_order.returned"
    unit: str
    reason_code: str
    suggested_unit: str | None = None


class WorkOrderDisputed(WorkOrderEvent, frozen=True, kw_only=True):
    """派单争议 opened; starts the ruling clock."""

    type: ClassVar[str] = "work_order.disputed"
    dispute_id: str
    units: list[str] = msgspec.field(default_factory=list)
    """the parties"""


class WorkOrderCheckOrdered(WorkOrderEvent, frozen=True, kw_only=True):
    """现场核查: the centre sends units to look at the place of a disputed order; no clock moves."""

    type: ClassVar[str] = "work_order.check_ordered"
    dispute_id: str
    check_id: str
    units: list[str]


class WorkOrderCheckRecorded(WorkOrderEvent, frozen=True, kw_only=True):
    """What was found there is the reason."""

    type: ClassVar[str] = "work_order.check_recorded"
    dispute_id: str
    check_id: str
    unit: str | None = None
    """None: the centre wrote it down"""
    checked_at: datetime
    evidence: list[str] = msgspec.field(default_factory=list)


class WorkOrderRuled(WorkOrderEvent, frozen=True, kw_only=True):
    """The centre's binding decision; stops the ruling clock; a dispatch follows."""

    type: ClassVar[str] = "work_order.ruled"
    dispute_id: str
    scope: str


class WorkOrderRulingContested(WorkOrderEvent, frozen=True, kw_only=True):
    """A party appeals against the ruling, which stays binding; starts the ruling clock again."""

    type: ClassVar[str] = "work_order.ruling_contested"
    dispute_id: str
    evidence: list[str] = msgspec.field(default_factory=list)


class WorkOrderRulingUpheld(WorkOrderEvent, frozen=True, kw_only=True):
    """One level up the ruling was found right; stops the ruling clock."""

    type: ClassVar[str] = "work_order.ruling_upheld"
    dispute_id: str


class WorkOrderRulingChanged(WorkOrderEvent, frozen=True, kw_only=True):
    """One level up another ruling was given, which is final; stops the ruling clock. A dispatch follows unless the
    order was completed."""

    type: ClassVar[str] = "work_order.ruling_changed"
    dispute_id: str
    scope: str
    lead: str


class WorkOrderShirked(WorkOrderEvent, frozen=True, kw_only=True):
    """推诿: a unit returned it after a ruling, or refuses what a ruling gave it."""

    type: ClassVar[str] = "work_order.shirked"
    unit: str


class WorkOrderRelabelled(WorkOrderEvent, frozen=True, kw_only=True):
    """Class, matter or kind changed by a review; clocks are re-based."""

    type: ClassVar[str] = "work_order.relabelled"
    before_class: str
    before_matter: str


class WorkOrderRepeatFound(WorkOrderEvent, frozen=True, kw_only=True):
    """A person says that the appeal repeats one that was closed: `after.repeat_of`."""

    type: ClassVar[str] = "work_order.repeat_found"


class WorkOrderApprovalRequested(WorkOrderEvent, frozen=True, kw_only=True):
    """The lead asks for a suspension or an extension."""

    type: ClassVar[str] = "work_order.approval_requested"
    approval_id: str
    what: str
    """suspension or extension"""
    seconds: int
    evidence: list[str] = msgspec.field(default_factory=list)
    """redacted"""


class WorkOrderApprovalRejected(WorkOrderEvent, frozen=True, kw_only=True):
    """The centre (or the unit's head) says no."""

    type: ClassVar[str] = "work_order.approval_rejected"
    approval_id: str
    what: str


class WorkOrderSuspended(WorkOrderEvent, frozen=True, kw_only=True):
    """挂账 approved: the complete clock stops until resumed."""

    type: ClassVar[str] = "work_order.suspended"
    until: datetime


class WorkOrderResumed(WorkOrderEvent, frozen=True, kw_only=True):
    """The suspension ended."""

    type: ClassVar[str] = "work_order.resumed"


class WorkOrderExtended(WorkOrderEvent, frozen=True, kw_only=True):
    """延期 approved: the complete clock has more budget."""

    type: ClassVar[str] = "work_order.extended"
    seconds: int


class WorkOrderCoHandlersAdded(WorkOrderEvent, frozen=True, kw_only=True):
    """协办 units joined."""

    type: ClassVar[str] = "work_order.co_handlers_added"
    units: list[str]


class WorkOrderSplit(WorkOrderEvent, frozen=True, kw_only=True):
    """联合处置: parts of the work went to other units as sub-orders."""

    type: ClassVar[str] = "work_order.split"
    parts: list[str]
    """ids of the sub-orders"""


class WorkOrderPartChanged(WorkOrderEvent, frozen=True, kw_only=True):
    """A sub-order ended, or went to another unit."""

    type: ClassVar[str] = "work_order.part_changed"
    part_id: str
    unit: str
    outcome: str
    """open, completed, returned, cancelled"""


class WorkOrderReopened(WorkOrderEvent, frozen=True, kw_only=True):
    """二次办理: round + 1 with the same lead after a bad rating."""

    type: ClassVar[str] = "work_order.reopened"
    appeal_id: str
    """the appeal whose rating was bad"""


class WorkOrderAppealJoined(WorkOrderEvent, frozen=True, kw_only=True):
    """Another appeal is answered by this order."""

    type: ClassVar[str] = "work_order.appeal_joined"
    appeal_id: str
    relation: str


class WorkOrderAppealParted(WorkOrderEvent, frozen=True, kw_only=True):
    """A join was undone."""

    type: ClassVar[str] = "work_order.appeal_parted"
    appeal_id: str


class WorkOrderClosed(WorkOrderEvent, frozen=True, kw_only=True):
    """Feedback of every appeal is closed, or the centre closed it."""

    type: ClassVar[str] = "work_order.closed"


class WorkOrderCancelled(WorkOrderEvent, frozen=True, kw_only=True):
    """Its appeals were withdrawn or declined."""

    type: ClassVar[str] = "work_order.cancelled"


class WorkOrderHandoffRefused(WorkOrderEvent, frozen=True, kw_only=True):
    """The other platform refused the offer: the own centre keeps the order and decides anew."""

    type: ClassVar[str] = "work_order.handoff_refused"


class WorkOrderHandedOff(WorkOrderEvent, frozen=True, kw_only=True):
    """The other platform accepted the case."""

    type: ClassVar[str] = "work_order.handed_off"
