"""Every command on a work order, one class each: the table of api.md ("dispatch") and what dispatch does by itself."""

from services.dispatch.domain.command import Command
from services.dispatch.domain.commands.approvals import Approve, Extend, Reject, Resume, Suspend
from services.dispatch.domain.commands.case_changes import (
    Cancel,
    Close,
    HandOff,
    JoinAppeal,
    PartAppeal,
    RefuseHandoff,
    Relabel,
    Reopen,
)
from services.dispatch.domain.commands.dispatching import Dispatch, Transfer, open_dispatched, open_pending
from services.dispatch.domain.commands.disputes import DispatchRuled, GiveRuling, OpenDispute
from services.dispatch.domain.commands.handling import Accept, AddCoHandlers, Complete, Contact, Progress, ReturnOrder
from services.dispatch.domain.commands.joint import NotePart, Split, open_part, part_of

ACTIONS: tuple[type[Command], ...] = (
    Accept,
    Contact,
    Progress,
    Complete,
    ReturnOrder,
    Suspend,
    Extend,
    Resume,
    AddCoHandlers,
    Split,
    Transfer,
)
"""The actions of api.md, in its order."""

__all__ = [
    "ACTIONS",
    "Accept",
    "AddCoHandlers",
    "Approve",
    "Cancel",
    "Close",
    "Complete",
    "Contact",
    "Dispatch",
    "DispatchRuled",
    "Extend",
    "GiveRuling",
    "HandOff",
    "JoinAppeal",
    "NotePart",
    "OpenDispute",
    "PartAppeal",
    "Progress",
    "RefuseHandoff",
    "Reject",
    "Relabel",
    "Reopen",
    "Resume",
    "ReturnOrder",
    "Split",
    "Suspend",
    "Transfer",
    "open_dispatched",
    "open_part",
    "open_pending",
    "part_of",
]
