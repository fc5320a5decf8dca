"""The runtime with one guard taken away: what the simulation must notice.

Each mutation is a small patch of the real classes, or of a statement on its way to PostgreSQL. One that no longer
fits the runtime fails loudly instead of quietly changing nothing.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

from shared.bus import worker as worker_module
from shared.bus.dead_letters import DeadLetters
from shared.bus.inbox import Inbox
from shared.bus.sequences import Sequences
from shared.bus.timers import Timers
from shared.bus.worker import Worker
from shared.db.database import Database
from shared.errors import OutcomeUnknown, Transient
from shared.outbox.relay import Relay
from shared.outbox.uow import Uow
from tests.simulation.postgres import Server

Patch = Callable[[Server], AbstractContextManager[Any]]

MUTATIONS: dict[str, Patch] = {}
"""sentence of what the runtime does wrong → the patch"""


class Outdated(AssertionError):
    """The runtime has changed: the mutation must be written anew."""


def _mutation(sentence: str) -> Callable[[Patch], Patch]:
    def keep(patch: Patch) -> Patch:
        MUTATIONS[sentence] = patch
        return patch

    return keep


def _method(sentence: str, owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a method; the new one gets the old one first."""

    def keep(new: Callable[..., Any]) -> Callable[..., Any]:
        old = getattr(owner, name)

        def instead(*arguments: Any, **options: Any) -> Any:
            return new(old, *arguments, **options)

        MUTATIONS[sentence] = lambda _server: mock.patch.object(owner, name, instead)
        return new

    return keep


def _statement(sentence: str, pattern: str, replacement: str) -> None:
    """Change a statement on its way to PostgreSQL."""

    @contextmanager
    def patch(server: Server) -> Iterator[None]:
        found = 0

        def rewrite(sql: str) -> str:
            nonlocal found
            changed = re.sub(pattern, replacement, sql, flags=re.DOTALL)
            found += changed != sql
            return changed

        server.rewrite = rewrite
        try:
            yield
        finally:
            server.rewrite = None
        if not found:
            raise Outdated(f"no statement is changed by: {sentence}")

    MUTATIONS[sentence] = patch


# --- the inbox --------------------------------------------------------------------------------------------------------


@_method("commits the offsets before the transaction", Worker, "_claim")
async def _offsets_first(old: Any, self: Worker, _pg: Any, records: Any) -> Any:
    async with self.database.transaction() as own:
        return await old(self, own.pg, records)


@_method("forgets the offsets of the inbox", Inbox, "claim")
async def _no_offsets(old: Any, *arguments: Any) -> Any:
    _, letters = await old(*arguments)
    return {}, letters


@_method("forgets the event ids of the inbox", Inbox, "unseen")
async def _no_ids(_old: Any, _self: Inbox, _pg: Any, messages: Sequence[Any]) -> Any:
    return list({message.id: message for message in messages}.values())


@_method("forgets the sequences", Sequences, "in_order")
async def _no_sequences(_old: Any, _self: Sequences, _pg: Any, arrivals: Any, *_: Any, **__: Any) -> Any:
    return [message for message, _ in arrivals]


_statement("forgets facts that came early", r"(INSERT INTO \w+\.inbox_early .*)( ON CONFLICT)", r"\1 WHERE false\2")
_statement("lets two readers of a partition go side by side", r"FOR UPDATE OF o\b", "")


_statement("lets facts pass early ones that wait", r"WHERE NOT EXISTS \(SELECT 1 FROM \w+\.inbox_early e [^)]*\)", "")


@_method("does not count facts of types that nobody reads", Worker, "_concerns_us")
def _reads_only(_old: Any, self: Worker, record: Any) -> bool:
    return self.subscriptions[record.partition.topic].reads(record.type)


