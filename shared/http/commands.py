"""HTTP writes that arrive together are committed together, and a repeated write gives the first answer.

A `CommandQueue` takes commands of one kind from many requests, runs its handler over what has gathered in one
transaction and gives every caller his own answer. `Idempotency-Key` lives in the same transaction (api.md).
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from shared.db.database import Database
from shared.errors import OutcomeUnknown, Problem, Transient
from shared.outbox.uow import Uow

log = logging.getLogger(__name__)

C = TypeVar("C")

Answer = dict[str, Any]
"""the JSON object that answers a command"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller gets: the answer, and whether it is the first one of an earlier, equal call."""

    answer: Answer
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key with its scope and the digest of the parsed body."""

    scope: bytes
    body_digest: bytes

    @classmethod
    def of(cls, subject: str, method: str, path: str, key: str, body: Any) -> "IdempotencyKey":
        """`body` is the validated body as JSON types: equal bodies have equal digests."""
        scope = hashlib.sha256("\x1f".join((subject, method, path, key)).encode()).digest()
        return cls(scope, body_digest(body))


def body_digest(body: Any) -> bytes:
    """SHA-256 of a validated body in canonical JSON (sorted keys)."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(slots=True)
class _Waiting(Generic[C]):
    command: C
    key: IdempotencyKey | None
    future: asyncio.Future[Outcome]


CommandHandler = Callable[[Sequence[C], Uow], Awaitable[Sequence[Answer | Problem]]]


