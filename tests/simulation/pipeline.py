"""A small hub that stands for any: three services that do, between them, everything that the runtime offers.

a: commands become numbered facts. b: counts each fact once and in order, says so in an event of its own, arms and
disarms timers, which also end in events. c: a projection of both streams that keeps the latest of each key, and
counts what it is told of the first.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec

from shared.bus.subscriptions import Subscription, TimerHandler
from shared.db.database import Database
from shared.errors import Transient
from shared.events.event import Event, Headers, Message, decode
from shared.outbox.uow import Timer, Uow

FACTS = "a.facts.v1"
COUNTS = "b.counts.v1"
PARTITIONS = {FACTS: 2, COUNTS: 2}
SCHEMAS = ("a", "b", "c")

TABLES = """
CREATE TABLE IF NOT EXISTS a.commands (id int PRIMARY KEY);
CREATE TABLE IF NOT EXISTS a.keys (key text PRIMARY KEY, sequence int NOT NULL);
CREATE TABLE IF NOT EXISTS b.keys (key text PRIMARY KEY, sequence int NOT NULL);
CREATE TABLE IF NOT EXISTS b.effects (place bigint GENERATED ALWAYS AS IDENTITY, key text, sequence int);
CREATE TABLE IF NOT EXISTS b.fired (place bigint GENERATED ALWAYS AS IDENTITY, key text, armed_by int);
CREATE TABLE IF NOT EXISTS c.latest (topic text, key text, sequence int, PRIMARY KEY (topic, key));
CREATE TABLE IF NOT EXISTS c.handled (topic text, key text, sequence int);
"""
OWN_TABLES = ("a.commands", "b.effects", "b.fired", "c.latest", "c.handled")
KEYS = ("k0", "k1", "k2", "k3")
"""Rows of these stand in `a.keys` and `b.keys` from the beginning: who waits for a row gets it in turn, while who waits
for somebody's uncommitted insert races with the others, and no seed could repeat that."""
BEGIN = "; ".join(
    f"INSERT INTO {schema}.keys SELECT unnest('{{{','.join(KEYS)}}}'::text[]), 0"
    " ON CONFLICT (key) DO UPDATE SET sequence = 0"
    for schema in ("a", "b")
)


class FactRecorded(Event, frozen=True, kw_only=True):
    """Something happened to a key. `due_at`: wake me then; `stop`: no more."""

    topic: ClassVar[str] = FACTS
    type: ClassVar[str] = "fact.recorded"
    due_at: datetime | None = None
    stop: bool = False


class FactNoted(Event, frozen=True, kw_only=True):
    """Something that counts in its key's sequence and concerns nobody."""

    topic: ClassVar[str] = FACTS
    type: ClassVar[str] = "fact.noted"


class FactCounted(Event, frozen=True, kw_only=True):
    """b has counted fact `fact` of the key, or its timer armed by that fact has fired."""

    topic: ClassVar[str] = COUNTS
    type: ClassVar[str] = "fact.counted"
    fact: int
    fired: bool = False


EVENTS: dict[str, type[Event]] = {kind.type: kind for kind in (FactRecorded, FactNoted, FactCounted)}
DECODERS: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(kind) for name, kind in EVENTS.items()}


def decoder(headers: Headers, value: bytes) -> Message[Event]:
    """By the catalog of this hub."""
    return decode(EVENTS, DECODERS, headers, value)


@dataclass(frozen=True)
class Wish:
    """One fact that a command asks for; `due_in` seconds from its commit on."""

    key: str
    due_in: float | None = None
    stop: bool = False
    noted: bool = False
    """it concerns nobody"""


@dataclass(frozen=True)
class Command:
    """What a client wants done, once, however often it has to ask."""

    number: int
    wishes: tuple[Wish, ...]


@dataclass
class Trouble:
    """What the handlers do wrong: facts that never work, and passing troubles."""

    poison: dict[tuple[str, str, str, int], type[Exception]] = field(default_factory=dict)
    """service, topic, key, sequence → what its handler raises"""
    ailing: dict[str, int] = field(default_factory=dict)
    """key → how often its timer fails before it works"""
    passing: Callable[[str], bool] = lambda _service: False
    """whether a service's handler has a passing trouble just now"""

    def meet(self, service: str, batch: Sequence[Message[Any]]) -> None:
        """Raise what is due."""
        if self.passing(service):
            raise Transient(f"{service} has a passing trouble")
        for message in batch:
            error = self.poison.get((service, message.topic, message.key, message.sequence))
            if error is not None:
                raise error(f"{service} cannot handle {message.topic} {message.key} {message.sequence}")

    def fire(self, timers: Sequence[Timer]) -> None:
        """Raise what is due."""
        for timer in timers:
            if self.ailing.get(timer.key):
                self.ailing[timer.key] -= 1
                raise ValueError(f"the timer of {timer.key} fails")


