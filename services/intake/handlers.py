"""What intake does: receive, withdraw, decline, link, unlink, unmask. Commands come in groups, one transaction each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from services.intake import repository, tables
from services.intake.answers import FirstAnswer, visible
from services.intake.attachments.handlers import Attaching
from services.intake.attachments.repository import remove_later
from services.intake.domain import appeal as rules
from services.intake.federation import repository as handover_rows
from services.intake.keys import Keys
from services.intake.projections import timeline_row
from services.intake.receiving import Prepared
from services.intake.repository import Held, Known
from services.intake.streams import Streams
from shared.clock import rfc3339
from shared.db import audit, bulk
from shared.errors import Problem, not_found
from shared.events.catalog.appeals import (
    Appeal,
    AppealDeclined,
    AppealEvent,
    AppealLinkRequested,
    AppealReceived,
    AppealUnlinkRequested,
    AppealWithdrawn,
    Link,
)
from shared.http.commands import Answer
from shared.outbox.uow import Uow
from shared.redaction import clean
from shared.security.principal import Principal


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The citizen takes the appeal back."""

    appeal_id: str
    who: Principal
    reason: str | None
    recalled: bool = False
    """by the platform that leads the case and asked for a part of it, however far that is"""


@dataclass(frozen=True, slots=True)
class Decline:
    """不予受理."""

    appeal_id: str
    who: Principal
    reason: str


