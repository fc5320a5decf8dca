"""Dead letters: records that could not be handled, kept with their bytes, the reason and what waits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.bus.records import Partition, Received, Record
from shared.errors import Problem, not_found
from shared.outbox.uow import Uow, headers_from, headers_json

if TYPE_CHECKING:
    from shared.bus.worker import Worker


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
            [record.key.replace("\x00", "") for record in records],
            [headers_json(record.headers) for record in records],
            [record.value for record in records],
            reason.replace("\x00", ""),
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

    async def discard(self, uow: Uow, letter_id: int) -> None:
        """Give a parked letter up for good. What waits behind it is handled by the next `replay` of the key's head.

        Raises `Problem` 404/409.
        """
        await self._lock(uow.pg)
        status = await uow.pg.fetchval(f"SELECT status FROM {self.table} WHERE id = $1 FOR UPDATE", letter_id)
        if status is None:
            raise not_found(f"dead letter {letter_id}")
        if status not in ("parked", "waiting"):
            raise Problem(409, "already_ended", f"Dead letter {letter_id} is {status}.")
        await uow.pg.execute(f"UPDATE {self.table} SET status = 'discarded', ended_at = now() WHERE id = $1", letter_id)

    async def replay(self, worker: Worker, letter_id: int, value: bytes | None = None) -> dict[str, Any]:
        """Handle a letter and then, one by one, those waiting behind it. Each in its own transaction."""
        async with worker.database.read() as raw:
            head = await raw.fetchrow(f"SELECT topic, key, status FROM {self.table} WHERE id = $1", letter_id)
        if head is None:
            raise not_found(f"dead letter {letter_id}")
        if head["status"] not in ("parked", "waiting"):
            raise Problem(409, "already_ended", f"Dead letter {letter_id} is {head['status']}.")
        handled = 0
        while True:
            async with worker.database.transaction() as uow:
                await self._lock(uow.pg)
                row = await uow.pg.fetchrow(
                    f"SELECT * FROM {self.table} WHERE topic = $1 AND key = $2 AND status IN ('parked', 'waiting')"
                    " ORDER BY id LIMIT 1 FOR UPDATE",
                    head["topic"],
                    head["key"],
                )
                if row is None:
                    return {"replayed": handled, "left": 0}
                edited = value if value is not None and row["id"] == letter_id else None
                record = Received(
                    Partition(row["topic"], row["partition"]),
                    row["log_offset"],
                    row["key"],
                    headers_from(row["headers"]),
                    edited if edited is not None else row["value"],
                )
                message = worker.decoder(record.headers, record.value)
                await worker.deliver(uow, record.partition.topic, [(message, record)])
                await uow.pg.execute(
                    f"UPDATE {self.table} SET status = 'replayed', ended_at = now() WHERE id = $1", row["id"]
                )
            handled += 1
