"""What an event is: a frozen body with a type and a topic, and the message it travels in.

CloudEvents 1.0, Kafka binding, binary mode: attributes are headers `ce_*`, the body is JSON
(architecture.md, "Events").
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from shared.errors import Poison

Headers = tuple[tuple[str, bytes], ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The public state of an aggregate after a fact (`after` in the body)."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Body of every event: who did it (`actor`), why in words (`reason`), the fact's own fields and `after`.

    `actor`: `citizen`, `unit:<code>`, `user:<sub>` or `system:<service>`.
    """

    topic: ClassVar[str] = ""
    type: ClassVar[str] = ""

    actor: str
    reason: str | None = None


class Unrecognised(Event, frozen=True, kw_only=True):
    """A fact of a type that this release does not know: it counts in its aggregate's sequence, nothing more."""

    actor: str = ""


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Message(Generic[E_co]):
    """An event as received: attributes, body and where it was read."""

    id: str
    type: str
    source: str
    """`/<platform>/<service>`"""
    key: str
    """aggregate id (CloudEvents `subject`)"""
    sequence: int
    """1, 2, 3 … within the aggregate, given by its owner"""
    time: datetime
    """business time of the fact, UTC"""
    data: E_co
    traceparent: str | None = None
    topic: str = ""
    raw: bytes = b""
    """the body as received, with the fields that this release does not know"""

    @property
    def platform(self) -> str:
        """Code of the platform that the event comes from."""
        return self.source.split("/", 2)[1]


_encoder = msgspec.json.Encoder()


def encode(message: Message[Event]) -> tuple[Headers, bytes]:
    """Headers (CloudEvents binary mode) and body (JSON) of a message."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message.id.encode()),
        ("ce_type", message.type.encode()),
        ("ce_source", message.source.encode()),
        ("ce_subject", message.key.encode()),
        ("ce_time", message.time.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()),
        ("ce_sequence", str(message.sequence).encode()),
        ("content-type", b"application/json"),
    ]
    if message.traceparent:
        headers.append(("ce_traceparent", message.traceparent.encode()))
    return tuple(headers), _encoder.encode(message.data)


def attributes(headers: Headers) -> dict[str, str]:
    """CloudEvents attributes of a record, without their `ce_` prefix.

    Raises `Poison` when a required attribute is missing or no UTF-8.
    """
    found: dict[str, str] = {}
    try:
        for name, value in headers:
            if name.startswith("ce_"):
                found[name[3:]] = value.decode()
    except UnicodeDecodeError as error:
        raise Poison(f"a CloudEvents header is no UTF-8: {error}") from error
    for required in ("id", "type", "source", "specversion"):
        if not found.get(required):
            raise Poison(f"the CloudEvents attribute `{required}` is missing")
    return found


def without_body(headers: Headers) -> Message[Event]:
    """The attributes of a record whose body nobody reads. Raises `Poison` when they are damaged."""
    return decode({}, {}, headers, b"")


def read_from(topic: str, message: Message[Event]) -> Message[Event]:
    """The message with the topic on which it stood."""
    return message if message.topic == topic else replace(message, topic=topic)


def decode(
    kinds: dict[str, type[Event]], decoders: dict[str, msgspec.json.Decoder[Any]], headers: Headers, value: bytes
) -> Message[Event]:
    """The message in a record; `data` is `Unrecognised` when its type is not known here (readers ignore it).

    Raises `Poison` when it is damaged.
    """
    found = attributes(headers)
    kind = found["type"]
    try:
        data: Event = decoders[kind].decode(value) if kind in kinds else Unrecognised()
        sequence = int(found["sequence"])
        if sequence < 1:
            raise ValueError("sequence numbers start at 1")
        time = datetime.fromisoformat(found["time"])
        if time.tzinfo is None:
            raise ValueError("the time has no offset")
        return Message(
            id=found["id"],
            type=kind,
            source=found["source"],
            key=found["subject"],
            sequence=sequence,
            time=time,
            data=data,
            traceparent=found.get("traceparent"),
            topic=data.topic,
            raw=value,
        )
    except (msgspec.DecodeError, KeyError, ValueError, RecursionError) as error:
        raise Poison(f"{kind}: {type(error).__name__}: {error}") from error
