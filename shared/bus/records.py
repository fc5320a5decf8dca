"""The small nouns of the bus: record, place in the log, transport, consumer."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from shared.events.event import Event, Headers, Message


class Partition(NamedTuple):
    """One ordered part of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes to publish. Records of one key keep their order."""

    topic: str
    key: str
    headers: Headers
    value: bytes


@dataclass(slots=True)
class Received:
    """Bytes as read from a partition."""

    partition: Partition
    offset: int
    key: str
    headers: Headers
    value: bytes
    message: Message[Event] | None = field(default=None, compare=False, repr=False)
    """filled by the first worker of this process that decodes it; others of the process read the same object"""

    @property
    def type(self) -> str:
        """The event type in the headers, unchecked; empty when there is none."""
        return next((value.decode(errors="replace") for name, value in self.headers if name == "ce_type"), "")


class Rejected(Exception):
    """The transport will never take this record (e.g. too large): park it, go on with the others."""

    def __init__(self, record: Record, reason: str) -> None:
        super().__init__(reason)
        self.record = record


class Consumer(Protocol):
    """A member of a consumer group. Positions are the caller's: after each assignment it says where to start."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def poll(self, limit: int, timeout: float) -> Sequence[Received]:
        """At most `limit` records in order of their partition, waiting at most `timeout` seconds for the first."""
        ...

    def assigned(self) -> frozenset[Partition]:
        """Partitions that this member owns now."""
        ...

    def unplaced(self) -> frozenset[Partition]:
        """Those of them that were given to it (again) and yield nothing before `seek`."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """The next `poll` starts there."""
        ...

    def pause(self, partition: Partition) -> None: ...

    def resume(self, partition: Partition) -> None: ...

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the broker how far the group is: for its lag figures; the truth is the inbox."""
        ...


class Transport(Protocol):
    """What carries events between services."""

    name: str
    ends_sql: str | None
    """(topic, partition, first_offset, next_offset) as SQL, where the log stands in the services' own database"""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        """Make missing topics with so many partitions; existing ones stay as they are."""
        ...

    async def publish(self, records: Sequence[Record]) -> None:
        """Durable when it returns; keeps the order of each key.

        Raises `Transient` when the broker is away and `Rejected` for a record that it will never take.
        """
        ...

    def consumer(self, group: str, topics: Iterable[str], *, pace_s: float = 0.0) -> Consumer:
        """A new member of `group`. `pace_s`: records may be held back so long to come together."""
        ...

    async def ends(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        """(first, next) offset of every partition: `next` is where the coming record will stand."""
        ...


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 modulo count, the same on both transports."""
    return zlib.crc32(key.encode()) % partitions
