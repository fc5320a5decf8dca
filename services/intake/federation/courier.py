"""Brings messages to other platforms until they acknowledge them.

What is to be sent is a row, leased by one replica while it tries, so a kill loses nothing and nobody sends beside
another. A platform that answers nothing is left alone for a while and then probed with one message; the others are not
affected. What is due longest goes first, so that messages that must be repeated for long do not hold up new ones.
Real time throughout: leases and back-off never follow the business clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import httpx
import msgspec
import orjson
from prometheus_client import Counter

from services.intake.federation import repository
from services.intake.federation.bodies import SECRETS, VERSION, case_body, clock_bodies
from services.intake.federation.handovers import told
from services.intake.federation.mirror import tell
from services.intake.federation.repository import Handover, Letter
from services.intake.vault import Vault
from shared.clock import rfc3339
from shared.db.database import Database
from shared.errors import Transient
from shared.events.catalog import peers as catalog
from shared.events.catalog.appeals import Appeal
from shared.federation.directory import Peer
from shared.federation.peers import Peers, back_off
from shared.outbox.uow import Uow

log = logging.getLogger(__name__)

SENT = Counter("sushu_peer_messages_total", "Messages to other platforms by what came of them", ["kind", "outcome"])

AT_ONCE: Final = 32
"""messages on their way to one platform: so many leave in a round trip once it is there again"""
TICK_S: Final = 0.25
IDLE_S: Final = 2.0
TIMEOUT: Final = httpx.Timeout(10, connect=3)
WHOLE_S: Final = 12.0
ANSWER_BYTES: Final = 65_536
PAUSE_S: Final = (0.5, 5.0)
"""first and longest pause of a platform that does not answer, and of a message whose answer was lost"""
REFUSED_S: Final = (1.0, 60.0)
"""of a message that is refused but may be taken later: our key is not known there yet, clocks differ"""
PARKED_S: Final = 3600.0
CLOCKS_TRIES: Final = 12
"""looks for the clocks of an order before its offer goes without them"""
_LATER: Final = frozenset({401, 408, 425, 429})

_appeals = msgspec.json.Decoder(Appeal)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a platform said: `status` 0 when it did not; `body` when it was a JSON object."""

    letter: Letter
    status: int
    body: dict[str, Any]
    error: str = ""


