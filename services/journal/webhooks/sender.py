"""Pushes the journal to its receivers: each in order, at its own pace, whatever becomes of the others.

Every replica runs one. Who serves a webhook holds its lease, and every result is written under that lease; so two
never move one position, and what a dead sender had under way is sent again by the next.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter

from services.journal import repository as journal
from services.journal.domain import Entry
from services.journal.webhooks import repository
from services.journal.webhooks.domain import Outcome, Push, State, Webhook, outcome_of, pause_s, secret_of
from shared.clock import Clock, loop_time
from shared.db.database import Database
from shared.errors import Transient
from shared.http.outgoing import NotSent, Outgoing, Reply
from shared.ids import uuid7

log = logging.getLogger(__name__)

PUSHES = Counter("sushu_webhook_pushes_total", "Pushes to webhooks by what became of them", ["outcome"])

AT_ONCE = 32
"""webhooks that one replica serves at the same time"""
TURN_S = 20.0
"""then another webhook has its turn; shorter than the lease"""
LOOK_S = 0.5
GATHER_S = 0.05
"""between two looks for webhooks that wait: a busy journal commits more often than anybody must be told"""


class Sender:
    """The background work."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        key: bytes,
        outgoing: Outgoing,
        news: Callable[[], asyncio.Event],
    ) -> None:
        """`news` gives what is set when this process appends to the journal next."""
        self.database = database
        self.clock = clock
        self.outgoing = outgoing
        self._key = key
        self._news = news
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                news = self._news()
                try:
                    claimed = await self._claim()
                except Transient as trouble:
                    log.warning("webhooks wait", extra={"error": str(trouble)})
                    claimed = 0
                if not claimed:
                    await asyncio.sleep(GATHER_S)
                    await self._wait(news)
        finally:
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self.outgoing.close()

    async def _wait(self, news: asyncio.Event) -> None:
        waiting = asyncio.create_task(news.wait())
        await asyncio.wait({waiting, *self._serving}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _claim(self) -> int:
        free = AT_ONCE - len(self._serving)
        if not free:
            return 0
        lease = uuid7()
        async with self.database.look_up() as pg:  # one statement at each commit of the journal, mostly for nothing
            webhooks = await repository.claim(pg, lease, free)
        for webhook in webhooks:
            task = asyncio.create_task(self._serve(webhook, lease), name=f"webhook-{webhook.id}")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        return len(webhooks)

    async def _serve(self, webhook: Webhook, lease: str) -> None:
        """Push what there is, for one turn at most."""
        end = loop_time() + TURN_S
        try:
            while loop_time() < end:
                position = await self._push(webhook, lease)
                if position is None:
                    break
                webhook = replace(webhook, position=position, tries=0, failing_since=None)
        except Transient as trouble:
            log.warning("a webhook waits", extra={"webhook": webhook.id, "error": str(trouble)})
        except Exception:
            log.exception("a webhook could not be served", extra={"webhook": webhook.id})
            await asyncio.sleep(LOOK_S)
        finally:
            await self._release(webhook, lease)

    async def _release(self, webhook: Webhook, lease: str) -> None:
        try:
            async with self.database.transaction() as uow:
                await repository.release(uow.pg, webhook.id, lease)
        except Transient:
            pass  # the lease ends by itself

    async def _push(self, webhook: Webhook, lease: str) -> int | None:
        """One request; returns how far the webhook is now, None when there is nothing to do before the next look."""
        async with self.database.read() as raw:
            end = await journal.last_position(raw)
            entries, upcoming = await journal.read(
                raw, webhook.position, webhook.types, webhook.batch, webhook.view.regions
            )
        if not entries:
            position = end if upcoming is None else upcoming
            if position == webhook.position:
                return None
            async with self.database.transaction() as uow:
                kept = await repository.advance(uow.pg, webhook, lease, position=position)
            return position if kept and upcoming is not None else None
        began = loop_time()
        push = Push.of(webhook, entries)
        try:
            reply = await self._send(webhook, push)
            outcome, words = outcome_of(reply.status), None
            if 300 <= reply.status < 400:
                words = "redirects are not followed: give the address that answers"
        except NotSent as trouble:
            reply, outcome, words = None, Outcome.FAILED, str(trouble)
        PUSHES.labels(outcome.value).inc()
        return await self._note(webhook, lease, entries, outcome, reply, words, loop_time() - began)

    async def _send(self, webhook: Webhook, push: Push) -> Reply:
        now = datetime.now(UTC)
        secrets = [secret_of(self._key, webhook.id, generation) for generation in webhook.generations(now)]
        return await self.outgoing.post(webhook.url, push.body, push.headers(secrets, now))

    async def _note(
        self,
        webhook: Webhook,
        lease: str,
        entries: Sequence[Entry],
        outcome: Outcome,
        reply: Reply | None,
        words: str | None,
        seconds: float,
    ) -> int | None:
        """Write down what became of a push; returns the new position, None when its turn is over."""
        line = {
            "webhook_id": webhook.id,
            "day": self.clock.now().astimezone(UTC).date(),
            "at": datetime.now(UTC),
            "first_position": entries[0].position,
            "last_position": entries[-1].position,
            "events": len(entries),
            "attempt": webhook.tries + 1,
            "outcome": outcome.value,
            "status": reply.status if reply else None,
            "error": words,
            "duration_ms": round(seconds * 1000),
        }
        async with self.database.transaction() as uow:
            if outcome is Outcome.FAILED:
                kept = await self._failed(uow.pg, webhook, lease, line, reply.retry_after_s if reply else None)
            else:
                gone = outcome is Outcome.GONE
                kept = await repository.advance(
                    uow.pg,
                    webhook,
                    lease,
                    position=webhook.position if gone else entries[-1].position,
                    state=State.GONE if gone else State.ACTIVE,
                    error="the receiver answered 410 Gone" if gone else None,
                    delivered=not gone,
                )
            if kept:
                await repository.note_delivery(uow.pg, line)
        return entries[-1].position if kept and outcome is Outcome.DELIVERED else None

    async def _failed(self, pg: Any, webhook: Webhook, lease: str, line: dict[str, Any], asked_s: float | None) -> bool:
        """Try again later; what has been tried for the stated time, and is so old, is given up."""
        now = datetime.now(UTC)
        since = webhook.failing_since or now
        position = webhook.position
        words = line["error"] or f"the receiver answered {line['status']}"
        dead: dict[str, Any] | None = None
        if (now - since).total_seconds() >= webhook.give_up_s:
            last, events = await repository.last_written_before(pg, position, webhook.give_up_s)
            if last > position:
                dead = line | {
                    "outcome": Outcome.DEAD.value,
                    "last_position": last,
                    "first_position": position + 1,
                    "events": events,
                    "error": f"given up after {webhook.give_up_s} s: {words}",
                }
                position = last
        kept = await repository.advance(
            pg,
            webhook,
            lease,
            position=position,
            tries=webhook.tries + 1,
            failing_since=since,
            error=words,
            pause_s=pause_s(webhook.tries + 1, random.random(), asked_s),
        )
        if kept and dead is not None:
            PUSHES.labels(Outcome.DEAD.value).inc()
            log.error("events were given up", extra={"webhook": webhook.id, "up_to": position})
            await repository.note_delivery(pg, dead)
        return kept
