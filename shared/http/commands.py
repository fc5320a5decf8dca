"""HTTP writes that arrive together are committed together, and a repeated write gives the first answer.

A `CommandQueue` takes commands of one kind from many requests, runs its handler over what has gathered in one
transaction and gives every caller his own answer. `Idempotency-Key` lives in the same transaction (api.md).
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import orjson

from shared.db.database import Database
from shared.errors import OutcomeUnknown, Problem, Transient
from shared.outbox.uow import Uow
from shared.telemetry.tracing import act_for, current_traceparent

log = logging.getLogger(__name__)

C = TypeVar("C")

PACE_S = 0.015
"""seconds from one commit of a queue to the next while several callers write at once (ADR 0008)"""
CROWD_S = 1.0
"""seconds for which two callers at once are a sign that more will come"""

Answer = dict[str, Any]
"""the JSON object that answers a command"""


Job = Callable[[Uow], Awaitable[Answer]]
"""a rare write that is its own transaction"""


async def run_jobs(jobs: Sequence[Job], uow: Uow) -> list[Answer | Problem]:
    """The handler of a queue with `largest=1`: one job is one transaction, its Problem rolls everything back."""
    return [await job(uow) for job in jobs]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller gets: the answer, and whether it is the first one of an earlier, equal call."""

    answer: Answer
    repeated: bool = False

    @property
    def status(self) -> int:
        """Of a route that stores something new: 201, or 200 for the first answer again."""
        return 200 if self.repeated else 201


FIRST_ANSWER: dict[int | str, dict[str, Any]] = {200: {"description": "The first answer to the same Idempotency-Key"}}
"""what such a route's description says of its other good answer"""


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

    def part(self, name: str) -> "IdempotencyKey":
        """The key of one of several writes that a request asks for."""
        return IdempotencyKey(hashlib.sha256(self.scope + name.encode()).digest(), self.body_digest)


def body_digest(body: Any) -> bytes:
    """SHA-256 of a validated body in canonical JSON (sorted keys)."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(slots=True)
class _Waiting(Generic[C]):
    command: C
    key: IdempotencyKey | None
    future: asyncio.Future[Outcome]
    traceparent: str | None


class _Commands(Sequence[C]):
    """The commands of one transaction. Whoever takes one out of it acts for its caller from there on, until he takes
    the next: what he emits carries that caller's trace context, though many callers share the transaction."""

    def __init__(self, items: Sequence[_Waiting[C]]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> C: ...
    @overload
    def __getitem__(self, index: slice) -> "_Commands[C]": ...
    def __getitem__(self, index: int | slice) -> "C | _Commands[C]":
        if isinstance(index, slice):
            return _Commands(self._items[index])
        item = self._items[index]
        act_for(item.traceparent)
        return item.command


CommandHandler = Callable[[Sequence[C], Uow], Awaitable[Sequence[Answer | Problem]]]


class CommandQueue(Generic[C]):
    """Group commit for one kind of command.

    `handler(commands, uow)` answers every command in order with a dict or a `Problem`; a command that it answers with
    a `Problem` must have changed nothing. `largest`: commands in one transaction; `waiting`: more than so many in the
    queue are turned away with 503 before they are promised anything. `pace_s`: while several callers write at once, at
    most one commit in so many seconds of the event loop's clock, so that what streams in is committed in groups; one
    caller alone, the first one after a pause and a full group never wait.
    """

    def __init__(
        self,
        database: Database,
        handler: CommandHandler[C],
        *,
        largest: int = 200,
        waiting: int = 5000,
        pace_s: float = PACE_S,
    ) -> None:
        self.database = database
        self.handler = handler
        self.largest = largest
        self.waiting = waiting
        self.pace_s = pace_s
        self._queue: list[_Waiting[C]] = []
        self._task: asyncio.Task[None] | None = None
        self._context = copy_context()  # of no caller
        self._full = asyncio.Event()
        self._last_commit = float("-inf")
        self._last_crowd = float("-inf")

    async def submit(self, command: C, key: IdempotencyKey | None = None) -> Outcome:
        """The committed outcome of `command`.

        Raises `Problem`: the handler's, 409 `idempotency_conflict`, or 503 when the database is away (nothing was
        promised then; with the same key or external id it can be sent again).
        """
        if len(self._queue) >= self.waiting:
            raise unavailable("Too many writes are waiting.")
        loop = asyncio.get_running_loop()
        item = _Waiting(command, key, loop.create_future(), current_traceparent())
        self._queue.append(item)
        if len(self._queue) >= self.largest:
            self._full.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._drain(), name="commands", context=self._context.copy())
        else:
            self._last_crowd = loop.time()
        return await item.future

    async def _gather(self) -> None:
        """Wait for others where others may come: see `pace_s`."""
        clock = asyncio.get_running_loop().time
        wait = self._last_commit + self.pace_s - clock()
        if wait > 0 and len(self._queue) < self.largest and clock() < self._last_crowd + CROWD_S:
            self._full.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), wait)
        self._last_commit = clock()

    async def _drain(self) -> None:
        while self._queue:
            await self._gather()
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
            answers = await self.handler(_Commands(fresh), uow) if fresh else []
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
        taken = await uow.pg.fetch(
            f"INSERT INTO {uow.schema}.idempotency_keys (scope, body_digest)"
            " SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT DO NOTHING RETURNING scope",
            [key.scope for key in keys],
            [key.body_digest for key in keys],
        )
        ours = {row["scope"] for row in taken}
        known = [key.scope for key in keys if key.scope not in ours]
        if not known:
            return {}
        rows = await uow.pg.fetch(
            f"SELECT scope, body_digest, answer FROM {uow.schema}.idempotency_keys"
            " WHERE scope = ANY($1) AND answer IS NOT NULL",
            known,
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
