"""Every command on a work order, one class each: the table of api.md ("dispatch") and what dispatch does by itself."""

from services.dispatch.domain.command import Command
from services.dispatch.domain.commands.approvals import Approve, Extend, Reject, Resume, Suspend
from services.dispatch.domain.commands.case_changes import (
    Cancel,
    Close,
    HandOff,
    JoinAppeal,
    NoteRepeat,
    PartAppeal,
    RefuseHandoff,
    Relabel,
    Reopen,
)
from services.dispatch.domain.commands.dispatching import Dispatch, Transfer, open_dispatched, open_pending
from services.dispatch.domain.commands.disputes import (
    ChangeRuling,
    ContestRuling,
    DispatchRuled,
    GiveRuling,
    OpenDispute,
    OrderCheck,
    RecordCheck,
    UpholdRuling,
    decided,
)
from services.dispatch.domain.commands.handling import Accept, AddCoHandlers, Complete, Contact, Progress, ReturnOrder
from services.dispatch.domain.commands.joint import NotePart, Recall, Split, TakeAnswer, open_part, part_of

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
    Recall,
    Transfer,
)
"""The actions of api.md, in its order."""

DISPUTE_ACTIONS: tuple[type[Command], ...] = (OrderCheck, RecordCheck, GiveRuling, ContestRuling, UpholdRuling)
"""what people do with a dispute; `decision` upholds its ruling or changes it"""

__all__ = [
    "ACTIONS",
    "DISPUTE_ACTIONS",
    "Accept",
    "AddCoHandlers",
    "Approve",
    "Cancel",
    "ChangeRuling",
    "Close",
    "Complete",
    "Contact",
    "ContestRuling",
    "Dispatch",
    "DispatchRuled",
    "Extend",
    "GiveRuling",
    "HandOff",
    "JoinAppeal",
    "NotePart",
    "NoteRepeat",
    "OpenDispute",
    "OrderCheck",
    "PartAppeal",
    "Progress",
    "Recall",
    "RecordCheck",
    "RefuseHandoff",
    "Reject",
    "Relabel",
    "Reopen",
    "Resume",
    "ReturnOrder",
    "Split",
    "Suspend",
    "TakeAnswer",
    "Transfer",
    "UpholdRuling",
    "decided",
    "open_dispatched",
    "open_part",
    "open_pending",
    "part_of",
]