async def record(database: Database, command: Command) -> None:
    """Service a: carry a command out, once."""
    counts: dict[str, int] = {}
    for wish in command.wishes:
        counts[wish.key] = counts.get(wish.key, 0) + 1
    async with database.transaction() as uow:
        rows = await uow.pg.fetch(
            "WITH fresh AS (INSERT INTO a.commands VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)"
            " INSERT INTO a.keys AS k (key, sequence) SELECT w.key, w.n FROM fresh,"
            " unnest($2::text[], $3::int[]) AS w(key, n) ORDER BY w.key"
            " ON CONFLICT (key) DO UPDATE SET sequence = k.sequence + excluded.sequence RETURNING key, sequence",
            command.number,
            list(counts),
            list(counts.values()),
        )
        if not rows:
            return  # done before: the answer was lost
        upcoming = {row["key"]: row["sequence"] - counts[row["key"]] + 1 for row in rows}
        for wish in command.wishes:
            due = None if wish.due_in is None else uow.clock.now() + timedelta(seconds=wish.due_in)
            fact = FactRecorded(actor="client", due_at=due, stop=wish.stop)
            uow.emit(FactNoted(actor="client") if wish.noted else fact, key=wish.key, sequence=upcoming[wish.key])
            upcoming[wish.key] += 1


class Counting:
    """Service b."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    async def on_facts(self, batch: Sequence[Message[FactRecorded]], uow: Uow) -> None:
        self.trouble.meet("b", batch[: len(batch) // 2])
        numbers = await self._number(uow, [message.key for message in batch])
        await uow.pg.execute(
            "INSERT INTO b.effects (key, sequence) SELECT * FROM unnest($1::text[], $2::int[])",
            [message.key for message in batch],
            [message.sequence for message in batch],
        )
        self.trouble.meet("b", batch[len(batch) // 2 :])
        for message, number in zip(batch, numbers, strict=True):
            uow.emit(FactCounted(actor="b", fact=message.sequence), key=message.key, sequence=number)
            if message.data.stop:
                uow.disarm("wake", message.key)
            elif message.data.due_at is not None:
                uow.arm(Timer("wake", message.key, message.data.due_at, {"armed_by": message.sequence}))

    async def on_wake(self, timers: Sequence[Timer], uow: Uow) -> None:
        numbers = await self._number(uow, [timer.key for timer in timers])
        self.trouble.fire(timers)
        await uow.pg.execute(
            "INSERT INTO b.fired (key, armed_by) SELECT * FROM unnest($1::text[], $2::int[])",
            [timer.key for timer in timers],
            [timer.payload["armed_by"] for timer in timers],
        )
        for timer, number in zip(timers, numbers, strict=True):
            uow.emit(FactCounted(actor="b", fact=timer.payload["armed_by"], fired=True), key=timer.key, sequence=number)

    async def _number(self, uow: Uow, keys: Sequence[str]) -> list[int]:
        """The next numbers of b's own aggregates, whose rows are locked from here on."""
        counts: dict[str, int] = {}
        for key in sorted(keys):
            counts[key] = counts.get(key, 0) + 1
        rows = await uow.pg.fetch(
            "INSERT INTO b.keys AS k (key, sequence) SELECT * FROM unnest($1::text[], $2::int[])"
            " ON CONFLICT (key) DO UPDATE SET sequence = k.sequence + excluded.sequence RETURNING key, sequence",
            list(counts),
            list(counts.values()),
        )
        upcoming = {row["key"]: row["sequence"] - counts[row["key"]] for row in rows}
        numbers = []
        for key in keys:
            upcoming[key] += 1
            numbers.append(upcoming[key])
        return numbers


class Projecting:
    """Service c."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    async def on_events(self, batch: Sequence[Message[Any]], uow: Uow) -> None:
        self.trouble.meet("c", batch)
        highest: dict[tuple[str, str], int] = {}
        for message in sorted(batch, key=lambda message: (message.topic, message.key)):
            name = (message.topic, message.key)
            highest[name] = max(highest.get(name, 0), message.sequence)
        await uow.pg.execute(
            "WITH kept AS (INSERT INTO c.handled SELECT * FROM unnest($4::text[], $5::text[], $6::int[]))"
            " INSERT INTO c.latest AS l (topic, key, sequence)"
            " SELECT * FROM unnest($1::text[], $2::text[], $3::int[])"
            " ON CONFLICT (topic, key) DO UPDATE SET sequence = excluded.sequence"
            " WHERE excluded.sequence > l.sequence",
            [topic for topic, _ in highest],
            [key for _, key in highest],
            list(highest.values()),
            [message.topic for message in batch],
            [message.key for message in batch],
            [message.sequence for message in batch],
        )


def subscriptions(service: str, trouble: Trouble) -> tuple[Subscription, ...]:
    """What a service reacts to."""
    recorded = frozenset({FactRecorded.type})
    if service == "b":
        return (Subscription(FACTS, Counting(trouble).on_facts, order="facts", types=recorded),)
    if service == "c":
        handler: Callable[..., Awaitable[None]] = Projecting(trouble).on_events
        return (Subscription(FACTS, handler, types=recorded), Subscription(COUNTS, handler, keyed=True))
    return ()


def timers(service: str, trouble: Trouble) -> dict[str, TimerHandler]:
    """Its timers."""
    return {"wake": Counting(trouble).on_wake} if service == "b" else {}
