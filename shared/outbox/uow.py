"""The unit of work that a handler is given: its connection, and what goes out with the same commit."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.bus.records import Record
from shared.clock import CausalClock, Clock
from shared.db import bulk
from shared.events.event import Event, Message, encode
from shared.events.stored import headers_json
from shared.ids import uuid7
from shared.telemetry.tracing import current_traceparent


@dataclass(frozen=True, slots=True)
class Timer:
    """Something to do at a business instant. (kind, key) is unique: arming again moves it."""

    kind: str
    key: str
    due_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)


class Uow:
    """One transaction of a service.

    `pg` is its asyncpg connection. Events that are emitted and timers that are armed or disarmed become rows when the
    transaction ends, so a handler cannot forget or double them.
    """

    def __init__(self, pg: Any, schema: str, clock: Clock, platform: str) -> None:
        self.pg = pg
        self.schema = schema
        self._clock = clock
        self.clock = clock
        self.source = f"/{platform}/{schema}"
        self.callbacks: list[Callable[[], None]] = []
        self._records: list[Record] = []
        self._timers: dict[tuple[str, str], Timer | None] = {}
        self._traces: dict[str, str] = {}

    def emit(
        self,
        event: Event,
        *,
        key: str,
        sequence: int,
        time: datetime | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Publish an event with this transaction; returns its id.

        `sequence` is the next number of the aggregate `key`, given by its owner under the row's lock; `time` is the
        business instant of the fact (default: now); `traceparent` the trace context of what caused it (default: of
        the message with the same key that is being handled, else of the work at hand).
        """
        message = Message(
            id=uuid7(),
            type=event.type,
            source=self.source,
            key=key,
            sequence=sequence,
            time=(time or self.clock.now()).astimezone(UTC),
            data=event,
            traceparent=traceparent or self.trace_of(key) or current_traceparent(),
        )
        headers, value = encode(message)
        self._records.append(Record(event.topic, key, headers, value))
        return message.id

    def caused_by(self, messages: Iterable[Message[Any]]) -> None:
        """From here on `clock` is not earlier than these messages (see `CausalClock`), and what is emitted belongs to
        their traces. The runtime calls it."""
        handled = list(messages)
        if handled:
            self.clock = CausalClock(self._clock, max(message.time for message in handled).astimezone(UTC))
        self._traces = {message.key: message.traceparent for message in handled if message.traceparent}

    def trace_of(self, *keys: str) -> str | None:
        """The trace context of the message at hand that has one of these keys."""
        return next((self._traces[key] for key in keys if key in self._traces), None)

    def publish(self, record: Record) -> None:
        """Publish bytes as they are (dead letters)."""
        self._records.append(record)

    def arm(self, timer: Timer) -> None:
        """Fire `timer` at its instant; replaces the one of the same (kind, key)."""
        self._timers[(timer.kind, timer.key)] = timer

    def disarm(self, kind: str, key: str) -> None:
        """Forget a timer; nothing happens when there is none."""
        self._timers[(kind, key)] = None

    def arms(self, kinds: Collection[str], before: datetime) -> bool:
        """Whether this transaction arms a timer of these kinds that is due before an instant: until it ends no query
        shows that."""
        return any(timer and timer.kind in kinds and timer.due_at < before for timer in self._timers.values())

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call when the transaction is committed, in this process only (e.g. drop a cache)."""
        self.callbacks.append(callback)

    async def flush(self) -> bool:
        """Write what was emitted and armed; True when the outbox got rows. The runtime calls it."""
        armed = sorted(filter(None, self._timers.values()), key=lambda timer: (timer.kind, timer.key))  # one lock order
        disarmed = [name for name, timer in self._timers.items() if timer is None]
        records, self._records = self._records, []
        await bulk.write(self.pg, self._disarming(disarmed), self._arming(armed), self._sending(records))
        return bool(records)

    def _disarming(self, names: Sequence[tuple[str, str]]) -> bulk.Statement:
        return bulk.columns(
            f"DELETE FROM {self.schema}.timers t USING unnest(?::text[], ?::text[]) AS d(kind, key)"
            " WHERE t.kind = d.kind AND t.key = d.key",
            names,
        )

    def _arming(self, timers: Sequence[Timer]) -> bulk.Statement:
        return bulk.columns(
            f"INSERT INTO {self.schema}.timers (kind, key, due_at, payload)"
            " SELECT * FROM unnest(?::text[], ?::text[], ?::timestamptz[], ?::jsonb[])"
            " ON CONFLICT (kind, key) DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload,"
            " attempts = 0, retry_at = NULL, error = NULL",
            [(timer.kind, timer.key, timer.due_at, orjson.dumps(timer.payload).decode()) for timer in timers],
        )

    def _sending(self, records: Sequence[Record]) -> bulk.Statement:
        return bulk.columns(
            f"INSERT INTO {self.schema}.outbox (topic, key, headers, value) SELECT topic, key, headers, value FROM"
            " unnest(?::text[], ?::text[], ?::jsonb[], ?::bytea[]) WITH ORDINALITY AS r(topic, key, headers, value, n)"
            " ORDER BY n",
            [(record.topic, record.key, headers_json(record.headers), record.value) for record in records],
        )