class Courier:
    """`run` is background work of every replica."""

    def __init__(self, peers: Peers, vault: Vault, database: Database) -> None:
        self.peers = peers
        self.vault = vault
        self.database = database
        self._lines: list[httpx.AsyncClient] = []
        self._ways: dict[str, asyncio.Task[None]] = {}
        self._paused: dict[str, tuple[float, int]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        trusted = httpx.create_ssl_context(trust_env=False)
        async with AsyncExitStack() as stack:
            # one for each message on its way: httpx looks through all connections of a client at each request
            self._lines = [
                await stack.enter_async_context(
                    httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False, verify=trusted)
                )
                for _ in range(AT_ONCE)
            ]
            try:
                while True:
                    await asyncio.sleep(await self._round())
            finally:
                for task in self._ways.values():
                    task.cancel()
                await asyncio.gather(*self._ways.values(), return_exceptions=True)

    async def _round(self) -> float:
        if self.peers.directory is None:
            return IDLE_S
        try:
            async with self.database.look_up() as pg:
                due = await repository.due_platforms(pg)
        except Transient as error:
            log.warning("messages to other platforms wait for the store", extra={"error": str(error)})
            return IDLE_S
        for platform in due:
            busy = self._ways.get(platform)
            if (busy is None or busy.done()) and time.monotonic() >= self._paused.get(platform, (0.0, 0))[0]:
                self._ways[platform] = asyncio.create_task(self._serve(platform), name=f"to-{platform}")
        return TICK_S

    async def _serve(self, platform: str) -> None:
        """Send what is due to one platform until nothing is, or it does not answer."""
        try:
            while (peer := self.peers.reachable(platform)) is not None:
                failures = self._paused.get(platform, (0.0, 0))[1]
                async with self.database.transaction() as uow:
                    letters = await repository.lease(uow.pg, platform, 1 if failures else AT_ONCE)
                if not letters:
                    return
                answers = await asyncio.gather(*map(self._send, repeat(peer), letters, self._lines))
                silent = [answer for answer in answers if _is_silence(answer.status)]
                await self._settle(answers)
                if len(silent) < len(answers):  # it is there: a connection that was cut says nothing about the others
                    self._paused.pop(platform, None)
                    continue
                wait = back_off(PAUSE_S, failures, random.random())
                self._paused[platform] = (time.monotonic() + wait, failures + 1)
                log.log(
                    logging.INFO if failures else logging.WARNING,
                    "a platform does not answer",
                    extra={"platform": platform, "error": silent[0].error, "again_in_s": round(wait, 1)},
                )
                return
        except Transient as error:
            log.warning("messages to other platforms wait for the store", extra={"error": str(error)})
        except Exception as error:  # leases end by themselves; the other platforms must not wait for this one
            log.error("sending to a platform failed", extra={"platform": platform}, exc_info=error)
            self._paused[platform] = (time.monotonic() + PAUSE_S[1], 1)

    async def _send(self, peer: Peer, letter: Letter, line: httpx.AsyncClient) -> Answered:
        try:
            body = await self._body_of(letter)
        except Transient:
            raise
        except Exception as error:
            log.error("a message to another platform cannot be written", extra={"id": letter.id}, exc_info=error)
            return Answered(letter, -2, {}, f"cannot be written: {type(error).__name__}")
        if body is None:
            return Answered(letter, -1, {}, "the clocks of the order are not known yet")
        path = "/v1/handoffs" if letter.kind == "offer" else f"/v1/handoffs/{letter.handoff_id}/receipts"
        raw = orjson.dumps(body)
        url, headers = self.peers.signed(peer, "POST", path, raw)
        try:
            async with (
                asyncio.timeout(WHOLE_S),
                line.stream("POST", url, content=raw, headers=headers) as answer,
            ):
                held = bytearray()
                async for part in answer.aiter_bytes():
                    held += part
                    if len(held) > ANSWER_BYTES:
                        return Answered(letter, 0, {}, f"an answer of more than {ANSWER_BYTES} bytes")
                return Answered(letter, answer.status_code, _object(bytes(held)), f"{answer.status_code}")
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            return Answered(letter, 0, {}, f"{type(error).__name__}: {error}")

    async def _body_of(self, letter: Letter) -> dict[str, Any] | None:
        """The message as it goes out now; None while an offer waits for the clocks of its order."""
        if letter.kind != "offer":
            return dict(orjson.loads(letter.body or "{}"))
        async with self.database.look_up() as pg:
            known = await repository.read(pg, letter.handoff_id)
            if known is None:
                raise ValueError("an offer without its hand-over")
            if letter.body is not None and known.role != "sender":
                return dict(orjson.loads(letter.body))  # sealed by the sender; nobody between can open it
            held = await repository.case_of(pg, known.appeal_id or "")
            if held is None:
                raise ValueError("an offer without its appeal")
            if letter.body is None:
                clocks = clock_bodies(
                    await repository.clocks_of(pg, [known.work_order_id] if known.work_order_id else [])
                )
                if not clocks and letter.attempts < CLOCKS_TRIES:
                    return None
                label = orjson.loads(held["label"]) if held["label"] else None
                body: dict[str, Any] = {
                    "version": VERSION,
                    "handoff_id": known.id,
                    "sender": known.sender,
                    "path": known.path,
                    "case": case_body(_appeals.decode(held["snapshot"]), label, known.sender, known.part),
                    "clocks": clocks,
                }
                text = orjson.dumps(body).decode()
                await repository.keep_body(pg, letter, text)
                await pg.execute("UPDATE intake.handoffs SET body = $2 WHERE id = $1", known.id, text)
            else:
                body = orjson.loads(letter.body)
        if body["case"].get("joint"):
            return body  # the lead speaks with the citizen
        secrets = self.vault.open(known.appeal_id or "", held["key_id"], held["sealed"])
        sealed = {name: secrets[name] for name in SECRETS if name in secrets}
        return body | {"contact": self.peers.seal(known.receiver, {"handoff_id": known.id, **sealed})}

    # --- what came of it ------------------------------------------------------------------------------------------

    async def _settle(self, answers: Sequence[Answered]) -> None:
        waits: dict[str, tuple[float, str]] = {}
        done: list[Letter] = []
        lasting: list[Answered] = []
        for answer in answers:
            letter, status = answer.letter, answer.status
            outcome = "again"
            if status == -1:
                waits[letter.id] = (0.3, answer.error)
            elif status == -2:
                waits[letter.id] = (PARKED_S, answer.error)
            elif _is_silence(status):
                waits[letter.id] = (back_off(PAUSE_S, letter.attempts - 1, random.random()), answer.error)
            elif status in _LATER:
                waits[letter.id] = (back_off(REFUSED_S, letter.attempts - 1, random.random()), _words(answer))
            elif 200 <= status < 300 and not _is_too_late(answer):
                outcome = "delivered"
                done.append(letter)
            else:
                outcome = "refused"
                lasting.append(answer)
            SENT.labels(letter.kind, outcome).inc()
        if waits or done:
            async with self.database.transaction() as uow:
                if waits:
                    await repository.again(uow.pg, waits)
                if done:
                    await repository.delivered(uow.pg, done)
        if lasting:
            async with self.database.transaction() as uow:
                await self._conclude(lasting, uow)

    async def _conclude(self, answers: Sequence[Answered], uow: Uow) -> None:
        """What will never be taken ends an offer, or an acceptance that came too late."""
        held = await repository.lock(uow.pg, [answer.letter.handoff_id for answer in answers])
        waits: dict[str, tuple[float, str]] = {}
        for answer in answers:
            known, letter = held.get(answer.letter.handoff_id), answer.letter
            if known is None:
                continue
            if letter.kind == "offer":
                await self._offer_refused(known, answer, uow)
            elif _is_too_late(answer):
                await self._withdrawn(known, uow)
            else:
                log.error("a platform refuses a receipt", extra={"handoff": known.id, "why": _words(answer)})
                waits[letter.id] = (PARKED_S, _words(answer))
        for known in held.values():
            known.updated_at = uow.clock.now()
        await repository.save(uow.pg, held.values())
        await repository.again(uow.pg, waits)
        await repository.delivered(uow.pg, [answer.letter for answer in answers if answer.letter.id not in waits])

    async def _withdrawn(self, known: Handover, uow: Uow) -> None:
        """The sender gave the case another way: nothing of it is kept here but that it was offered."""
        if known.state not in ("offered", "refused"):
            return
        known.state, known.contact = "withdrawn", None
        await tell(known, known.beside(self.peers.own)[1], {"state": "withdrawn"}, uow)
        await self._report(known, "withdrawn", None, uow)

    async def _offer_refused(self, known: Handover, answer: Answered, uow: Uow) -> None:
        """The next platform will never take this offer: that is a refusal, told on towards the sender."""
        if known.state != "offered":
            return
        reason = f"对方平台拒收：{_words(answer)}"
        known.contact = None
        if known.role == "relay":
            known.state = "refused"
            await tell(known, known.beside(self.peers.own)[0], {"state": "refused", "reason": reason}, uow)
        else:
            told_here = {"state": "refused", "reason": reason, "at": rfc3339(uow.clock.now())}
            known.mirror = orjson.dumps(told_here).decode()
        await self._report(known, "refused", reason, uow)

    async def _report(self, known: Handover, state: str, reason: str | None, uow: Uow) -> None:
        known.sequence += 1
        event = catalog.PeerReported(actor="system:intake", reason=reason, seq=0, after=told(known, state))
        uow.emit(event, key=known.id, sequence=known.sequence)


def _is_too_late(answer: Answered) -> bool:
    """Whether the case went another way before this arrived: a receipt of what was withdrawn, an acceptance of what
    was refused on the way."""
    if answer.body.get("code") == "handoff_withdrawn":
        return True
    accepts = answer.letter.kind == "receipt" and orjson.loads(answer.letter.body or "{}").get("state") == "accepted"
    return accepts and answer.body.get("state") in ("refused", "withdrawn")


def _is_silence(status: int) -> bool:
    """No answer, a redirection (never followed), or a platform in trouble."""
    return status == 0 or 300 <= status < 400 or status >= 500


def _words(answer: Answered) -> str:
    code = answer.body.get("code")
    return f"{answer.status} {code}" if isinstance(code, str) and code.isidentifier() else f"{answer.status}"


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
