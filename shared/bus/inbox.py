"""The inbox: which records a service has already dealt with, kept in the transaction that deals with them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.bus.records import Partition
from shared.db import days
from shared.events.event import Event, Message
from shared.ids import day_of

INBOX_DAYS = 15
"""how long event ids are kept; older repeats are stopped by their sequence (architecture.md, "The runtime")"""


class Inbox:
    """Reads and writes the inbox tables of one schema. Every method runs on the caller's transaction."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    async def positions(self, pg: Any, topics: Sequence[str]) -> dict[Partition, int]:
        """Next offset of every partition that was ever read."""
        rows = await pg.fetch(
            f"SELECT topic, partition, next_offset FROM {self.schema}.inbox_offsets WHERE topic = ANY($1)", list(topics)
        )
        return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def claim(self, pg: Any, upcoming: Mapping[Partition, int]) -> tuple[dict[Partition, int], bool]:
        """Move the offsets to `upcoming` and return what they were, and whether any dead letter is open.

        The rows stay locked until the commit, so two readers of one partition (a rebalance, a stalled consumer that
        comes back) wait for each other here; a rollback moves the offsets back.
        """
        rows = await pg.fetch(
            "WITH p AS (SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) AS p(topic, partition, upcoming)),"
            f" old AS (SELECT o.topic, o.partition, o.next_offset FROM {self.schema}.inbox_offsets o"
            " JOIN p USING (topic, partition) ORDER BY o.topic, o.partition FOR UPDATE OF o)"
            f" UPDATE {self.schema}.inbox_offsets o SET next_offset = greatest(old.next_offset, p.upcoming)"
            " FROM p JOIN old USING (topic, partition) WHERE o.topic = p.topic AND o.partition = p.partition"
            " RETURNING o.topic, o.partition, old.next_offset, EXISTS"
            f" (SELECT 1 FROM {self.schema}.dead_letters WHERE status IN ('parked', 'waiting')) AS letters",
            [partition.topic for partition in upcoming],
            [partition.number for partition in upcoming],
            list(upcoming.values()),
        )
        before = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return before, any(row["letters"] for row in rows)

    async def begin(self, pg: Any, positions: Mapping[Partition, int]) -> None:
        """Rows for partitions that are read for the first time."""
        await pg.execute(
            f"INSERT INTO {self.schema}.inbox_offsets (topic, partition, next_offset)"
            " SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) ON CONFLICT DO NOTHING",
            [partition.topic for partition in positions],
            [partition.number for partition in positions],
            list(positions.values()),
        )

    async def rewind(self, pg: Any, partition: Partition, offset: int) -> None:
        """The log was made anew and is shorter than what was read: start at `offset`; event ids drop repeats."""
        await pg.execute(
            f"UPDATE {self.schema}.inbox_offsets SET next_offset = $3 WHERE topic = $1 AND partition = $2",
            partition.topic,
            partition.number,
            offset,
        )

    async def unseen(self, pg: Any, messages: Sequence[Message[Event]]) -> list[Message[Event]]:
        """Remember the ids of `messages`; returns those that were not there, each once (relays may send twice)."""
        oldest = datetime.now(UTC).date() - timedelta(days=INBOX_DAYS)
        first: dict[UUID | str, Message[Event]] = {}
        """by what the id says, not by how it is written: a UUID has many spellings"""
        days: dict[UUID, date] = {}
        for message in messages:
            try:
                day = day_of(message.id)
                identifier = UUID(message.id)
            except (ValueError, OverflowError, OSError):
                first.setdefault(message.id, message)  # a foreign id: the sequence guard alone stops a repeat
                continue
            first.setdefault(identifier, message)
            if day >= oldest:  # the partition of an older one is gone: stopped by `sequence`
                days[identifier] = day
        if days:
            rows = await pg.fetch(
                f"INSERT INTO {self.schema}.inbox_events (day, event_id)"
                " SELECT * FROM unnest($1::date[], $2::uuid[]) ON CONFLICT DO NOTHING RETURNING event_id",
                list(days.values()),
                list(days),
            )
            fresh = {row["event_id"] for row in rows}
            return [message for name, message in first.items() if name not in days or name in fresh]
        return list(first.values())

    async def care(self, pg: Any) -> None:
        """Make the day partitions of the days ahead and drop those past their time. Safe to call at any moment.

        Ids of days without a partition are in the default one; they move when their day gets its own.
        """
        await days.keep(pg, self.schema, "inbox_events", datetime.now(UTC).date(), INBOX_DAYS)
