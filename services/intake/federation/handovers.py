"""How a hand-over goes on: what other platforms say, what dispatch decided, what became of the case here.

The sender's record decides whose case it is: until he has stored an acceptance it is his, from then on the receiver's.
So the receiver makes the appeal only when he has confirmed that, and no case has two owners or none (ADR 0016).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from services.intake import repository as case_rows
from services.intake.federation import repository
from services.intake.federation.bodies import (
    OfferBody,
    ReceiptBody,
    appeal_body,
    joint_case,
    joint_part,
)
from services.intake.federation.mirror import Mirror, later, tell
from services.intake.federation.repository import Handover
from services.intake.receiving import Desk, Prepared
from shared.clock import ZONE
from shared.errors import Problem, not_found
from shared.events.catalog import handoffs, peers
from shared.events.event import Message
from shared.federation.keys import SealError
from shared.federation.peers import Peers
from shared.http.commands import Answer
from shared.http.problems import validation_problem
from shared.outbox.uow import Uow
from shared.redaction import clean

_OLDEST: Final = timedelta(days=400)
_SKEW: Final = timedelta(minutes=5)

if TYPE_CHECKING:  # its projections read hand-overs
    from services.intake.handlers import Intake

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A believed and checked offer."""

    body: OfferBody
    role: str
    """of this platform: receiver or relay"""
    at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """A believed receipt of `platform`."""

    body: ReceiptBody
    platform: str


