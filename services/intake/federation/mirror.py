"""How a case stands that went from one platform to another: what the receiver tells, and what both show of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from services.intake.domain import appeal as rules
from services.intake.federation import repository
from services.intake.federation.bodies import VERSION, clock_bodies
from services.intake.federation.repository import Handover
from services.intake.keys import Keys
from services.intake.repository import Held
from shared.clock import rfc3339
from shared.errors import Problem
from shared.federation.keys import SealError
from shared.federation.peers import Peers
from shared.outbox.uow import Uow

OPEN: Final = ("accepted", "completed")
"""states in which the receiver tells how the case goes"""
MIRRORED: Final = (
    "dispatched",
    "in_progress",
    "completed",
    "answered",
    "linked",
    "handed_off",
    "declined",
    "withdrawn",
)
"""statuses of a case that the sender is told of; the ones before pass in seconds"""
ENDED: Final = ("completed", "answered", "declined", "withdrawn")
_RANK: Final = {"offered": 0, "accepted": 1, "completed": 2, "acknowledged": 3}


async def tell(known: Handover, to: str | None, content: Mapping[str, Any], uow: Uow) -> None:
    """The next receipt; the caller saves the row."""
    if to is None:
        return
    known.sent_seq += 1
    body = {
        "version": VERSION,
        "handoff_id": known.id,
        "seq": known.sent_seq,
        "at": rfc3339(uow.clock.now()),
        **{name: value for name, value in content.items() if value is not None},
    }
    await repository.enqueue(uow.pg, to, "receipt", known.id, known.sent_seq, body)


class Mirror:
    """Receipts about the cases that another platform handed over, and hand-overs as readers see them."""

    def __init__(self, peers: Peers, keys: Keys, base_url: str) -> None:
        self.peers = peers
        self.keys = keys
        self.base_url = base_url
        self.own = peers.own

    async def tell_sender(self, cases: Sequence[Held], uow: Uow, further: Handover | None = None) -> None:
        """Tell the sender how cases stand that he handed over, when that changed. `further`: the hand-over by which the
        one case went on to another platform."""
        handed = {case.streams.handed_in: case for case in cases if case.streams.handed_in and case.changed}
        if not handed:
            return
        held = await repository.lock(uow.pg, [name for name in handed if name])
        changed = []
        for known in held.values():
            if known.state in OPEN and await self._mirror(known, handed[known.id], uow, further):
                changed.append(known)
        await repository.save(uow.pg, changed)

    async def _mirror(self, known: Handover, case: Held, uow: Uow, further: Handover | None) -> bool:
        status = case.streams.columns(case.appeal_id).status
        if status not in MIRRORED:
            return False
        orders = case.streams.whole(case.appeal_id)
        out = next((order.handoff for order in orders if order.status == "handed_off"), None)
        if out is not None and (further is None or further.id != out.id):
            further = await repository.read(uow.pg, out.id)
        before = orjson.loads(known.told) if known.told else {}
        news, asked = (
            self._here(case, status, before, part=known.part is not None)
            if out is None
            else self._further(further, status)
        )
        news["state"] = later(known.state, "completed" if news["status"] in ENDED else "accepted")
        mark = news | {"asked": hashlib.sha256(asked.encode()).hexdigest() if asked else None}
        if mark == before:
            return False
        known.state, known.told = news["state"], orjson.dumps(mark).decode()
        known.updated_at = uow.clock.now()
        more = {
            "clocks": _mirror_of(further).get("clocks")
            if out is not None
            else clock_bodies(await repository.clocks_of(uow.pg, [order.id for order in orders])),
            "rating_link": self._rating_link(known, asked),
        }
        await tell(known, known.beside(self.own)[0], news | more, uow)
        return True

    def _here(
        self, case: Held, status: str, before: Mapping[str, Any], *, part: bool
    ) -> tuple[dict[str, Any], str | None]:
        """How a case (or a part of joint work) stands that is handled here, and where the citizen rates while he is
        asked."""
        feedback = case.streams.feedback
        closed = feedback is not None and feedback.status == "closed"
        orders = [order for order in case.streams.whole(case.appeal_id) if order.status != "cancelled"]
        news = {
            "status": status,
            "result": next((order.result for order in reversed(orders) if order.result), None),
            "rating": _rating(case) or before.get("rating"),
            # the lead of joint work asks the citizen, so a part ends with its answer
            "final": closed or status in ("declined", "withdrawn", "answered", *(["completed"] if part else [])),
        }
        if feedback is None or closed or feedback.method != "link" or feedback.answered:
            return news, None
        token = rules.rating_token(rules.appeal_secret(self.keys.codes, case.appeal_id), feedback.round)
        asks = 1 <= feedback.round <= rules.FEEDBACK_ROUNDS
        return news, f"{self.base_url}/v1/ratings/{token}" if asks else None

    def _further(self, further: Handover | None, status: str) -> tuple[dict[str, Any], str | None]:
        """How a case stands that went on to another platform."""
        there = _mirror_of(further)
        news = {name: there.get(name) for name in ("status", "result", "rating", "final")}
        news |= {"status": there.get("status") or status, "final": bool(there.get("final"))}
        return news, self.rating_url(further) if further is not None else None

    def _rating_link(self, known: Handover, url: str | None) -> str | None:
        """Where the citizen rates, sealed to the sender, who shows it to him alone."""
        return self.peers.seal(known.sender, {"handoff_id": known.id, "url": url}) if url else None

    def shown(self, known: Handover) -> dict[str, Any]:
        """A hand-over as the platforms on its path, and readers of the case, see it."""
        mirror = _mirror_of(known)
        offer = orjson.loads(known.body) if known.body else {}
        own = orjson.loads(known.told) if known.told else {}
        joint = known.case.get("joint")
        return {
            "id": known.id,
            "handoff_id": known.id,
            "platform": known.sender if known.role == "receiver" else known.receiver,
            "role": known.role,
            "sender": known.sender,
            "receiver": known.receiver,
            "path": known.path,
            "state": known.state,
            "joint": joint | {"asked_at": rfc3339(datetime.fromisoformat(joint["asked_at"]))} if joint else None,
            "offered_at": rfc3339(known.offered_at),
            "status": own.get("status") or mirror.get("status"),
            "result": own.get("result") or mirror.get("result"),
            "rating": own.get("rating") or mirror.get("rating"),
            "reason": mirror.get("reason"),
            "seq": max(known.received_seq, known.sent_seq),
            "clocks": mirror.get("clocks") or offer.get("clocks") or [],
        }

    def rating_url(self, known: Handover) -> str | None:
        """Where the citizen rates at the receiver, while it asks."""
        mirror = _mirror_of(known)
        if known.role != "sender" or not mirror.get("rating_link") or known.state == "acknowledged":
            return None
        try:
            url = self.peers.open(mirror["rating_link"]).get("url")
        except (SealError, Problem):
            return None
        return url if isinstance(url, str) and self.peers.rates_at(url) else None


def _mirror_of(known: Handover | None) -> dict[str, Any]:
    """The newest receipt."""
    return dict(orjson.loads(known.mirror)) if known is not None and known.mirror else {}


def later(one: str, other: str) -> str:
    """The later of two states: none goes back."""
    return max(one, other, key=lambda state: _RANK.get(state, 9))


def _rating(case: Held) -> dict[str, Any] | None:
    """The newest answer of the citizen, without words, when this batch brought one."""
    answers = orjson.loads(case.feedback)["answers"] if case.feedback else []
    if not answers:
        return None
    return {name: answers[-1].get(name) for name in ("contacted", "solved", "satisfaction", "round")}
