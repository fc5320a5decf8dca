"""The outbox relay: one active per service hands committed rows to the bus (architecture.md, "The runtime").

Rows are taken as they are visible and deleted once the bus has them, so an id that commits late is never skipped.
Within a key ids rise in the order of commits, because the writer holds the aggregate's row lock when it takes an id.
A crash between sending and deleting sends again: the inbox of every reader drops the repeat.
"""

import asyncio
import contextlib
import logging
from typing import Any

from shared.bus.records import Record, Rejected, Transport
from shared.db.database import Database, is_transient
from shared.events.stored import headers_from
from shared.telemetry import metrics

log = logging.getLogger(__name__)

BATCH = 1000
POLL_S = 0.1
SLOW_S = 3.0
"""a send that lasts longer is told by the readiness of the service"""
LONGEST_PAUSE_S = 1.0
"""between two tries while the database or the bus is away: what waits in the outbox leaves soon after they are back"""


class Relay:
    """Sends the outbox of one service. Several may run; the advisory lock lets one work."""

    def __init__(self, database: Database, transport: Transport, *, pace_s: float = 0.0) -> None:
        """`pace_s`: at most one look in so many seconds. The first row after a pause leaves at once, a stream is
        gathered (ADR 0008)."""
        self.database = database
        self.transport = transport
        self.pace_s = pace_s
        self._trouble: str | None = None
        self._sending_since: float | None = None

    @property
    def trouble(self) -> str | None:
        """What keeps rows from flowing; None when nothing does. A bus that hangs says nothing for long: that is told
        too."""
        if self._trouble is None and self._sending_since is not None:
            seconds = asyncio.get_running_loop().time() - self._sending_since
            if seconds > SLOW_S:
                return f"outbox waits: the bus has not answered for {seconds:.0f} s"
        return self._trouble

    async def run(self) -> None:
        """Relay until cancelled."""
        failures = 0
        while True:
            session: Any = None
            sent: list[int] = []
            try:
                session = await self.database.dedicated()
                while not await session.fetchval(
                    "SELECT pg_try_advisory_lock(hashtext('sushu-relay'), hashtext($1))", self.database.schema
                ):
                    self.database.relay_is_here = False
                    await asyncio.sleep(1)
                self.database.relay_is_here = True
                await session.add_listener(self.database.bell.channel, lambda *_: self.database.committed.set())
                while True:
                    self.database.committed.clear()
                    pace = asyncio.get_running_loop().time() + self.pace_s
                    rows = await self._next(session, sent)
                    sent = []
                    sent = await self._send(session, rows)
                    failures = 0
                    self._trouble = None
                    if len(rows) < BATCH:
                        await self._wait(pace, POLL_S if not sent else self.pace_s)
            except asyncio.CancelledError:
                if sent:
                    await asyncio.shield(asyncio.gather(self._next(session, sent), return_exceptions=True))
                raise
            except Exception as error:
                failures += 1
                passing = is_transient(error)
                self._trouble = f"outbox waits: {error}"
                log.log(
                    logging.WARNING if passing else logging.ERROR,
                    "relay trouble, trying again",
                    extra={"service": self.database.schema, "error": str(error)},
                    exc_info=not passing,
                )
                await asyncio.sleep(min(LONGEST_PAUSE_S, 0.05 * 2**failures))
            finally:
                if session is not None and not session.is_closed():
                    await asyncio.shield(asyncio.gather(session.close(timeout=1), return_exceptions=True))

    async def _wait(self, pace: float, longest: float) -> None:
        """Until something is committed or `longest` seconds, and never before `pace`."""
        loop = asyncio.get_running_loop()
        if longest:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest):  # wait_for of 3.11 may swallow a cancellation
                    await self.database.committed.wait()
        if (left := pace - loop.time()) > 0:
            await asyncio.sleep(left)

    async def _next(self, session: Any, sent: list[int]) -> list[Any]:
        """Delete what was sent and read what is to be sent next, in one statement."""
        outbox = f"{self.database.schema}.outbox"
        gone = f"WITH gone AS (DELETE FROM {outbox} WHERE id = ANY($2))" if sent else ""
        rows: list[Any] = await session.fetch(
            f"{gone} SELECT id, topic, key, headers, value FROM {outbox} o WHERE parked IS NULL"
            f" AND NOT EXISTS (SELECT 1 FROM {outbox} p WHERE p.parked IS NOT NULL"
            f" AND p.topic = o.topic AND p.key = o.key){' AND id <> ALL($2)' if sent else ''} ORDER BY id LIMIT $1",
            BATCH,
            *([sent] if sent else []),
        )
        return rows

    async def _send(self, session: Any, rows: list[Any]) -> list[int]:
        """Hand `rows` to the bus; returns the ids of those that it has."""
        if not rows:
            return []
        records = [Record(row["topic"], row["key"], headers_from(row["headers"]), row["value"]) for row in rows]
        sent = [row["id"] for row in rows]
        self._sending_since = asyncio.get_running_loop().time()
        try:
            await self.transport.publish(records)
        except Rejected:
            sent = await self._one_by_one(session, rows, records)
        finally:
            self._sending_since = None
        metrics.RELAYED.labels(self.database.schema).inc(len(sent))
        return sent

    async def _one_by_one(self, session: Any, rows: list[Any], records: list[Record]) -> list[int]:
        done: list[int] = []
        parked: set[tuple[str, str]] = set()
        for row, record in zip(rows, records, strict=True):
            if (record.topic, record.key) in parked:
                continue
            try:
                await self.transport.publish([record])
                done.append(row["id"])
            except Rejected as refused:
                parked.add((record.topic, record.key))
                log.error(
                    "outbox row parked: the bus will never take it",
                    extra={"service": self.database.schema, "topic": record.topic, "id": row["id"]},
                )
                await session.execute(
                    f"UPDATE {self.database.schema}.outbox SET parked = $2 WHERE id = $1", row["id"], str(refused)
                )
        return done
