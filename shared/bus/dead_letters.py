"""Dead letters: records that could not be handled, kept with their bytes, the reason and what waits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.bus.records import Received, Record
from shared.events.stored import headers_json
from shared.outbox.uow import Uow

LONGEST_REASON = 2_000


def reason_of(error: BaseException) -> str:
    """Name and words of an error as any column and header takes them."""
    text = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
    return text.replace("\x00", "").encode(errors="replace").decode()


class DeadLetters:
    """The dead letters of one service's group. They are also published on `<topic>.dlt.<group>` for the broker's
    tools; the table is what replay works on (`shared/service/dead_letter_desk.py`)."""

    def __init__(self, schema: str, group: str) -> None:
        self.schema = schema
        self.group = group
        self.table = f"{schema}.dead_letters"

    async def held_keys(self, pg: Any, records: Sequence[Received]) -> set[tuple[str, str]]:
        """(topic, key) of those records whose key waits behind a dead letter."""
        if not await self._held(pg, records):
            return set()
        await self.lock(pg)  # a replay may be emptying the queue of a key just now: look again after it
        return await self._held(pg, records)

    async def _held(self, pg: Any, records: Sequence[Received]) -> set[tuple[str, str]]:
        rows = await pg.fetch(
            f"SELECT DISTINCT topic, key FROM {self.table} WHERE status IN ('parked', 'waiting')"
            " AND (topic, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            [record.partition.topic for record in records],
            [record.key for record in records],
        )
        return {(row["topic"], row["key"]) for row in rows}

    async def lock(self, pg: Any) -> None:
        """Until the end of the transaction nobody else empties, or joins, the queue behind a dead letter."""
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
