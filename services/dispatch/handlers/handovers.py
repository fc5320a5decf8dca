"""What dispatch decides about cases between platforms: take, refuse, pass on; let go, keep (domain.md, Dispatch 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from services.dispatch import repository
from services.dispatch.book import Book
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.commands import Cancel, HandOff, Recall, RefuseHandoff, TakeAnswer
from services.dispatch.domain.work_order import SYSTEM
from services.dispatch.handlers.act import actor_of
from services.dispatch.repository.handoffs import HeldHandoff
from shared.clock import rfc3339
from shared.errors import Problem, not_found
from shared.events.catalog import handoffs, peers
from shared.events.event import Message
from shared.outbox.uow import Uow
from shared.security.principal import Principal

_EVENTS = {
    kind.type.partition(".")[2]: kind
    for kind in (
        handoffs.HandoffForwarded,
        handoffs.HandoffAccepted,
        handoffs.HandoffRefused,
        handoffs.HandoffWithdrawn,
        handoffs.HandoffCompleted,
        handoffs.HandoffAcknowledged,
    )
}
_RANK = {"offered": 0, "forwarded": 0, "accepted": 1, "completed": 2, "acknowledged": 3}
"""states of one that goes well, in their order; `refused` and `withdrawn` are ends"""


@dataclass(frozen=True, slots=True)
class Decide:
    """A person takes an offer of another platform, or refuses it for a reason."""

    id: str
    who: Principal
    reason: str | None
    """None: it is taken"""

    @property
    def state(self) -> str:
        return "accepted" if self.reason is None else "refused"


def offer_view(offer: handoffs.Handoff, text: str | None, who: Principal) -> dict[str, Any]:
    """An offer as the centre that decides it sees it."""
    body: dict[str, Any] = msgspec.to_builtins(offer, builtin_types=(datetime,))
    del body["work_order_id"], body["appeal_ids"], body["joint"]
    may = offer.state == "offered" and _decides(who)
    return body | {
        "offered_at": rfc3339(offer.offered_at),
        "text": text,
        "actions": ["accept", "refuse"] if may else [],
    }


def _decides(who: Principal) -> bool:
    actor = actor_of(who)
    return actor.centre or actor.everywhere


class Handovers:
    """The handler of what other platforms said (`intake.peers.v1`), and of what people decide about it.

    `by_person`: a person takes or refuses what lies in the own territory; else the rule takes it.
    """

    def __init__(self, desk: RoutingDesk, *, by_person: bool = False) -> None:
        self.desk = desk
        self.by_person = by_person

    async def decide(self, commands: Sequence[Decide], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Answers each command with the offer after it: who comes second learns how it stands."""
        held = {one.id: one for one in await repository.lock_handoffs(uow.pg, [command.id for command in commands])}
        answers: list[dict[str, Any] | Problem] = []
        for command in commands:
            one = held.get(command.id)
            if one is None or not self._is_for(command.who, one.snapshot):
                answers.append(not_found(f"The offer {command.id}"))
            elif not _decides(command.who):
                answers.append(Problem(403, "forbidden", "The centre decides about offers of other platforms."))
            elif one.state != "offered":
                present = {"id": one.id, "state": one.state}
                detail = f"The offer is {one.state} already."
                answers.append(Problem(409, "invalid_transition", detail, present=present, actions=[]))
            else:
                now, actor = uow.clock.now(), command.who.actor
                held[one.id] = one = await _tell(uow, one, command.state, command.reason, now, actor)
                answers.append(offer_view(one.snapshot, None, command.who))
        return answers

    def _is_for(self, who: Principal, offer: handoffs.Handoff) -> bool:
        """Whether it was offered to this platform, in his regions."""
        here = offer.receiver == self.desk.platform and not offer.work_order_id
        return here and who.sees_region(offer.region_code)

    async def on_peers(self, batch: Sequence[Message[peers.PeerEvent]], uow: Uow) -> None:
        """Decide about offers; follow receipts. A receipt says the whole state, so a later one makes up for one that is
        missing, and an older one changes nothing."""
        offers = [message for message in batch if isinstance(message.data, peers.PeerOffered)]
        reports = [message for message in batch if isinstance(message.data, peers.PeerReported)]
        await self._decide(offers, uow)
        if reports:
            await self._follow(reports, uow)

    async def _decide(self, offers: Sequence[Message[peers.PeerEvent]], uow: Uow) -> None:
        decided = {message.key: (message, *self._decision(message.data.after)) for message in offers}
        rows = []
        for message, state, _ in decided.values():
            waits = state == "offered"
            text = message.data.text if waits and isinstance(message.data, peers.PeerOffered) else None
            rows.append(repository.handoff_row(_snapshot(message.data.after, state), 0 if waits else 1, text))
        for handoff_id in sorted(await repository.new_handoffs(uow.pg, rows)):
            message, state, reason = decided[handoff_id]
            if state == "offered":
                continue
            event = _EVENTS[state](actor=SYSTEM.name, reason=reason, after=_snapshot(message.data.after, state))
            uow.emit(event, key=handoff_id, sequence=1, time=message.time)

    def _decision(self, offer: peers.PeerHandoff) -> tuple[str, str | None]:
        """The state and why. A case of the own territory is taken (or waits for a person, `offered`), and goes on from
        here when it lies with a platform below that the sender does not know; one that lies elsewhere is not."""
        own = self.desk.platform
        if offer.receiver != own:
            return "forwarded", None
        if own in offer.came_by:
            return "refused", "本案曾由本平台移交，不再接收"
        if self.desk.regions.is_within(offer.region_code, own):
            return "offered" if self.by_person else "accepted", None
        owner = self.desk.regions.platform_of(offer.region_code, self.desk.platforms.codes)
        return "refused", f"诉求地点不属本平台辖区（应为{owner or '其他平台'}）"

    async def _follow(self, reports: Sequence[Message[peers.PeerEvent]], uow: Uow) -> None:
        orders = await repository.orders_of_handoffs(uow.pg, [message.key for message in reports])
        book = Book(uow, self.desk)
        await book.lock(orders.values())
        held = {one.id: one for one in await repository.lock_handoffs(uow.pg, [message.key for message in reports])}
        for message in reports:
            one = held.get(message.key)
            if one is None:
                continue  # of a hand-over that was never decided here
            for state in _steps(one.state, message.data.after):
                reached = self._reach(book, orders.get(message.key), one, state, message)
                one = await _tell(uow, one, reached, message.data.reason, message.time)
                if reached != state:
                    break
            held[message.key] = one
        await book.save()

    def _reach(
        self, book: Book, order_id: str | None, held: HeldHandoff, state: str, message: Message[peers.PeerEvent]
    ) -> str:
        """The state that is reached: ownership passes here, under the lock of the order, or not at all. A part of joint
        work that nobody takes is its lead's again, and the answer to it is his."""
        if order_id is None:
            return state
        order = book.orders.get(order_id)
        reported = held.state == "accepted" and state == "completed" and order is not None and order.is_part
        if reported and isinstance(message.data, peers.PeerReported):
            result = message.data.result
            answer = TakeAnswer(result=result) if result else Recall(reason="对方平台未予办理，由主办单位另行安排")
            book.attempt(order_id, answer, SYSTEM, message.time)
        if held.state != "offered":
            return state
        command = HandOff() if state == "accepted" else RefuseHandoff(reason=message.data.reason)
        fits = order is not None and order.handoff is not None and order.handoff.id == held.id
        if not fits or book.attempt(order_id, command, SYSTEM, message.time) is None:
            return "withdrawn"
        if state == "refused" and book.orders[order_id].parent_id is not None:
            book.attempt(order_id, Cancel(reason=message.data.reason), SYSTEM, message.time)
        return state


