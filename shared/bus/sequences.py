"""Facts in order: each fact of a key exactly once and in the order of its `sequence` (`order="facts"`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.bus.records import Received
from shared.events.event import Event, Headers, Message, read_from
from shared.events.stored import headers_from, headers_json

Place = tuple[str, str]
"""(topic, key)"""
GIVEN_UP = "sushu.given-up"
"""type of what stands in the sequence for a discarded fact"""


class Sequences:
    """How far each key was applied, and the facts that came early. Every method runs on the caller's transaction."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

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

    async def early(self, pg: Any, topic: str, key: str) -> tuple[int, Headers, bytes] | None:
        """The kept fact of `key` whose turn it is, if any; nobody else takes it or drops it until the commit."""
        row = await pg.fetchrow(
            f"SELECT e.sequence, e.headers, e.value FROM {self.schema}.inbox_sequences s"
            f" JOIN {self.schema}.inbox_early e"
            " ON e.topic = s.topic AND e.key = s.key AND e.sequence = s.last_sequence + 1"
            " WHERE s.topic = $1 AND s.key = $2 FOR UPDATE OF s, e",
            topic,
            key,
        )
        return (row["sequence"], headers_from(row["headers"]), row["value"]) if row else None

    async def drop_early(self, pg: Any, topic: str, key: str, sequence: int) -> bool:
        """Forget the fact that `early` gave; False when somebody else has dealt with it meanwhile."""
        dropped = await pg.fetchval(
            f"DELETE FROM {self.schema}.inbox_early WHERE topic = $1 AND key = $2 AND sequence = $3 RETURNING true",
            topic,
            key,
            sequence,
        )
        return dropped is True

    async def overdue(self, pg: Any) -> list[tuple[str, str]]:
        """(topic, key) of kept facts whose turn it is: they are handed over one by one just now, or a crash left them
        between two transactions."""
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
