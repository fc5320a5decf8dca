"""Pulls the journals of the platforms below, each in order and at its own pace, whatever becomes of the others.

Every replica runs one. Who pulls from a platform holds the lease of its row; position and events are written in one
transaction under that lease. So a kill at any moment skips nothing and publishes nothing twice, and what two replicas
fetched at the same time counts once. Real time throughout: leases and back-off never follow the business clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from urllib.parse import urlencode

import httpx
from prometheus_client import Counter

from services.journal.peers import repository
from services.journal.peers.answers import TYPES, NotBelieved, Page, page_of, pause_s
from shared.db.database import Database
from shared.errors import Problem, Transient
from shared.federation.peers import Peers
from shared.ids import uuid7

log = logging.getLogger(__name__)

PULLED = Counter("sushu_peer_events_total", "Events pulled from the platforms below", ["platform"])
FAILED = Counter("sushu_peer_pulls_failed_total", "Calls to the platforms below that brought nothing", ["platform"])

LOOK_S = 0.5
LIMIT = 500
WAIT_S = 5
"""how long a platform holds a call while there is no news; shorter than what its stopping waits for"""
WHOLE_S = 45.0
"""of a call; shorter than the lease"""
TIMEOUT = httpx.Timeout(30, connect=3)
ANSWER_BYTES = 32_000_000


class Puller:
    """`run` is background work of every replica."""

    def __init__(self, peers: Peers, database: Database) -> None:
        self.peers = peers
        self.database = database
        self._ways: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
            try:
                while True:
                    try:
                        await self._look(client)
                    except Transient as error:
                        log.warning("pulling from platforms waits for the store", extra={"error": str(error)})
                    await asyncio.sleep(LOOK_S)
            finally:
                for task in self._ways.values():
                    task.cancel()
                await asyncio.gather(*self._ways.values(), return_exceptions=True)

    async def _look(self, client: httpx.AsyncClient) -> None:
        free = [code for code in self.peers.children if code not in self._ways]
        if not free:
            return
        lease = uuid7()
        async with self.database.transaction() as uow:
            claimed = await repository.claim(uow.pg, free, lease)
        for platform, position in claimed.items():
            task = asyncio.create_task(self._serve(client, platform, lease, position), name=f"from-{platform}")
            self._ways[platform] = task
            task.add_done_callback(partial(self._forget, platform))

    def _forget(self, platform: str, _: asyncio.Task[None]) -> None:
        self._ways.pop(platform, None)

    async def _serve(self, client: httpx.AsyncClient, platform: str, lease: str, position: int) -> None:
        """Pull what there is and wait for more, until the platform is away or somebody else pulls."""
        pause = 0.0
        try:
            while platform in self.peers.children:
                page = page_of(await self._fetch(client, platform, position), platform, position)
                if not await self._keep(platform, lease, position, page):
                    return
                if page.position == position:
                    await asyncio.sleep(LOOK_S)  # who holds no calls must not be called all the time
                position = page.position
        except Transient as error:
            log.warning(
                "pulling from a platform waits for the store", extra={"platform": platform, "error": str(error)}
            )
        except (NotBelieved, Problem, httpx.HTTPError, TimeoutError, OSError) as error:
            pause = await self._failed(platform, lease, f"{error}" or type(error).__name__)
        except Exception as error:
            log.exception("pulling from a platform failed", extra={"platform": platform})
            pause = await self._failed(platform, lease, type(error).__name__)
        finally:
            await self._release(platform, lease, pause)

    async def _fetch(self, client: httpx.AsyncClient, platform: str, position: int) -> bytes:
        """The bytes behind `position`. Raises `NotBelieved` and what httpx raises."""
        peer = self.peers.reachable(platform)
        if peer is None:
            raise NotBelieved("the platform is not in the directory any more")
        query = urlencode({"after": position, "limit": LIMIT, "types": ",".join(TYPES), "wait_s": WAIT_S})
        url, headers = self.peers.signed(peer, "GET", "/v1/events", b"", query)
        async with asyncio.timeout(WHOLE_S), client.stream("GET", url, headers=headers) as answer:
            held = bytearray()
            async for part in answer.aiter_bytes():
                held += part
                if len(held) > ANSWER_BYTES:
                    raise NotBelieved(f"the answer has more than {ANSWER_BYTES} bytes")
        if answer.status_code != 200:
            words = bytes(held[:300]).decode(errors="replace").replace("\x00", "")
            raise NotBelieved(f"answered {answer.status_code}: {words}")
        return bytes(held)

    async def _keep(self, platform: str, lease: str, before: int, page: Page) -> bool:
        async with self.database.transaction() as uow:
            kept = await repository.advance(uow.pg, platform, lease, before, page.position, len(page.records))
            if kept:
                for record in page.records:
                    uow.publish(record)
        if kept and page.records:
            PULLED.labels(platform).inc(len(page.records))
        return kept

    async def _failed(self, platform: str, lease: str, error: str) -> float:
        """Seconds until the next try."""
        FAILED.labels(platform).inc()
        try:
            async with self.database.transaction() as uow:
                tries = await repository.fail(uow.pg, platform, lease, error)
        except Transient:
            return 0.0
        wait = pause_s(max(1, tries), random.random())
        log.log(
            logging.WARNING if tries == 1 else logging.INFO,
            "a platform cannot be pulled from",
            extra={"platform": platform, "error": error, "again_in_s": round(wait, 1)},
        )
        return wait

    async def _release(self, platform: str, lease: str, pause: float) -> None:
        try:
            async with self.database.transaction() as uow:
                await repository.release(uow.pg, platform, lease, pause)
        except Transient:
            pass  # the lease ends by itself
