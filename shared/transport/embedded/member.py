"""A member of a consumer group of the embedded log.

Membership is held by session advisory locks: a killed process loses its partitions with its connection.
"""

import asyncio
import logging
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from shared.bus.records import Partition, Received
from shared.events.stored import headers_from

if TYPE_CHECKING:
    from shared.transport.embedded.log import EmbeddedTransport

log = logging.getLogger(__name__)

REBALANCE_S = 1.0
LOOK_S = 0.5
STALLED_S = 15
"""a member that is silent for so long (it looks every `REBALANCE_S`) loses its partitions: its process hangs or its
machine is gone without a word"""


class EmbeddedConsumer:
    """A member of a group. It owns the partitions whose advisory lock its own connection holds."""

    def __init__(self, transport: "EmbeddedTransport", group: str, topics: frozenset[str]) -> None:
        self.transport = transport
        self.group = group
        self.topics = topics
        self.woken = asyncio.Event()
        self.look = True
        """whether PostgreSQL may have records that this process has not in memory"""
        self._session: Any = None
        self._owned: dict[Partition, int | None] = {}
        self._paused: set[Partition] = set()
        self._balancer: asyncio.Task[None] | None = None
        self._looked = 0.0

    async def start(self) -> None:
        try:
            await self._join()
            await self._balance()
        except BaseException:  # a member that is no more must not count as one
            await self._leave()
            raise
        self.transport._consumers.add(self)
        self._balancer = asyncio.create_task(self._keep_balance(), name=f"bus-balance-{self.group}")

    async def stop(self) -> None:
        self.transport._consumers.discard(self)
        if self._balancer is not None:
            self._balancer.cancel()
            await asyncio.gather(self._balancer, return_exceptions=True)
        await self._leave()

    async def _leave(self) -> None:
        self._owned.clear()
        if self._session is not None and not self._session.is_closed():
            await asyncio.gather(self._session.close(timeout=2), return_exceptions=True)

    async def _join(self) -> None:
        self.transport.forget()
        self._session = await asyncpg.connect(
            self.transport.url,
            timeout=10,
            command_timeout=10,
            server_settings={
                "application_name": f"sushu-bus-{self.group}",
                "idle_session_timeout": str(STALLED_S * 1000),
            },
        )
        await self._session.execute("SELECT pg_advisory_lock_shared(hashtext('sushu-group'), hashtext($1))", self.group)

    async def _keep_balance(self) -> None:
        while True:
            await asyncio.sleep(REBALANCE_S)
            try:
                if self._session.is_closed():
                    self._owned.clear()  # the locks went with the connection
                    await self._join()
                await self._balance()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("group membership lost, joining again", extra={"group": self.group, "error": str(error)})
                await self._leave()

    async def _balance(self) -> None:
        """Own a fair share of the partitions: give back what is too much, take what is free."""
        members = await self._session.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid = hashtext('sushu-group')::bigint & 4294967295"
            " AND objid = hashtext($1)::bigint & 4294967295 AND granted",
            self.group,
        )
        every = sorted(await self.transport.ends(self.topics))
        share = -(-len(every) // max(1, members))
        for partition in sorted(self._owned)[share:]:
            self._owned.pop(partition)
            await self._session.execute(
                "SELECT pg_advisory_unlock(hashtext($1), $2)", self._name(partition), partition.number
            )
        for partition in every:
            if len(self._owned) >= share:
                break
            if partition not in self._owned and await self._session.fetchval(
                "SELECT pg_try_advisory_lock(hashtext($1), $2)", self._name(partition), partition.number
            ):
                self._owned[partition] = None
                self.woken.set()

    def _name(self, partition: Partition) -> str:
        return f"{self.group}/{partition.topic}"

    def assigned(self) -> frozenset[Partition]:
        return frozenset(self._owned)

    def unplaced(self) -> frozenset[Partition]:
        return frozenset(partition for partition, offset in self._owned.items() if offset is None)

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._owned:
            self._owned[partition] = offset
            self.look = True
            self.woken.set()

    def pause(self, partition: Partition) -> None:
        self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self._paused.discard(partition)

    async def poll(self, limit: int, timeout: float) -> Sequence[Received]:
        self.woken.clear()
        records = await self._read(limit)
        if not records:
            try:
                async with asyncio.timeout(min(timeout, LOOK_S)):  # wait_for of 3.11 may swallow a cancellation
                    await self.woken.wait()
            except TimeoutError:
                self.look = True
            records = await self._read(limit)
        return records

    async def _read(self, limit: int) -> list[Received]:
        """From memory, and from PostgreSQL what is not there: a partition that lags must not wait for quiet others."""
        records = self._from_memory(limit)
        now = asyncio.get_running_loop().time()
        if self.look or now > self._looked + LOOK_S:
            self._looked = now
            self.look = False
            found = await self._from_log(limit, {record.partition for record in records})
            self.look = self.look or bool(found)
            records += found
        return records

    def _places(self) -> dict[Partition, int]:
        return {
            partition: offset
            for partition, offset in self._owned.items()
            if offset is not None and partition not in self._paused
        }

    def _from_memory(self, limit: int) -> list[Received]:
        """Records that follow each position without a gap, as far as this process has them in memory."""
        records: list[Received] = []
        recent = self.transport.recent
        places = [(place, offset) for place, offset in self._places().items() if recent(place, offset)]
        each = max(1, limit // max(1, len(places)))
        for partition, start in places:
            offset = start
            while offset < start + each and (record := recent(partition, offset)) is not None:
                records.append(record)
                offset += 1
            self._owned[partition] = offset
        return records

    async def _from_log(self, limit: int, served: Container[Partition]) -> list[Received]:
        places = {place: offset for place, offset in self._places().items() if place not in served}
        if not places:
            return []
        each = max(1, limit // len(places)) if len(places) > 1 else limit
        try:
            rows = await self.transport.fetch(
                "SELECT l.topic, l.partition, l.log_offset, l.key, l.headers, l.value"
                " FROM unnest($1::text[], $2::int[], $3::bigint[]) AS w(topic, partition, start)"
                " CROSS JOIN LATERAL (SELECT * FROM bus.log l WHERE l.topic = w.topic AND l.partition = w.partition"
                " AND l.log_offset >= w.start ORDER BY l.log_offset LIMIT $4) l",
                [place.topic for place in places],
                [place.number for place in places],
                list(places.values()),
                each,
            )
        except Exception:
            self.look = True
            raise
        records: list[Received] = []
        for row in rows:
            partition = Partition(row["topic"], row["partition"])
            if self._owned.get(partition) is None:
                continue  # given back while we read
            known = self.transport.recent(partition, row["log_offset"])
            records.append(
                known
                or self.transport.remember(
                    Received(partition, row["log_offset"], row["key"], headers_from(row["headers"]), row["value"])
                )
            )
            self._owned[partition] = row["log_offset"] + 1
        return records

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Nothing to tell: the inbox of the service is in the same PostgreSQL."""