class CommandQueue(Generic[C]):
    """Group commit for one kind of command.

    `handler(commands, uow)` answers every command in order with a dict or a `Problem`; a command that it answers with
    a `Problem` must have changed nothing. `largest`: commands in one transaction; `waiting`: more than so many in the
    queue are turned away with 503 before they are promised anything.
    """

    def __init__(
        self, database: Database, handler: CommandHandler[C], *, largest: int = 200, waiting: int = 5000
    ) -> None:
        self.database = database
        self.handler = handler
        self.largest = largest
        self.waiting = waiting
        self._queue: list[_Waiting[C]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, command: C, key: IdempotencyKey | None = None) -> Outcome:
        """The committed outcome of `command`.

        Raises `Problem`: the handler's, 409 `idempotency_conflict`, or 503 when the database is away (nothing was
        promised then; with the same key or external id it can be sent again).
        """
        if len(self._queue) >= self.waiting:
            raise unavailable("Too many writes are waiting.")
        item = _Waiting(command, key, asyncio.get_running_loop().create_future())
        self._queue.append(item)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="commands")
        return await item.future

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[: self.largest], self._queue[self.largest :]
            batch = [item for item in batch if not item.future.cancelled()]
            if not batch:
                continue
            try:
                await self._commit(batch)
            except Transient as error:
                log.warning("writes refused, the database is away", extra={"error": str(error), "n": len(batch)})
                for item in batch:
                    _fail(item, _refusal(error))
            except Exception as error:
                if len(batch) == 1:
                    _fail(batch[0], error)
                    continue
                for item in batch:  # one bad command harms no other
                    try:
                        await self._commit([item])
                    except Transient as away:
                        _fail(item, _refusal(away))
                    except Exception as own:
                        _fail(item, own)

    async def _commit(self, batch: list[_Waiting[C]]) -> None:
        results: list[tuple[_Waiting[C], Outcome | Problem]] = []
        again: list[_Waiting[C]] = []
        async with self.database.transaction() as uow:
            fresh: list[_Waiting[C]] = []
            followers: list[tuple[_Waiting[C], _Waiting[C]]] = []
            by_scope: dict[bytes, _Waiting[C]] = {}
            keyed: list[_Waiting[C]] = []
            for item in batch:
                if item.key is None:
                    fresh.append(item)
                elif item.key.scope in by_scope:
                    followers.append((item, by_scope[item.key.scope]))
                else:
                    by_scope[item.key.scope] = item
                    keyed.append(item)
            if keyed:
                known = await self._claim(uow, keyed)
                for item in keyed:
                    assert item.key is not None
                    stored = known.get(item.key.scope)
                    if stored is None:
                        fresh.append(item)
                    else:
                        results.append((item, _repeat(item.key, *stored)))
            place = {id(item): number for number, item in enumerate(batch)}
            fresh.sort(key=lambda item: place[id(item)])
            answers = await self.handler([item.command for item in fresh], uow) if fresh else []
            done: dict[int, Outcome | Problem] = {}
            for item, answer in zip(fresh, answers, strict=True):
                outcome = answer if isinstance(answer, Problem) else Outcome(answer)
                done[id(item)] = outcome
                results.append((item, outcome))
            await self._remember(uow, [(item, done[id(item)]) for item in fresh if item.key is not None])
            stored_now = {id(item): outcome for item, outcome in results}
            for item, first in followers:
                assert item.key is not None
                assert first.key is not None
                outcome = stored_now[id(first)]
                if isinstance(outcome, Outcome):
                    results.append((item, _repeat(item.key, first.key.body_digest, outcome.answer)))
                else:
                    again.append(item)  # a refused write has not used the key up
        self._queue[:0] = again
        for item, result in results:
            if isinstance(result, Problem):
                _fail(item, result)
            elif not item.future.done():
                item.future.set_result(result)

    async def _claim(self, uow: Uow, keyed: Sequence[_Waiting[C]]) -> dict[bytes, tuple[bytes, Answer]]:
        """Take the keys that are new; returns (digest, answer) of those known. A key in another open transaction is
        waited for, so two clients at once cannot both be first."""
        keys = sorted((item.key for item in keyed if item.key), key=lambda key: key.scope)
        await uow.pg.execute(
            f"INSERT INTO {uow.schema}.idempotency_keys (scope, body_digest)"
            " SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT DO NOTHING",
            [key.scope for key in keys],
            [key.body_digest for key in keys],
        )
        rows = await uow.pg.fetch(
            f"SELECT scope, body_digest, answer FROM {uow.schema}.idempotency_keys"
            " WHERE scope = ANY($1) AND answer IS NOT NULL",
            [key.scope for key in keys],
        )
        return {row["scope"]: (row["body_digest"], row["answer"]) for row in rows}

    async def _remember(self, uow: Uow, results: Sequence[tuple[_Waiting[C], Outcome | Problem]]) -> None:
        good = [(item.key, outcome) for item, outcome in results if item.key and isinstance(outcome, Outcome)]
        bad = [item.key.scope for item, outcome in results if item.key and isinstance(outcome, Problem)]
        if good:
            await uow.pg.execute(
                f"UPDATE {uow.schema}.idempotency_keys k SET answer = r.answer"
                " FROM unnest($1::bytea[], $2::jsonb[]) AS r(scope, answer) WHERE k.scope = r.scope",
                [key.scope for key, _ in good],
                [orjson.dumps(outcome.answer).decode() for _, outcome in good],
            )
        if bad:  # a refused write may be sent again, corrected
            await uow.pg.execute(f"DELETE FROM {uow.schema}.idempotency_keys WHERE scope = ANY($1)", bad)


def _repeat(key: IdempotencyKey, digest: bytes, answer: Answer) -> Outcome | Problem:
    if digest != key.body_digest:
        return Problem(
            409,
            "idempotency_conflict",
            "This Idempotency-Key was used with another body; take a new key for a new write.",
        )
    return Outcome(answer, repeated=True)


def _fail(item: _Waiting[Any], error: BaseException) -> None:
    if not item.future.done():
        item.future.set_exception(error)


def _refusal(error: Transient) -> Problem:
    if isinstance(error, OutcomeUnknown):
        return Problem(
            503,
            "unavailable",
            "The store was lost while it stored this: it is there or it is not. Look, or send it again with the same"
            " Idempotency-Key, which stores it once.",
            headers={"Retry-After": "1"},
        )
    return unavailable("The store is not available.")


def unavailable(why: str) -> Problem:
    """503: nothing was stored, the caller should try again."""
    return Problem(
        503, "unavailable", f"{why} Nothing was stored; send it again after a second.", headers={"Retry-After": "1"}
    )
