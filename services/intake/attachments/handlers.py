"""Which case a file belongs to, and who may read it (docs/privacy.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from services.intake import repository as cases
from services.intake.answers import FirstAnswer, visible
from services.intake.attachments import repository
from services.intake.attachments.repository import Row
from services.intake.projections import timeline_row
from services.intake.receiving import Prepared
from services.intake.settings import Limits
from services.intake.streams import Streams
from shared.clock import rfc3339
from shared.db import bulk
from shared.errors import Problem, invalid, not_found
from shared.events.catalog.appeals import Appeal
from shared.events.catalog.attachments import AttachmentStored
from shared.http.commands import Answer
from shared.ids import is_id
from shared.outbox.uow import Uow
from shared.security.principal import STAFF, Principal

Purpose = Literal["material", "evidence"]
CITIZEN = "citizen"
"""who sent what came with a query code"""
_NO_MORE = ("withdrawn", "declined", "handed_off")
_OVER = ("closed", "cancelled", "handed_off")


@dataclass(frozen=True, slots=True)
class Keep:
    """A file that is stored already becomes an attachment. `who` None: the citizen, with the appeal's query code."""

    id: str
    who: Principal | None
    appeal_id: str | None
    purpose: Purpose
    media_type: str
    size: int
    sha256: bytes
    key_id: str
    name: bytes
    """sealed"""

    @property
    def uploaded_by(self) -> str:
        return self.who.actor if self.who else CITIZEN


class Attaching:
    """The commands that make attachments of files."""

    def __init__(self, platform: str, limits: Limits) -> None:
        self.platform = platform
        self.limits = limits

    async def keep(self, commands: Sequence[Keep], uow: Uow) -> Sequence[Answer | Problem]:
        """One after the other; a file that is there already (by its content) gives its first answer."""
        answers: dict[int, Answer | Problem] = {}
        # one lock order for all writers
        for index in sorted(range(len(commands)), key=lambda index: commands[index].appeal_id or ""):
            try:
                answers[index] = await self._keep(commands[index], uow)
            except Problem as problem:
                answers[index] = problem
        return [answers[index] for index in range(len(commands))]

    async def _keep(self, command: Keep, uow: Uow) -> Answer:
        known = await self._beside(command, uow)
        for row in known:
            same = row["sha256"] == command.sha256 and row["uploaded_by"] == command.uploaded_by
            if same and row["removed_at"] is None:
                return FirstAnswer(shown(row))
        of_kind = [row for row in known if row["purpose"] == command.purpose and row["removed_at"] is None]
        most = self.limits.unclaimed if command.appeal_id is None else self.limits.per_appeal
        if len(of_kind) >= most:
            raise Problem(409, "too_many_attachments", f"There are {most} files already, which is the most.")
        now = uow.clock.now()
        row = {
            "id": command.id,
            "appeal_id": command.appeal_id,
            "purpose": command.purpose,
            "media_type": command.media_type,
            "size": command.size,
            "sha256": command.sha256,
            "key_id": command.key_id,
            "name": command.name,
            "uploaded_by": command.uploaded_by,
            "units": sorted(command.who.units) if command.who else [],
            "stored_at": now,
            "remove_at": now + timedelta(hours=self.limits.unclaimed_h) if command.appeal_id is None else None,
            "removed_at": None,
        }
        await repository.add(uow.pg, row)
        if command.appeal_id is not None:
            await self._tell([row], uow)
        return shown(row)

    async def _beside(self, command: Keep, uow: Uow) -> list[Row]:
        """What is there already, under the lock of the case. Raises Problem for a case that takes no files."""
        if command.appeal_id is None:
            return await repository.unclaimed_of(uow.pg, command.uploaded_by)
        appeal = await cases.appeal_for_update(uow.pg, command.appeal_id)
        case = (await cases.lock_cases(uow.pg, [command.appeal_id])).get(command.appeal_id)
        hidden = command.who is not None and (
            appeal is None
            or case is None
            or not visible(command.who, case.columns.region_code, case.columns.units, appeal["source_platform"])
        )
        if appeal is None or case is None or hidden:
            raise not_found(f"The appeal {command.appeal_id}")
        status = case.columns.status
        if status in _NO_MORE:
            raise Problem(409, "invalid_transition", f"A case that is {status} takes no more files.", status_now=status)
        return await repository.of_appeal(uow.pg, command.appeal_id)

    async def _tell(self, rows: Sequence[Row], uow: Uow) -> None:
        told = []
        for row in rows:
            event = AttachmentStored(actor=row["uploaded_by"], after=repository.snapshot(row, self.platform))
            event_id = uow.emit(event, key=row["id"], sequence=1)
            told.append(timeline_row(event, event_id, uow.clock.now(), row["appeal_id"]))
        await bulk.write(uow.pg, cases.timeline_of(told))

    async def claim(self, wanted: Mapping[int, Prepared], uow: Uow) -> dict[int, Problem]:
        """Files that were sent before their appeals become theirs; whoever names one that is not his to give, or given
        already, is refused whole: index → Problem."""
        named = {index: [one for one in item.body.attachments or () if is_id(one)] for index, item in wanted.items()}
        if not any(named.values()):
            return {}
        free = await repository.lock_unclaimed(uow.pg, [one for ids in named.values() for one in ids])
        refused: dict[int, Problem] = {}
        taken: dict[str, Row] = {}
        for index, ids in named.items():
            item = wanted[index]
            for place, one in enumerate(ids):
                if one in taken or one not in free or free[one]["uploaded_by"] != item.sender:
                    refused[index] = invalid(f"/attachments/{place}", "is no file of yours that waits for its appeal")
                    break
            else:
                taken |= {one: free[one] | {"appeal_id": item.id} for one in ids}
        if taken:
            await repository.claim(uow.pg, {one: row["appeal_id"] for one, row in taken.items()})
            await self._tell(list(taken.values()), uow)
        return refused


def shown(row: Row) -> Answer:
    """An attachment without its name."""
    return {
        "id": row["id"],
        "appeal_id": row["appeal_id"],
        "purpose": row["purpose"],
        "media_type": row["media_type"],
        "size": row["size"],
        "sha256": row["sha256"].hex(),
        "stored_at": rfc3339(row["stored_at"]),
        "removed_at": rfc3339(row["removed_at"]) if row["removed_at"] else None,
    }


def may_read(who: Principal, row: Row, appeal: Appeal, streams: Streams) -> bool:
    """Whether somebody who sees the case may open a file of it.

    What one sent oneself, and evidence: who sees the case. What the citizen sent shows him and his home: seats,
    supervisors and leaders, and handlers while their unit has an open order; of a confidential reporter only people
    without unit or region limits. Auditors see that a file exists, and who opened it.
    """
    if "admin" in who.roles or row["uploaded_by"] == who.actor:
        return True
    if row["purpose"] == "evidence":
        return who.has(*STAFF)
    if not who.has("seat", "handler", "supervisor", "leader"):
        return False
    if appeal.reporter.confidential:
        return not who.units and not who.regions and who.has("seat", "supervisor", "leader")
    return who.has("seat", "supervisor", "leader") or any(
        who.sees_unit(order.lead, *order.co_handlers, *order.checking)
        for order in streams.live(appeal.id)
        if order.status not in _OVER
    )
