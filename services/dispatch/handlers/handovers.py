"""What dispatch decides about cases between platforms: take, refuse, pass on; let go, keep (domain.md, Dispatch 6)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from services.dispatch import repository
from services.dispatch.book import Book
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.commands import Cancel, HandOff, RefuseHandoff, TakeAnswer
from services.dispatch.domain.work_order import SYSTEM
from services.dispatch.repository.handoffs import HeldHandoff
from shared.events.catalog import handoffs, peers
from shared.events.event import Message
from shared.outbox.uow import Uow

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


class Handovers:
    """The handler of what other platforms said (`intake.peers.v1`)."""

    def __init__(self, desk: RoutingDesk) -> None:
        self.desk = desk

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
        rows = [
            repository.handoff_row(_snapshot(message.data.after, state), 1) for message, state, _ in decided.values()
        ]
        for handoff_id in sorted(await repository.new_handoffs(uow.pg, rows)):
            message, state, reason = decided[handoff_id]
            event = _EVENTS[state](actor=SYSTEM.name, reason=reason, after=_snapshot(message.data.after, state))
            uow.emit(event, key=handoff_id, sequence=1, time=message.time)

    def _decision(self, offer: peers.PeerHandoff) -> tuple[str, str | None]:
        """The state and why. A case of the own territory is taken, and goes on from here when it lies with a platform
        below that the sender does not know; one that lies elsewhere is not."""
        own = self.desk.platform
        if offer.receiver != own:
            return "forwarded", None
        if own in offer.came_by:
            return "refused", "本案曾由本平台移交，不再接收"
        if self.desk.regions.is_within(offer.region_code, own):
            return "accepted", None
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
        if held.state == "accepted" and state == "completed" and isinstance(message.data, peers.PeerReported):
            book.attempt(order_id, TakeAnswer(result=message.data.result), SYSTEM, message.time)
        if held.state != "offered":
            return state
        order = book.orders.get(order_id)
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


async def _tell(uow: Uow, held: HeldHandoff, state: str, reason: str | None, at: datetime) -> HeldHandoff:
    after = msgspec.structs.replace(held.snapshot, state=state)
    sequence = held.sequence + 1
    uow.emit(_EVENTS[state](actor=SYSTEM.name, reason=reason, after=after), key=held.id, sequence=sequence, time=at)
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