class Handovers:
    """Reads and writes `handoffs` within the caller's transaction."""

    def __init__(self, peers: Peers, desk: Desk, mirror: Mirror, intake: Intake) -> None:
        self.peers = peers
        self.intake = intake
        self.desk = desk
        self.mirror = mirror
        self.own = peers.own

    # --- what other platforms say ---------------------------------------------------------------------------------

    def check_offer(self, body: OfferBody, platform: str, now: datetime) -> Offer:
        """What only the directory and the seal can tell. Raises Problem 403 or 422; nothing is stored then."""
        path, directory = body.path, self.peers.directory
        if path[0] != body.sender or self.own not in path[1:]:
            raise Problem(403, "path_refused", "The path begins with the sender and comes by this platform.")
        if self.own in body.case.came_by or len(set(path)) != len(path):
            raise Problem(403, "handoff_loop", "The case was here before, or the path comes by a platform twice.")
        place = path.index(self.own)
        if path[place - 1] != platform:
            raise Problem(403, "not_your_offer", "It is signed by another platform than the one before on the path.")
        against = directory.objection(path, now.astimezone(ZONE).date()) if directory else "no directory"
        if against:
            raise Problem(403, "path_refused", against)
        named = (body.case.reference_no or "").partition("-")[0]
        if directory and named in directory.peers and named not in (body.sender, *body.case.came_by):
            raise Problem(403, "foreign_case", "The reference number is another platform's.")
        asked_at = body.case.joint.asked_at if body.case.joint else None
        for pointer, began in (("/case/received_at", body.case.received_at), ("/case/joint/asked_at", asked_at)):
            if began is not None and not now - _OLDEST <= began <= now + _SKEW:
                detail = f"{pointer}: lies ahead, or more than 400 days back."
                raise Problem(422, "invalid", detail, errors=[{"pointer": pointer, "detail": detail}])
        offer = Offer(body, "receiver" if body.receiver == self.own else "relay", now)
        if offer.role == "receiver":
            self._prepared(body, body.contact, now)
        return offer

    def _prepared(self, body: OfferBody, contact: str | None, now: datetime) -> Prepared:
        """The appeal that this offer becomes. Raises Problem 422."""
        try:
            secrets = self.peers.open(contact) if contact else {"handoff_id": body.handoff_id}
        except SealError as error:
            raise Problem(422, "contact_unreadable", f"/contact: {error}.") from None
        if secrets.get("handoff_id") != body.handoff_id:
            raise Problem(422, "contact_unreadable", "/contact: was sealed for another hand-over.")
        try:
            appeal = appeal_body(body, secrets)
        except ValidationError as error:
            raise validation_problem(error.errors(include_input=False, include_url=False)) from None
        prepared = self.desk.prepare(appeal, body.sender, f"platform:{body.sender}", now)
        return replace(
            prepared,
            began_at=body.case.joint.asked_at if body.case.joint else body.case.received_at,
            joint=joint_part(body.case.joint),
            handed_in=body.handoff_id,
            came_by=list(dict.fromkeys([*body.case.came_by, body.sender])),
        )

    async def receive(self, commands: Sequence[Offer | Receipt], uow: Uow) -> list[Answer | Problem]:
        """Store what other platforms said; a repetition gets the present state."""
        offers = [command for command in commands if isinstance(command, Offer)]
        fresh = await self._keep_offers(offers, uow)
        await self._lock_recalled(commands, uow)
        held = await repository.lock(uow.pg, [command.body.handoff_id for command in commands])
        before = {handoff_id: replace(known) for handoff_id, known in held.items()}
        let_go = {
            command.body.handoff_id
            for command in commands
            if isinstance(command, Receipt) and self._lets_go(command, held.get(command.body.handoff_id))
        }
        unfit = await self._take_over({handoff_id: held[handoff_id] for handoff_id in let_go}, uow)
        answers: list[Answer | Problem] = []
        for command in commands:
            known = held.get(command.body.handoff_id)
            if isinstance(command, Offer):
                answers.append(self._answer_offer(command, known, fresh))
            elif command.body.state == "confirmed" and command.body.handoff_id in unfit:
                answers.append(unfit[command.body.handoff_id])
            else:
                answers.append(await self._take_receipt(command, known, uow))
        changed = [known for known in held.values() if known != before[known.id]]
        for known in changed:
            known.updated_at = uow.clock.now()
        await repository.save(uow.pg, changed)
        for known in changed:
            if known.role == "sender" and known.appeal_id:
                await self._tell_on(known, uow)
        return answers

    def _lets_go(self, receipt: Receipt, known: Handover | None) -> bool:
        """Whether it makes a case ours: the sender confirms what was accepted here."""
        return (
            receipt.body.state == "confirmed"
            and known is not None
            and (known.role, known.state) == ("receiver", "offered")
            and known.sent_seq > 0
            and known.beside(self.own)[0] == receipt.platform
        )

    async def _take_over(self, taken: Mapping[str, Handover], uow: Uow) -> dict[str, Problem]:
        """The senders have let go: from here on the cases are ours, as appeals of channel `platform`. Why not, of those
        that cannot be stored; their senders confirm again."""
        now = uow.clock.now()
        unfit: dict[str, Problem] = {}
        cases: dict[str, Prepared] = {}
        for handoff_id, known in taken.items():
            try:
                cases[handoff_id] = self._prepared(OfferBody.model_validate_json(known.body or ""), known.contact, now)
            except Problem as problem:
                unfit[handoff_id] = problem
        made = await self.intake.receive(list(cases.values()), uow) if cases else []
        for handoff_id, answer in zip(cases, made, strict=True):
            if isinstance(answer, Problem):
                unfit[handoff_id] = answer
                continue
            known = taken[handoff_id]
            known.appeal_id, known.contact, known.state = answer["id"], None, "accepted"
        for handoff_id, why in unfit.items():
            log.error("an accepted case cannot be stored", extra={"handoff": handoff_id, "why": why.code})
        return unfit

    async def _lock_recalled(self, commands: Sequence[Offer | Receipt], uow: Uow) -> None:
        """Cases that receipts will end, locked before their hand-overs: the mirror takes both in this order."""
        recalled = [command.body.handoff_id for command in commands if _is_recall(command)]
        if recalled:
            appeals = await repository.appeals_of(uow.pg, recalled)
            for appeal_id in appeals:
                await case_rows.appeal_for_update(uow.pg, appeal_id)
            await case_rows.lock_cases(uow.pg, appeals)

    async def _keep_offers(self, offers: Sequence[Offer], uow: Uow) -> set[str]:
        now = uow.clock.now()
        rows = {offer.body.handoff_id: self._offered(offer, now) for offer in reversed(offers)}
        fresh = await repository.add(uow.pg, list(rows.values()))
        for offer in {one.body.handoff_id: one for one in reversed(offers)}.values():
            if offer.body.handoff_id in fresh:
                joint = offer.body.case.joint
                words = "\n".join([*([joint.task] if joint else []), offer.body.case.text])
                event = peers.PeerOffered(
                    actor=f"platform:{offer.body.sender}",
                    text=clean(words) if offer.role == "receiver" else None,
                    after=told(rows[offer.body.handoff_id], "offered"),
                )
                uow.emit(event, key=offer.body.handoff_id, sequence=1, time=now)
        return fresh

    def _offered(self, offer: Offer, now: datetime) -> Handover:
        body = offer.body
        return Handover(
            id=body.handoff_id,
            role=offer.role,
            sender=body.sender,
            receiver=body.receiver,
            path=body.path,
            state="offered",
            digest=_digest(body.offered()),
            body=body.model_dump_json(by_alias=True, exclude_none=True, exclude={"contact"}),
            contact=body.contact,
            sequence=1,
            offered_at=offer.at,
            updated_at=now,
        )

    def _answer_offer(self, offer: Offer, known: Handover | None, fresh: set[str]) -> Answer | Problem:
        body = offer.body
        if known is None or known.sender != body.sender or known.digest != _digest(body.offered()):
            return Problem(409, "handoff_conflict", "This handoff_id stands for another offer; take a new one.")
        answer = {"handoff_id": known.id, "state": known.state}
        if body.handoff_id in fresh:
            fresh.discard(body.handoff_id)
            return answer
        return answer | {"repeated": True}

    async def _take_receipt(self, receipt: Receipt, known: Handover | None, uow: Uow) -> Answer | Problem:
        body = receipt.body
        if known is None:
            return not_found(f"The hand-over {body.handoff_id}")
        before, after = known.beside(self.own)
        if receipt.platform != (before if body.from_sender else after):
            return not_found(f"The hand-over {body.handoff_id}")
        if known.state == "withdrawn" and body.state != "withdrawn":
            return Problem(409, "handoff_withdrawn", "The sender has given the case another way.", state=known.state)
        if body.from_sender or body.seq > known.received_seq:
            await self._apply(known, receipt, uow)
        return {"handoff_id": known.id, "seq": body.seq, "state": known.state}

    async def _apply(self, known: Handover, receipt: Receipt, uow: Uow) -> None:
        body = receipt.body
        if body.state == "confirmed":
            if known.role == "relay" and known.state == "offered":
                known.state = "accepted"
                await self._pass_on(known, body, uow)
            return
        if body.from_sender:
            if known.state in (body.state, "refused"):
                return
            known.state = body.state
            if body.state == "withdrawn":
                known.contact = None
                if known.role == "receiver" and known.appeal_id:
                    await self.intake.take_back(known.appeal_id, known.sender, body.reason, uow)
        else:
            known.received_seq = body.seq
            known.mirror = body.model_copy(
                update={"reason": clean(body.reason), "result": clean(body.result)}
            ).model_dump_json(exclude_none=True)
        if known.role == "relay":
            if body.state in ("completed", "refused"):
                known.state = later(known.state, body.state)
            await self._pass_on(known, body, uow)
        known.sequence += 1
        event = peers.PeerReported(
            actor=f"platform:{receipt.platform}",
            reason=clean(body.reason),
            seq=body.seq,
            result=clean(body.result),
            after=told(known, body.state, final=body.final),
        )
        uow.emit(event, key=known.id, sequence=known.sequence, time=uow.clock.now())

    async def _pass_on(self, known: Handover, body: ReceiptBody, uow: Uow) -> None:
        """A receipt goes on as it came, from platform to platform along the path."""
        before, after = known.beside(self.own)
        onward = after if body.from_sender else before
        message = body.model_dump(mode="json", exclude_none=True)
        await repository.enqueue(uow.pg, onward or "", "receipt", known.id, body.seq, message)

    async def _tell_on(self, known: Handover, uow: Uow) -> None:
        """A case that was handed to here and went on from here: who gave it hears how it stands further on."""
        for case in (await case_rows.lock_cases(uow.pg, [known.appeal_id or ""])).values():
            case.changed = True
            await self.mirror.tell_sender([case], uow, known)

    # --- what dispatch decided --------------------------------------------------------------------------------------

    async def on_decisions(self, batch: Sequence[Message[handoffs.HandoffEvent]], uow: Uow) -> None:
        """Offers go out, decisions become receipts, states are kept; decisions older than the last are passed over."""
        said = sorted(batch, key=lambda message: (message.key, message.sequence))
        offered = [message for message in said if isinstance(message.data, handoffs.HandoffOffered)]
        await repository.add(uow.pg, [_going_out(message.data.after, uow.clock.now()) for message in offered])
        held = await repository.lock(uow.pg, {message.key for message in said})
        changed: dict[str, Handover] = {}
        for message in said:
            known = held.get(message.key)
            if known is not None and message.sequence > known.decision_seq:
                known.decision_seq = message.sequence
                known.updated_at = uow.clock.now()
                await self._follow(known, message.data, uow)
                changed[known.id] = known
        await repository.save(uow.pg, changed.values())

    async def _follow(self, known: Handover, event: handoffs.HandoffEvent, uow: Uow) -> None:
        before, after = known.beside(self.own)
        match event:
            case handoffs.HandoffOffered() if after:
                await repository.enqueue(uow.pg, after, "offer", known.id, 0, None)
            case handoffs.HandoffForwarded() if after:
                body = orjson.loads(known.body or "{}") | {"contact": known.contact}
                await repository.enqueue(uow.pg, after, "offer", known.id, 0, body)
            case handoffs.HandoffAccepted() if known.role == "receiver":
                await tell(known, before, {"state": "accepted"}, uow)
            case handoffs.HandoffRefused() if known.role != "sender":
                known.state, known.contact = "refused", None
                await tell(known, before, {"state": "refused", "reason": event.reason}, uow)
            case handoffs.HandoffAccepted() if known.role == "sender":
                known.state = "accepted"
                await tell(known, after, {"state": "confirmed"}, uow)
            case handoffs.HandoffWithdrawn():
                if known.role == "sender" and known.received_seq:  # he said something, and waits for an answer
                    await tell(known, after, {"state": "withdrawn", "reason": event.reason}, uow)
                known.state, known.contact = "withdrawn", None
                await repository.forget_offer(uow.pg, known.id)
            case handoffs.HandoffAcknowledged() if known.role == "sender":
                known.state = "acknowledged"
                await tell(known, after, {"state": "acknowledged"}, uow)
            case _ if known.role == "sender":
                known.state = event.after.state


def _going_out(after: handoffs.Handoff, now: datetime) -> Handover:
    return Handover(
        id=after.id,
        role="sender",
        sender=after.sender,
        receiver=after.receiver,
        path=after.path,
        state="offered",
        appeal_id=after.appeal_ids[0],
        work_order_id=after.work_order_id,
        body=orjson.dumps({"case": part}).decode() if (part := joint_case(after)) else None,
        offered_at=after.offered_at,
        updated_at=now,
    )


def _is_recall(command: Offer | Receipt) -> bool:
    return isinstance(command, Receipt) and command.body.state == "withdrawn"


def told(known: Handover, state: str, *, final: bool = False) -> peers.PeerHandoff:
    case = known.case
    return peers.PeerHandoff(
        id=known.id,
        role=known.role,
        sender=known.sender,
        receiver=known.receiver,
        path=known.path,
        came_by=case.get("came_by", []),
        state=state,
        final=final,
        region_code=case.get("region_code") or known.receiver,
        matter=case.get("matter") or "",
        handling_class=case.get("class") or "",
        offered_at=known.offered_at,
    )


def _digest(content: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
