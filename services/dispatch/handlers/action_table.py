"""The actions on a work order (api.md, dispatch): one row each. Its route, body and command come from here.

A new action: a command class in `domain/commands/`, its line in `ACTIONS` there, its body in `schemas.py`, a row here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.command import Command
from services.dispatch.domain.commands import (
    Accept,
    AddCoHandlers,
    Complete,
    Contact,
    Extend,
    Progress,
    Recall,
    Resume,
    ReturnOrder,
    Split,
    Suspend,
    Transfer,
)
from services.dispatch.domain.work_order import SubOrder, WorkOrder
from services.dispatch.schemas import (
    CoHandlersBody,
    CompleteBody,
    ExtendBody,
    NoteBody,
    PartBody,
    RecallBody,
    ReturnBody,
    SplitBody,
    SuspendBody,
    TransferBody,
)
from shared.errors import invalid
from shared.http.bodies import Body
from shared.ids import is_id, uuid7
from shared.redaction import clean

B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a command is made of beside its body; `complete_due_at` as far as sla said so."""

    order: WorkOrder
    at: datetime
    complete_due_at: datetime | None
    desk: RoutingDesk
    files: Mapping[str, str] = field(default_factory=dict)
    """attachment → its appeal, of those that the body names"""

    @property
    def return_until(self) -> datetime:
        """The end of the return window of who gets the order now."""
        return self.desk.return_until(self.order.handling_class, self.at)

    @property
    def left_s(self) -> int | None:
        """Natural seconds until the order is due, at least a minute; None while sla has not said."""
        if self.complete_due_at is None:
            return None
        return max(60, int((self.complete_due_at - self.at).total_seconds()))

    def unit(self, code: str, pointer: str) -> str:
        """The unit that a person named. Raises Problem 422 for one that cannot handle orders."""
        if not self.desk.accountable(code):
            raise invalid(pointer, f"{code!r} is no unit that can handle orders; GET /v1/units lists them")
        return code

    def part(self, body: PartBody, pointer: str) -> SubOrder:
        """A sub-order for who was named. Raises Problem 422 for one that cannot be asked."""
        if (body.unit is None) == (body.platform is None):
            raise invalid(pointer, "names either a unit or another platform")
        if body.unit is not None:
            return SubOrder(uuid7(), self.unit(body.unit, f"{pointer}/unit"), clean(body.task))
        to = str(body.platform)
        if not self.desk.reaches(to, self.at):
            raise invalid(f"{pointer}/platform", f"{to!r} cannot be reached; GET /v1/platforms lists the directory")
        if not self.desk.regions.is_within(body.region_code or to, to):
            raise invalid(f"{pointer}/region_code", f"lies outside the territory of {to}")
        return SubOrder(uuid7(), self.desk.units.centre.code, clean(body.task), platform=to)

    def evidence(self, entries: Sequence[str] | None) -> tuple[str, ...]:
        """Ids of attachments, and words, redacted. Raises Problem 422 for a file that is not of the order's cases."""
        for place, entry in enumerate(entries or ()):
            if is_id(entry) and self.files.get(entry) not in self.order.appeal_ids:
                raise invalid(
                    f"/evidence/{place}",
                    "is no attachment of this case: send the file first (POST /v1/attachments?appeal_id=…); one that"
                    " was sent this very second is known a moment later",
                )
        return tuple(entry if is_id(entry) else clean(entry) for entry in entries or ())

    def units(self, codes: Sequence[str], pointer: str) -> tuple[str, ...]:
        return tuple(self.unit(code, f"{pointer}/{index}") for index, code in enumerate(codes))


@dataclass(frozen=True, slots=True)
class Action(Generic[B]):
    """`POST /v1/work-orders/{id}/<name>`: the command, its body, what the documentation says, how the command is made.

    `routes`: it needs the units in force at this moment, not only their names.
    """

    command: type[Command]
    body: type[B]
    words: str
    make: Callable[[B, Setting], Command]
    routes: bool = False

    @property
    def name(self) -> str:
        return self.command.action


def _return(body: ReturnBody, setting: Setting) -> Command:
    if body.suggested_unit is not None:
        setting.unit(body.suggested_unit, "/suggested_unit")
    return ReturnOrder(reason=body.reason, suggested_unit=body.suggested_unit, note=clean(body.note))


def _split(body: SplitBody, setting: Setting) -> Command:
    left = setting.left_s
    parts = tuple(setting.part(part, f"/parts/{index}") for index, part in enumerate(body.parts))
    given = list(zip(parts, body.parts, strict=True))
    allowed = {part.id: left if one.allowed_s is None else one.allowed_s for part, one in given}
    regions = {part.id: one.region_code or part.platform for part, one in given if part.platform is not None}
    return Split(into=parts, allowed_s=allowed, regions=regions, left_s=left)


_ROWS: tuple[Action[Any], ...] = (
    Action(Accept, NoteBody, "The lead takes it on.", lambda body, _: Accept(note=clean(body.note))),
    Action(
        Contact,
        NoteBody,
        "The lead spoke with the citizen; the first time counts.",
        lambda body, _: Contact(note=clean(body.note)),
    ),
    Action(
        Progress,
        NoteBody,
        "A note on the way, also by a co-handler.",
        lambda body, _: Progress(note=clean(body.note)),
    ),
    Action(
        Complete,
        CompleteBody,
        "The lead says it is done, with the result for the citizen.",
        lambda body, setting: Complete(
            result=clean(body.result), solved=body.solved, evidence=setting.evidence(body.evidence)
        ),
    ),
    Action(
        ReturnOrder,
        ReturnBody,
        "退单 inside its window: the chain runs again without the unit; the second one opens a dispute.",
        _return,
        routes=True,
    ),
    Action(
        Suspend,
        SuspendBody,
        "挂账: asks the centre to stop the clock for some days.",
        lambda body, setting: Suspend(
            approval_id=uuid7(), reason=clean(body.reason), days=body.days, evidence=setting.evidence(body.evidence)
        ),
    ),
    Action(
        Extend,
        ExtendBody,
        "延期: asks for a longer deadline, once, before it is due.",
        lambda body, setting: Extend(
            approval_id=uuid7(), seconds=body.seconds, reason=clean(body.reason), due_at=setting.complete_due_at
        ),
    ),
    Action(Resume, NoteBody, "Ends a suspension.", lambda body, _: Resume(note=clean(body.note))),
    Action(
        AddCoHandlers,
        CoHandlersBody,
        "协办: other units help.",
        lambda body, setting: AddCoHandlers(units=setting.units(body.units, "/units")),
        routes=True,
    ),
    Action(
        Split,
        SplitBody,
        "联合处置: parts of the work go to other units or platforms as sub-orders; the lead answers when all are done.",
        _split,
        routes=True,
    ),
    Action(
        Recall,
        RecallBody,
        "Takes a part back from the platform that was asked for it.",
        lambda body, _: Recall(reason=clean(body.reason)),
    ),
    Action(
        Transfer,
        TransferBody,
        "The centre gives it to another unit.",
        lambda body, setting: Transfer(
            lead=setting.unit(body.lead, "/lead"), reason=clean(body.reason), return_until=setting.return_until
        ),
        routes=True,
    ),
)

ACTIONS: dict[str, Action[Any]] = {action.name: action for action in _ROWS}
