"""The inbox: which records a service has already dealt with, kept in the transaction that deals with them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.bus.records import Partition, Received
from shared.events.event import Event, Headers, Message, read_from
from shared.ids import day_of
from shared.outbox.uow import headers_from, headers_json

INBOX_DAYS = 15
"""how long event ids are kept; older repeats are stopped by their sequence (architecture.md, "The runtime")"""
Place = tuple[str, str]
"""(topic, key)"""
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
        arrivals: Sequence[tuple[Message[Event], Received]],
        decode: Callable[[Headers, bytes], Message[Event]],
        *,
        alone: bool = False,
    ) -> list[Message[Event]]:
        """The messages whose turn it is, each key in sequence order without repeats; early ones are kept until the
        gap before them closes. `alone`: those that an arrival lets through stay where they are (see `early`)."""
        runs: dict[Place, dict[int, tuple[Message[Event], Received | None]]] = {}
        for message, received in arrivals:
            place = (received.partition.topic, message.key)
            runs.setdefault(place, {}).setdefault(message.sequence, (message, received))
        moved = await self._follow_on(pg, runs)
        ready = [run[number][0] for place, run in runs.items() if place in moved for number in sorted(run)]
        rest = {place: run for place, run in runs.items() if place not in moved}
        if rest:
            ready += await self._sort_out(pg, rest, decode, alone=alone)
        return [message for message in ready if message.type != GIVEN_UP]

    async def _follow_on(self, pg: Any, runs: Mapping[Place, Mapping[int, Any]]) -> set[Place]:
        """Move on, in one statement, the keys whose run follows without a gap on what was applied and for which
        nothing early is kept. That is nearly every key at nearly every time."""
        whole = [
            (topic, key, min(run), max(run))
            for (topic, key), run in sorted(runs.items())
            if max(run) - min(run) + 1 == len(run)
        ]
        if not whole:
            return set()
        rows = await pg.fetch(
            "WITH r AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])"
            " AS r(topic, key, first, last)"
            f" WHERE NOT EXISTS (SELECT 1 FROM {self.schema}.inbox_early e WHERE e.topic = r.topic AND e.key = r.key)),"
            f" begun AS (INSERT INTO {self.schema}.inbox_sequences (topic, key, last_sequence)"
            " SELECT topic, key, last FROM r WHERE first = 1 ON CONFLICT DO NOTHING RETURNING topic, key),"
            f" moved AS (UPDATE {self.schema}.inbox_sequences s SET last_sequence = r.last FROM r"
            " WHERE s.topic = r.topic AND s.key = r.key AND s.last_sequence = r.first - 1 RETURNING s.topic, s.key)"
            " SELECT * FROM begun UNION ALL SELECT * FROM moved",
            *(list(column) for column in zip(*whole, strict=True)),
        )
        return {(row["topic"], row["key"]) for row in rows}

    async def _sort_out(
        self,
        pg: Any,
        waiting: dict[Place, dict[int, tuple[Message[Event], Received | None]]],
        decode: Callable[[Headers, bytes], Message[Event]],
        *,
        alone: bool,
    ) -> list[Message[Event]]:
        """`in_order` for keys with a gap, a repeat or early facts."""
        topics, keys = [topic for topic, _ in sorted(waiting)], [key for _, key in sorted(waiting)]
        last: dict[Place, int] = {
            (row["topic"], row["key"]): row["last_sequence"]
            for row in await pg.fetch(
                f"SELECT topic, key, last_sequence FROM {self.schema}.inbox_sequences WHERE (topic, key) IN"
                " (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY topic, key FOR UPDATE",
                topics,
                keys,
            )
        }
        for place, run in waiting.items():
            for number in [number for number in run if number <= last.get(place, 0)]:
                del run[number]
        kept = alone
        if not alone:
            for row in await pg.fetch(
                f"SELECT topic, key, sequence, headers, value FROM {self.schema}.inbox_early WHERE (topic, key) IN"
                " (SELECT * FROM unnest($1::text[], $2::text[]))",
                topics,
                keys,
            ):
                message = read_from(row["topic"], decode(headers_from(row["headers"]), row["value"]))
                waiting[row["topic"], row["key"]].setdefault(row["sequence"], (message, None))
                kept = True
        ready: list[Message[Event]] = []
        moved: dict[Place, int] = {}
        for place, run in waiting.items():
            upcoming = last.get(place, 0) + 1
            while upcoming in run:
                ready.append(run.pop(upcoming)[0])
                moved[place] = upcoming
                upcoming += 1
        early = [
            (place, number, received)
            for place, run in waiting.items()
            for number, (_, received) in run.items()
            if received is not None
        ]
        if early:
            await pg.execute(
                f"INSERT INTO {self.schema}.inbox_early (topic, key, sequence, headers, value) SELECT * FROM"
                " unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[], $5::bytea[]) ON CONFLICT DO NOTHING",
                [topic for (topic, _), _, _ in early],
                [key for (_, key), _, _ in early],
                [number for _, number, _ in early],
                [headers_json(received.headers) for _, _, received in early],
                [received.value for _, _, received in early],
            )
        if moved:
            places = ([topic for topic, _ in moved], [key for _, key in moved], list(moved.values()))
            if kept:
                await pg.execute(
                    f"DELETE FROM {self.schema}.inbox_early e"
                    " USING unnest($1::text[], $2::text[], $3::bigint[]) AS m(topic, key, last)"
                    " WHERE e.topic = m.topic AND e.key = m.key AND e.sequence <= m.last",
                    *places,
                )
            await pg.execute(
                f"INSERT INTO {self.schema}.inbox_sequences (topic, key, last_sequence)"
                " SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])"
                " ON CONFLICT (topic, key) DO UPDATE SET last_sequence = excluded.last_sequence",
                *places,
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