def _steps(present: str, told: peers.PeerHandoff) -> list[str]:
    """The states to go through from the present one to what was told; none for old news."""
    if present not in _RANK:
        return []
    if told.state == "withdrawn" and told.role != "sender":
        return ["withdrawn"]
    if told.state == "refused":
        return ["refused"] if _RANK[present] == 0 else []
    last = _RANK.get(told.state, 0)
    if told.state == "completed" and told.final and told.role == "sender":
        last = _RANK["acknowledged"]
    return [state for state in ("accepted", "completed", "acknowledged") if _RANK[present] < _RANK[state] <= last]


async def _tell(
    uow: Uow, held: HeldHandoff, state: str, reason: str | None, at: datetime, actor: str = SYSTEM.name
) -> HeldHandoff:
    after = msgspec.structs.replace(held.snapshot, state=state)
    sequence = held.sequence + 1
    uow.emit(_EVENTS[state](actor=actor, reason=reason, after=after), key=held.id, sequence=sequence, time=at)
    await repository.save_handoff(uow.pg, after, sequence)
    return HeldHandoff(after, sequence)


def _snapshot(offer: peers.PeerHandoff, state: str) -> handoffs.Handoff:
    return handoffs.Handoff(
        id=offer.id,
        work_order_id="",
        appeal_ids=[],
        sender=offer.sender,
        receiver=offer.receiver,
        path=offer.path,
        state=state,
        region_code=offer.region_code,
        matter=offer.matter,
        handling_class=offer.handling_class,
        offered_at=offer.offered_at,
    )
