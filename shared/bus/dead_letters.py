"""Dead letters: records that could not be handled, kept with their bytes, the reason and what waits behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.bus.records import Partition, Received, Record
from shared.bus.sequences import GIVEN_UP
from shared.errors import Poison, Problem, Transient, not_found
from shared.outbox.uow import Uow, headers_from, headers_json

if TYPE_CHECKING:
    from shared.bus.worker import Worker


LONGEST_REASON = 2_000


def reason_of(error: BaseException) -> str:
    """Name and words of an error as any column and header takes them."""
    text = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
    return text.replace("\x00", "").encode(errors="replace").decode()


class DeadLetters:
    """The dead letters of one service's group. They are also published on `<topic>.dlt.<group>` for the broker's
    tools; the table is what replay works on."""

    def __init__(self, schema: str, group: str) -> None:
        self.schema = schema
        self.group = group
        self.table = f"{schema}.dead_letters"

    async def held_keys(self, pg: Any, records: Sequence[Received]) -> set[tuple[str, str]]:
        """(topic, key) of those records whose key waits behind a dead letter."""
        rows = await pg.fetch(
            f"SELECT DISTINCT topic, key FROM {self.table} WHERE status IN ('parked', 'waiting')"
            " AND (topic, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            [record.partition.topic for record in records],
            [record.key for record in records],
        )
        if not rows:
            return set()
        await self._lock(pg)  # a replay may be emptying the queue of a key just now: look again after it
        rows = await pg.fetch(
            f"SELECT DISTINCT topic, key FROM {self.table} WHERE status IN ('parked', 'waiting')"
            " AND (topic, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            [record.partition.topic for record in records],
            [record.key for record in records],
        )
        return {(row["topic"], row["key"]) for row in rows}

    async def _lock(self, pg: Any) -> None:
        await pg.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"dead-letters/{self.table}")

    async def add(self, uow: Uow, records: Sequence[Received], reason: str, attempts: int, status: str) -> None:
        """Store `records`; parked ones are published on their dead-letter topic too."""
        await uow.pg.execute(
            f"INSERT INTO {self.table}"
            " (topic, partition, log_offset, key, headers, value, reason, attempts, status)"
            " SELECT topic, partition, log_offset, key, headers, value, $7, $8, $9 FROM unnest("
            "$1::text[], $2::int[], $3::bigint[], $4::text[], $5::jsonb[], $6::bytea[])"
            " WITH ORDINALITY AS r(topic, partition, log_offset, key, headers, value, n) ORDER BY n",
            [record.partition.topic for record in records],
            [record.partition.number for record in records],
            [record.offset for record in records],
            [record.key for record in records],
            [headers_json(record.headers) for record in records],
            [record.value for record in records],
            reason,
            attempts,
            status,
        )
        if status == "parked":
            for record in records:
                extra = (
                    ("dlt-reason", reason.encode()),
                    ("dlt-group", self.group.encode()),
                    ("dlt-attempts", str(attempts).encode()),
                    ("dlt-partition", str(record.partition.number).encode()),
                    ("dlt-offset", str(record.offset).encode()),
                )
                uow.publish(
                    Record(
                        f"{record.partition.topic}.dlt.{self.group}", record.key, record.headers + extra, record.value
                    )
                )

    async def list(self, pg: Any, *, status: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Dead letters by id; bodies are not shown here, they may hold a citizen's words."""
        rows = await pg.fetch(
            "SELECT id, topic, partition, log_offset, key, reason, attempts, status, created_at, ended_at,"
            " octet_length(value) AS bytes"
            f" FROM {self.table} WHERE id > $1 AND ($2::text IS NULL OR status = $2) ORDER BY id LIMIT $3",
            after,
            status,
            limit,
        )
        return [dict(row) for row in rows]

    async def discard(self, worker: Worker, uow: Uow, letter_id: int) -> tuple[str, str]:
        """Give a letter up for good: where facts are counted, an empty one takes its place, so that later ones need
        not wait for it. Returns (topic, key), whose letters the caller lets `follow` after the commit.

        Raises `Problem` 404/409.
        """
        await self._lock(uow.pg)
        row = await self._open(uow.pg, letter_id)
        await uow.pg.execute(f"UPDATE {self.table} SET status = 'discarded', ended_at = now() WHERE id = $1", letter_id)
        subscription = worker.subscriptions.get(row["topic"])
        if subscription is not None and subscription.order == "facts":
            headers = tuple(
                (name, GIVEN_UP.encode() if name == "ce_type" else value)
                for name, value in headers_from(row["headers"])
            )
            try:
                empty = worker.decoder(headers, b"")
            except Poison:
                pass  # it never had a number: nothing waits for it
            else:
                await worker.sequences.give_up(uow.pg, row["topic"], empty, headers)
        return row["topic"], row["key"]

    async def replay(self, worker: Worker, letter_id: int, value: bytes | None = None) -> dict[str, Any]:
        """Handle a letter again (`value`: an edited body) and, when that works, what waits behind it.

        Raises the handler's exception when one fails again; that letter is parked with the new reason.
        """
        async with worker.database.read() as raw:
            row = await self._open(raw, letter_id)
        return await self.follow(worker, row["topic"], row["key"], {} if value is None else {letter_id: value})

    async def follow(
        self, worker: Worker, topic: str, key: str, edited: Mapping[int, bytes] | None = None
    ) -> dict[str, Any]:
        """Handle the open letters of a key, oldest first, each in its own transaction, then the facts kept for it."""
        handled = 0
        while await self._again(worker, topic, key, edited or {}):
            handled += 1
        await worker.release(topic, key)
        async with worker.database.read() as raw:
            left = await raw.fetchval(
                f"SELECT count(*) FROM {self.table} WHERE topic = $1 AND key = $2 AND status IN ('parked', 'waiting')",
                topic,
                key,
            )
        return {"replayed": handled, "left": left}

    async def _again(self, worker: Worker, topic: str, key: str, edited: Mapping[int, bytes]) -> bool:
        letter_id: int | None = None
        try:
            async with worker.database.transaction() as uow:
                await self._lock(uow.pg)
                row = await uow.pg.fetchrow(
                    f"SELECT * FROM {self.table} WHERE topic = $1 AND key = $2 AND status IN ('parked', 'waiting')"
                    " ORDER BY id LIMIT 1 FOR UPDATE",
                    topic,
                    key,
                )
                if row is None:
                    return False
                letter_id = int(row["id"])
                place = Partition(topic, row["partition"])
                record = Received(
                    place, row["log_offset"], key, headers_from(row["headers"]), edited.get(letter_id, row["value"])
                )
                await worker.deliver(uow, [record], alone=True)
                await uow.pg.execute(
                    f"UPDATE {self.table} SET status = 'replayed', ended_at = now() WHERE id = $1", letter_id
                )
        except Exception as error:
            if letter_id is not None and not isinstance(error, Transient):
                async with worker.database.transaction() as uow:
                    await uow.pg.execute(
                        f"UPDATE {self.table} SET status = 'parked', reason = $2, attempts = attempts + 1"
                        " WHERE id = $1 AND status IN ('parked', 'waiting')",
                        letter_id,
                        reason_of(error),
                    )
            raise
        return True

    async def _open(self, pg: Any, letter_id: int) -> Any:
        row = await pg.fetchrow(f"SELECT topic, key, headers, status FROM {self.table} WHERE id = $1", letter_id)
        if row is None:
            raise not_found(f"dead letter {letter_id}")
        if row["status"] not in ("parked", "waiting"):
            raise Problem(409, "already_ended", f"Dead letter {letter_id} is {row['status']}.")
        return row
