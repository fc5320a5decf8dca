"""The inbox: which records a service has already dealt with, kept in the transaction that deals with them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.bus.records import Partition, Received
from shared.events.event import Event, Headers, Message
from shared.ids import day_of
from shared.outbox.uow import headers_from, headers_json

INBOX_DAYS = 15
"""how long event ids are kept; older repeats are stopped by their sequence (architecture.md, "The runtime")"""
GIVEN_UP = "sushu.given-up"
"""type of what stands in the sequence for a discarded fact"""


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

    async def in_order(
        self,
        pg: Any,
        topic: str,
        arrivals: Sequence[tuple[Message[Event], Received]],
        decode: Callable[[Headers, bytes], Message[Event]],
        *,
        alone: bool = False,
    ) -> list[Message[Event]]:
        """The messages whose turn it is, each key in sequence order without repeats; early ones are kept until the
        gap before them closes. `alone`: those that an arrival lets through stay where they are (see `early`)."""
        keys = sorted({message.key for message, _ in arrivals})
        last: dict[str, int] = {
            row["key"]: row["last_sequence"]
            for row in await pg.fetch(
                f"SELECT key, last_sequence FROM {self.schema}.inbox_sequences"
                " WHERE topic = $1 AND key = ANY($2) ORDER BY key FOR UPDATE",
                topic,
                keys,
            )
        }
        waiting: dict[str, dict[int, tuple[Message[Event], Received | None]]] = {}
        for message, received in arrivals:
            if message.sequence > last.get(message.key, 0):
                waiting.setdefault(message.key, {})[message.sequence] = (message, received)
        kept = alone
        if waiting and not alone:
            for row in await pg.fetch(
                f"SELECT key, sequence, headers, value FROM {self.schema}.inbox_early"
                " WHERE topic = $1 AND key = ANY($2)",
                topic,
                list(waiting),
            ):
                message = decode(headers_from(row["headers"]), row["value"])
                waiting[row["key"]].setdefault(row["sequence"], (message, None))
                kept = True
        ready: list[Message[Event]] = []
        moved: dict[str, int] = {}
        for key, by_number in waiting.items():
            upcoming = last.get(key, 0) + 1
            while upcoming in by_number:
                message, _ = by_number.pop(upcoming)
                if message.type != GIVEN_UP:
                    ready.append(message)
                moved[key] = upcoming
                upcoming += 1
        early = [
            (message, received)
            for by_number in waiting.values()
            for message, received in by_number.values()
            if received is not None
        ]
        if early:
            await pg.execute(
                f"INSERT INTO {self.schema}.inbox_early (topic, key, sequence, headers, value)"
                " SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::jsonb[], $5::bytea[]) ON CONFLICT DO NOTHING",
                topic,
                [message.key for message, _ in early],
                [message.sequence for message, _ in early],
                [headers_json(received.headers) for _, received in early],
                [received.value for _, received in early],
            )
        if kept and moved:
            await pg.execute(
                f"DELETE FROM {self.schema}.inbox_early e USING unnest($2::text[], $3::bigint[]) AS m(key, last)"
                " WHERE e.topic = $1 AND e.key = m.key AND e.sequence <= m.last",
                topic,
                list(moved),
                list(moved.values()),
            )
        if moved:
            await pg.execute(
                f"INSERT INTO {self.schema}.inbox_sequences (topic, key, last_sequence)"
                " SELECT $1, * FROM unnest($2::text[], $3::bigint[])"
                " ON CONFLICT (topic, key) DO UPDATE SET last_sequence = excluded.last_sequence",
                topic,
                list(moved),
                list(moved.values()),
            )
        return ready

    async def early(self, pg: Any, topic: str, key: str) -> tuple[Headers, bytes] | None:
        """The kept fact of `key` whose turn it is, if any; the key is locked until the commit."""
        row = await pg.fetchrow(
            f"SELECT e.headers, e.value FROM {self.schema}.inbox_sequences s JOIN {self.schema}.inbox_early e"
            " ON e.topic = s.topic AND e.key = s.key AND e.sequence = s.last_sequence + 1"
            " WHERE s.topic = $1 AND s.key = $2 FOR UPDATE OF s",
            topic,
            key,
        )
        return (headers_from(row["headers"]), row["value"]) if row else None

    async def drop_early(self, pg: Any, topic: str, key: str) -> None:
        """Forget the fact that `early` gave."""
        await pg.execute(
            f"DELETE FROM {self.schema}.inbox_early e USING {self.schema}.inbox_sequences s WHERE e.topic = s.topic"
            " AND e.key = s.key AND e.sequence = s.last_sequence + 1 AND s.topic = $1 AND s.key = $2",
            topic,
            key,
        )

    async def overdue(self, pg: Any) -> list[tuple[str, str]]:
        """(topic, key) of kept facts whose turn it is: a crash left them between two transactions."""
        rows = await pg.fetch(
            f"SELECT e.topic, e.key FROM {self.schema}.inbox_early e JOIN {self.schema}.inbox_sequences s"
            " ON e.topic = s.topic AND e.key = s.key AND e.sequence = s.last_sequence + 1"
        )
        return [(row["topic"], row["key"]) for row in rows]

    async def give_up(self, pg: Any, topic: str, empty: Message[Event], headers: Headers) -> None:
        """Nobody waits for this fact any more: `empty` (of type `GIVEN_UP`) stands in its place until its turn."""
        await pg.execute(
            f"INSERT INTO {self.schema}.inbox_sequences VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", topic, empty.key
        )
        await pg.execute(
            f"INSERT INTO {self.schema}.inbox_early (topic, key, sequence, headers, value)"
            f" SELECT topic, key, $3, $4, '' FROM {self.schema}.inbox_sequences"
            " WHERE topic = $1 AND key = $2 AND last_sequence < $3 ON CONFLICT DO NOTHING",
            topic,
            empty.key,
            empty.sequence,
            headers_json(headers),
        )

    async def care(self, pg: Any) -> None:
        """Make the day partitions of the days ahead and drop those past their time. Safe to call at any moment.

        Ids of days without a partition are in the default one; they move when their day gets its own.
        """
        today = datetime.now(UTC).date()
        table = f"{self.schema}.inbox_events"
        await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"care/{table}")
        have = {
            row["relname"]
            for row in await pg.fetch(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = $1::regclass",
                table,
            )
        }
        for offset in range(-1, 3):
            day = today + timedelta(days=offset)
            name = f"inbox_events_{day:%Y%m%d}"
            if name not in have:
                await pg.execute(
                    f"CREATE TABLE {self.schema}.{name} (LIKE {table} INCLUDING ALL);"
                    f"WITH moved AS (DELETE FROM {table}_other WHERE day = '{day}' RETURNING *)"
                    f" INSERT INTO {self.schema}.{name} SELECT * FROM moved;"
                    f"ALTER TABLE {table} ATTACH PARTITION {self.schema}.{name}"
                    f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
                )
        oldest = today - timedelta(days=INBOX_DAYS)
        for name in have:
            suffix = name.removeprefix("inbox_events_")
            if suffix.isdigit() and suffix < f"{oldest:%Y%m%d}":
                await pg.execute(f"DROP TABLE IF EXISTS {self.schema}.{name}")
        await pg.execute(f"DELETE FROM {table}_other WHERE day < $1", oldest)
