"""What a person does about dead letters: look at them, replay them, give them up."""

from collections.abc import Mapping
from typing import Any

from shared.bus.dead_letters import reason_of
from shared.bus.records import Partition, Received
from shared.bus.sequences import GIVEN_UP
from shared.bus.worker import Worker
from shared.errors import Poison, Problem, Transient, not_found
from shared.events.stored import headers_from
from shared.outbox.uow import Uow


class DeadLetterDesk:
    """The dead letters of one worker's group."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.table = worker.dead_letters.table

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

    async def discard(self, uow: Uow, letter_id: int) -> tuple[str, str]:
        """Give a letter up for good: where facts are counted, an empty one takes its place, so that later ones need
        not wait for it. Returns (topic, key), whose letters the caller lets `follow` after the commit.

        Raises `Problem` 404/409.
        """
        await self.worker.dead_letters.lock(uow.pg)
        row = await self._open(uow.pg, letter_id)
        await uow.pg.execute(f"UPDATE {self.table} SET status = 'discarded', ended_at = now() WHERE id = $1", letter_id)
        subscription = self.worker.subscriptions.get(row["topic"])
        if subscription is not None and subscription.order == "facts":
            headers = tuple(
                (name, GIVEN_UP.encode() if name == "ce_type" else value)
                for name, value in headers_from(row["headers"])
            )
            try:
                empty = self.worker.decoder(headers, b"")
            except Poison:
                pass  # it never had a number: nothing waits for it
            else:
                await self.worker.sequences.give_up(uow.pg, row["topic"], empty, headers)
        return row["topic"], row["key"]

    async def replay(self, letter_id: int, *, value: bytes | None = None) -> dict[str, Any]:
        """Handle a letter again (`value`: an edited body) and, when that works, what waits behind it.

        Raises the handler's exception when one fails again; that letter is parked with the new reason.
        """
        async with self.worker.database.read() as raw:
            row = await self._open(raw, letter_id)
        return await self.follow(row["topic"], row["key"], {} if value is None else {letter_id: value})

    async def follow(self, topic: str, key: str, edited: Mapping[int, bytes] | None = None) -> dict[str, Any]:
        """Handle the open letters of a key, oldest first, each in its own transaction, then the facts kept for it."""
        handled = 0
        while await self._again(topic, key, edited or {}):
            handled += 1
        await self.worker.release(topic, key)
        async with self.worker.database.read() as raw:
            left = await raw.fetchval(
                f"SELECT count(*) FROM {self.table} WHERE topic = $1 AND key = $2 AND status IN ('parked', 'waiting')",
                topic,
                key,
            )
        return {"replayed": handled, "left": left}

    async def _again(self, topic: str, key: str, edited: Mapping[int, bytes]) -> bool:
        letter_id: int | None = None
        try:
            async with self.worker.database.transaction() as uow:
                await self.worker.dead_letters.lock(uow.pg)
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
                await self.worker.deliver(uow, [record], alone=True)
                await uow.pg.execute(
                    f"UPDATE {self.table} SET status = 'replayed', ended_at = now() WHERE id = $1", letter_id
                )
        except Exception as error:
            if letter_id is not None and not isinstance(error, Transient):
                async with self.worker.database.transaction() as uow:
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
