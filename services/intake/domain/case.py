"""The case as its readers see it: one status out of several services' facts (domain.md, Appeal)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

STATUSES: Final = (
    "received",
    "classified",
    "in_review",
    "dispatched",
    "in_progress",
    "completed",
    "answered",
    "linked",
    "declined",
    "withdrawn",
    "handed_off",
)
"""as in api.md, in the order of the life cycle"""

_OF_ORDER: Final = {
    "dispatched": "dispatched",
    "disputed": "dispatched",
    "accepted": "in_progress",
    "reopened": "in_progress",
    "suspended": "in_progress",
    "completed": "completed",
    "closed": "answered",
    "handed_off": "handed_off",
}

PLAIN_WORDS: Final = {
    "received": "您的诉求已收到，正在登记分类。",
    "classified": "您的诉求已分类，即将派给承办单位。",
    "in_review": "您的诉求正由工作人员核对，核对后派给承办单位。",
    "dispatched": "您的诉求已派给承办单位，等待签收。",
    "in_progress": "承办单位正在办理您的诉求。",
    "completed": "承办单位已办理完毕，请您评价。",
    "answered": "您的诉求已办结，感谢您的反馈。",
    "linked": "您的诉求与在办工单合并办理，办理结果会一并答复您。",
    "declined": "您的诉求不予受理，您可以申请复核。",
    "withdrawn": "您已撤回本次诉求。",
    "handed_off": "您的诉求已移交相关地区的平台办理。",
}
"""what a citizen reads for each status"""


@dataclass(frozen=True, slots=True)
class OrderFact:
    """What the status needs of one work order that answers the appeal."""

    id: str
    status: str
    opened_at: datetime
    in_review: bool
    is_first_appeal: bool
    is_part: bool
    """a sub-order of joint handling: its parent speaks for it"""


def status_of(
    own: str,
    *,
    labelled: bool,
    needs_review: bool,
    orders: Sequence[OrderFact],
    feedback_closed_on: str | None,
) -> str:
    """The one public status. A citizen's or the centre's ending wins, then the newest whole order, then the label.

    `feedback_closed_on` is the order about which the citizen's feedback is closed: whatever other citizens make of that
    order, this appeal is answered.
    """
    if own in ("withdrawn", "declined"):
        return own
    live = [order for order in orders if order.status != "cancelled" and not order.is_part]
    if live:
        order = max(live, key=lambda item: item.opened_at)
        if order.status == "pending":
            return "in_review" if order.in_review else "dispatched"
        status = _OF_ORDER.get(order.status, "dispatched")
        if order.id == feedback_closed_on and status in ("completed", "in_progress"):
            return "answered"
        if not order.is_first_appeal and status in ("dispatched", "in_progress"):
            return "linked"
        return status
    if labelled:
        return "in_review" if needs_review else "classified"
    return "received"