@dataclass(frozen=True, slots=True)
class Join:
    """Link to another appeal; dispatch joins the orders."""

    appeal_id: str
    who: Principal
    to: str
    relation: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Undo the link."""

    appeal_id: str
    who: Principal
    reason: str | None


@dataclass(frozen=True, slots=True)
class Unmask:
    """Show one field of contact data to one person, with a reason, on record."""

    appeal_id: str
    who: Principal
    field: str
    reason: str


CaseCommand = Withdraw | Decline | Join | Part | Unmask


class Intake:
    """The commands of intake."""

    def __init__(self, keys: Keys, vault_key: str, attaching: Attaching) -> None:
        self.keys = keys
        self.attaching = attaching
        self.vault_key = vault_key
        self.numbers = repository.Numbers()

    async def receive(self, commands: Sequence[Prepared], uow: Uow) -> Sequence[Answer | Problem]:
        """Store appeals and tell the world. An external id that is known gives its first answer, or a conflict."""
        now = uow.clock.now()
        answers: list[Answer | Problem | None] = [None] * len(commands)
        fresh, holders = await self._sort_out_known(commands, uow)
        for index, problem in (await self._without_files(commands, fresh, uow)).items():
            answers[index] = problem
        fresh = [index for index in fresh if answers[index] is None]
        numbers = await self.numbers.take(uow.pg, len(fresh))
        appeals, sealed, cases, views, references, items = [], [], [], [], [], []
        for index, number in zip(fresh, numbers, strict=True):
            item = commands[index]
            reference_no = rules.reference_no(item.platform, now, number)
            snapshot = item.snapshot(reference_no, now)
            event = AppealReceived(actor=item.actor, after=snapshot)
            event_id = uow.emit(event, key=item.id, sequence=1, time=now)
            appeals.append(
                {
                    "appeal_id": item.id,
                    "reference_no": reference_no,
                    "source_platform": item.source_platform,
                    "received_at": now,
                    "sequence": 1,
                    "snapshot": repository.as_json(snapshot),
                    "search": item.search,
                }
            )
            sealed.append({"appeal_id": item.id, "key_id": self.vault_key, "sealed": item.sealed})
            cases.append(
                {
                    "appeal_id": item.id,
                    "received_at": now,
                    "status": rules.Status.RECEIVED,
                    "channel": snapshot.channel,
                    "region_code": snapshot.place.region_code,
                    "tags": [],
                    "units": [],
                }
            )
            known = Streams(rules.Status.RECEIVED, snapshot.place.region_code, handed_in=item.handed_in)
            views.append({"appeal_id": item.id, "streams": known.encoded(), "order_ids": []})
            references.append({"reference_no": reference_no, "appeal_id": item.id})
            items.append(timeline_row(event, event_id, now, item.id))
            answers[index] = self._answer(item.id, reference_no, now)
            if item.external is not None:
                holders[item.external] = Known(item.id, item.digest, reference_no, now)
        await bulk.write(
            uow.pg,
            bulk.insert_of(tables.appeals, appeals),
            bulk.insert_of(tables.vault, sealed),
            bulk.insert_of(tables.cases, cases),
            bulk.insert_of(tables.case_views, views),
            bulk.insert_of(tables.reference_keys, references),
            bulk.insert_of(tables.timeline, items),
        )
        return [
            answer if answer is not None else self._known(item, holders)
            for item, answer in zip(commands, answers, strict=True)
        ]

    async def _sort_out_known(self, commands: Sequence[Prepared], uow: Uow) -> tuple[list[int], dict[bytes, Known]]:
        """Indexes of the commands that are new, and who holds the external ids of the others.

        An external id that comes twice in one group is new the first time only.
        """
        first: dict[bytes, int] = {}
        for index, item in enumerate(commands):
            if item.external is not None:
                first.setdefault(item.external, index)
        if not first:
            return list(range(len(commands))), {}
        taken = await repository.claim_external_ids(
            uow.pg,
            [
                {"digest": digest, "appeal_id": commands[index].id, "body_digest": commands[index].digest}
                for digest, index in first.items()
            ],
        )
        held = [digest for digest in first if digest not in taken]
        holders = await repository.known_external_ids(uow.pg, held) if held else {}
        fresh = [
            index
            for index, item in enumerate(commands)
            if item.external is None or (item.external in taken and first[item.external] == index)
        ]
        return fresh, holders

    async def _without_files(self, commands: Sequence[Prepared], fresh: Sequence[int], uow: Uow) -> dict[int, Problem]:
        """New appeals that name files which are not theirs to take, and their equals: nothing of them is kept."""
        refused = await self.attaching.claim({index: commands[index] for index in fresh}, uow)
        of = {key: problem for index, problem in refused.items() if (key := commands[index].external) is not None}
        if of:
            await repository.release_external_ids(uow.pg, list(of))
        return refused | {index: of[item.external] for index, item in enumerate(commands) if item.external in of}

    def _known(self, item: Prepared, holders: dict[bytes, Known]) -> Answer | Problem:
        """The first answer to an equal body; a conflict to another (api.md, Idempotency-Key)."""
        earlier = holders[item.external or b""]
        if earlier.body_digest != item.digest:
            return _external_conflict(earlier.appeal_id)
        return FirstAnswer(self._answer(earlier.appeal_id, earlier.reference_no, earlier.received_at))

    def _answer(self, appeal_id: str, reference_no: str, received_at: Any) -> Answer:
        return {
            "id": appeal_id,
            "reference_no": reference_no,
            "status": rules.Status.RECEIVED,
            "received_at": rfc3339(received_at),
            "query_code": rules.query_code(self.keys.codes, appeal_id),
        }

    async def handle(self, commands: Sequence[CaseCommand], uow: Uow) -> Sequence[Answer | Problem]:
        """One after the other under the appeal's lock; each sees what the one before did."""
        answers: list[Answer | Problem | None] = [None] * len(commands)
        # one lock order for all writers, so that two groups cannot deadlock
        for index in sorted(range(len(commands)), key=lambda index: commands[index].appeal_id):
            answers[index] = await self._one(commands[index], uow)
        return [answer for answer in answers if answer is not None]

    async def _one(self, command: CaseCommand, uow: Uow) -> Answer | Problem:
        row = await repository.appeal_for_update(uow.pg, command.appeal_id)
        case = (await repository.lock_cases(uow.pg, [command.appeal_id])).get(command.appeal_id)
        if row is None or case is None:
            return not_found(f"The appeal {command.appeal_id}")
        if not visible(command.who, case.columns.region_code, case.columns.units, row["source_platform"]):
            return not_found(f"The appeal {command.appeal_id}")
        if isinstance(command, Unmask):
            return await self._unmask(command, case, uow)
        appeal = msgspec.convert(row["snapshot"], Appeal)
        reason = clean(command.reason)
        actor = command.who.actor
        event: AppealEvent
        if isinstance(command, Withdraw | Decline):
            withdrawn = isinstance(command, Withdraw)
            recalled = isinstance(command, Withdraw) and command.recalled
            may_end = rules.may_end(case.columns.status)
            if not may_end and withdrawn and appeal.status == rules.Status.RECEIVED:
                may_end = recalled or await self._is_handled_elsewhere(case, uow)
            if not may_end:
                return _forbidden(case.columns.status, "withdrawn or declined")
            status = rules.Status.WITHDRAWN if withdrawn else rules.Status.DECLINED
            after = msgspec.structs.replace(appeal, status=status)
            event = (
                AppealWithdrawn(actor=actor if recalled else "citizen", reason=reason, after=after)
                if withdrawn
                else AppealDeclined(actor=actor, reason=reason, after=after)
            )
            case.streams.status, case.changed = status, True
            await remove_later(uow.pg, appeal.id, uow.clock.now() + timedelta(days=self.attaching.limits.ended_days))
        elif isinstance(command, Join):
            if not rules.may_end(case.columns.status):
                return _forbidden(case.columns.status, "linked")
            if command.to == appeal.id:
                return Problem(422, "invalid", "/to: is the appeal itself; name another one.")
            other = await repository.scope_of(uow.pg, command.to)
            if other is None or not visible(command.who, **other):
                return not_found(f"The appeal {command.to}")
            link = Link(to=command.to, relation=command.relation)
            event = AppealLinkRequested(
                actor=actor, reason=reason, link=link, after=msgspec.structs.replace(appeal, link=link)
            )
        else:
            if appeal.status != rules.Status.RECEIVED:
                return _forbidden(case.columns.status, "unlinked")
            after = msgspec.structs.replace(appeal, link=None)
            case.streams.parted, case.changed = True, True
            event = AppealUnlinkRequested(actor=actor, reason=reason, after=after)
        sequence = row["sequence"] + 1
        event_id = uow.emit(event, key=appeal.id, sequence=sequence)
        await repository.save_appeal(uow.pg, event.after, sequence)
        told = timeline_row(event, event_id, uow.clock.now(), appeal.id)
        await bulk.write(uow.pg, *repository.saved_cases([case]), repository.timeline_of([told]))
        status_now = case.streams.columns(appeal.id).status
        return {"id": appeal.id, "reference_no": appeal.reference_no, "status": status_now}

    async def _is_handled_elsewhere(self, case: Held, uow: Uow) -> bool:
        """Whether the platform to which the case was handed over has not answered it yet."""
        orders = [order for order in case.streams.whole(case.appeal_id) if order.status == "handed_off"]
        gone = await handover_rows.lock(uow.pg, [order.handoff.id for order in orders if order.handoff])
        return any(known.state in ("offered", "accepted") for known in gone.values())

    async def take_back(self, appeal_id: str, platform: str, reason: str | None, uow: Uow) -> None:
        """Who handed the case over takes it back: a part of joint work, or what the citizen withdrew."""
        who = Principal(sub=platform, roles=frozenset({"platform"}), platform=platform)
        await self._one(Withdraw(appeal_id, who, reason, recalled=True), uow)

    async def _unmask(self, command: Unmask, case: Held, uow: Uow) -> Answer | Problem:
        """Permit and record; the value itself never passes through the stored answer (api.py opens the vault)."""
        handles = command.who.has("handler") and any(
            command.who.sees_unit(order.lead, *order.co_handlers)
            for order in case.streams.live(command.appeal_id)
            if order.status not in ("closed", "cancelled", "handed_off")
        )
        feedback = case.streams.feedback
        calls = command.who.has("seat") and feedback is not None and feedback.status != "closed"
        if not (handles or calls):
            return Problem(
                403,
                "forbidden",
                "Contact data open for the handler of an open order, and for a seat while the citizen is called back.",
            )
        await audit.record(
            uow,
            actor=command.who.actor,
            action="unmask",
            subject=command.appeal_id,
            reason=clean(command.reason),
            detail={"field": command.field},
        )
        return {"id": command.appeal_id, "field": command.field}


def _forbidden(status: str, what: str) -> Problem:
    return Problem(
        409, "invalid_transition", f"A case that is {status} cannot be {what} any more.", status_now=status, actions=[]
    )


def _external_conflict(appeal_id: str) -> Problem:
    return Problem(
        409,
        "external_id_conflict",
        "This external_id was sent before with another body; take a new external_id for a new appeal.",
        id=appeal_id,
    )