@_method("takes a commit whose answer was lost for done", Worker, "_apply")
async def _believes(old: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return await old(*arguments, **options)
    except OutcomeUnknown:
        return None


# --- trouble ----------------------------------------------------------------------------------------------------------


@_method("goes on after a failed poll without rewinding", Worker, "_rewind")
def _no_rewind(_old: Any, *_: Any) -> None:
    return None


@_method("goes on after a paused record instead of with it", Worker, "_resume")
def _no_seek(old: Any, self: Worker, consumer: Any) -> None:
    with mock.patch.object(consumer, "seek"):
        old(self, consumer)


@_method("lets later events pass a dead letter of their key", DeadLetters, "held_keys")
async def _passes(_old: Any, *_: Any) -> set[tuple[str, str]]:
    return set()


@_method("discards a fact without taking its place", Sequences, "give_up")
async def _leaves_gap(_old: Any, *_: Any) -> None:
    return None


@_method("dead-letters the whole failing batch", Worker, "_divide")
async def _buries_all(_old: Any, self: Worker, records: Any, error: BaseException | None) -> None:
    try:
        await self._apply(records)
    except Transient:
        raise
    except Exception as failure:
        for record in records:
            await self._bury(record, error or failure, 1)


@_mutation("dead-letters passing trouble")
def _no_transient(_server: Server) -> AbstractContextManager[Any]:
    class Never(Exception):
        pass

    return mock.patch.object(worker_module, "Transient", Never)


# --- the outbox -------------------------------------------------------------------------------------------------------


@_mutation("writes outbox rows in a transaction of their own")
def _outbox_after(_server: Server) -> AbstractContextManager[Any]:
    old = Database.transaction

    @asynccontextmanager
    async def transaction(self: Database) -> AsyncIterator[Uow]:
        async with old(self) as uow:
            yield uow
            records, uow._records = uow._records, []
        if records:
            async with old(self) as second:
                for record in records:
                    second.publish(record)

    return mock.patch.object(Database, "transaction", transaction)


@_method("deletes outbox rows before the send", Relay, "_next")
async def _mark_first(_old: Any, self: Relay, session: Any, _sent: Any) -> Any:
    rows = await session.fetch(f"DELETE FROM {self.database.schema}.outbox RETURNING id, topic, key, headers, value")
    return sorted(rows, key=lambda row: row["id"])


@_method("relays above an id watermark instead of what is visible", Relay, "_next")
async def _by_id(_old: Any, self: Relay, session: Any, sent: Any) -> Any:
    high = max([getattr(self, "high", 0), *sent])
    self.high = high  # type: ignore[attr-defined]
    return await session.fetch(
        f"WITH gone AS (DELETE FROM {self.database.schema}.outbox WHERE id <= $1)"
        f" SELECT id, topic, key, headers, value FROM {self.database.schema}.outbox WHERE id > $1 ORDER BY id",
        high,
    )


_statement("lets two relays work at once", r"^SELECT pg_try_advisory_lock\(.*", "SELECT true")
_statement("sends outbox rows in any order", r"(FROM \w+\.outbox .*) ORDER BY id\b", r"\1 ORDER BY md5(id::text)")


# --- timers -----------------------------------------------------------------------------------------------------------


@_method("fires timers without reading the input", Timers, "_read_up_to")
async def _unread(_old: Any, _self: Timers, now: Any) -> Any:
    return now


_statement(
    "fires timers without taking their rows",
    r"DELETE FROM (\w+)\.timers WHERE (\(kind, key\) IN \(.*\)) RETURNING (.*)",
    r"SELECT \3 FROM \1.timers WHERE \2",
)
_statement(
    "does not move a timer that is armed again",
    r"(INSERT INTO \w+\.timers .* ON CONFLICT \(kind, key\)) DO UPDATE .*",
    r"\1 DO NOTHING",
)


@_method("does not disarm timers", Uow, "disarm")
def _still_armed(_old: Any, *_: Any) -> None:
    return None


@_method("gives a failing timer up", Timers, "_postpone")
async def _given_up(_old: Any, self: Timers, timer: Any, _error: Any) -> None:
    async with self.database.transaction() as uow:
        await uow.pg.execute(f"DELETE FROM {self.database.schema}.timers WHERE key = $1", timer.key)


def applied(sentence: str, server: Server) -> AbstractContextManager[Any]:
    """The runtime with this mutation, for as long as the context lasts."""
    return MUTATIONS[sentence](server)
