"""What is taken from another platform's journal, and what makes its answer one that is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import orjson

from shared.bus.records import Record
from shared.bus.worker import decode_event
from shared.errors import Poison, Problem
from shared.events import topics
from shared.events.catalog import EVENTS
from shared.federation.peers import back_off
from shared.http.requests import parse_json

STREAMS: Final[Mapping[str, str]] = {topic.carries: name for name, topic in topics.load().items() if topic.carries}
"""topic of the platform that an event comes from → where it is published here"""
TYPES: Final = tuple(sorted(name for name, kind in EVENTS.items() if kind.topic in STREAMS))
"""event types that are asked for"""
PAUSE_S: Final = (0.5, 30.0)
"""first and longest pause of a platform that does not answer, or is not believed"""


class NotBelieved(Exception):
    """Why nothing of an answer is taken."""


_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Number = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}$")]


class _Item(msgspec.Struct, frozen=True):
    id: _Word
    type: _Word
    source: _Word
    subject: _Word
    time: _Word
    sequence: _Number
    sushuposition: int
    data: dict[str, Any]
    traceparent: _Word | None = None


class _Answer(msgspec.Struct, frozen=True):
    items: list[_Item]
    next: _Number | None


@dataclass(frozen=True, slots=True)
class Page:
    """What follows in a platform's journal: records to publish here, and how far they go."""

    records: tuple[Record, ...]
    position: int


def page_of(raw: bytes, platform: str, after: int) -> Page:
    """The page in an answer of `platform` to what stands behind position `after`. Raises `NotBelieved`.

    All of it is right or nothing is taken: an event that is left out would be missing in every count for ever.
    """
    try:
        answer = msgspec.convert(parse_json(raw), _Answer)
        position = after if answer.next is None else int(answer.next)
    except (ValueError, Problem) as error:
        raise NotBelieved(f"the answer is no page of a feed: {error}") from error
    if answer.items and answer.next is None:
        raise NotBelieved("the answer has events and no `next`")
    if answer.next is not None and position <= after:
        raise NotBelieved(f"`next` is {position}, not behind {after}")
    last = after
    records = []
    for item in answer.items:
        if not last < item.sushuposition <= position:
            raise NotBelieved(f"event {item.id} stands at {item.sushuposition}, out of order")
        last = item.sushuposition
        records.append(_record(item, platform))
    return Page(tuple(records), position)


def _record(item: _Item, platform: str) -> Record:
    """The event as it was, but for who did it where that was withheld."""
    kind = EVENTS.get(item.type)
    if kind is None or kind.topic not in STREAMS:
        raise NotBelieved(f"event {item.id} is of type {item.type}, which was not asked for")
    source = f"/{platform}/{kind.topic.partition('.')[0]}"
    if item.source != source:
        raise NotBelieved(f"event {item.id} comes from {item.source}, not from {source}")
    attributes = {
        "specversion": "1.0",
        "id": item.id,
        "type": item.type,
        "source": item.source,
        "subject": item.subject,
        "time": item.time,
        "sequence": item.sequence,
    } | ({"traceparent": item.traceparent} if item.traceparent else {})
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
    value = orjson.dumps({"actor": f"platform:{platform}"} | item.data)
    try:
        decode_event(headers, value)
    except Poison as error:
        raise NotBelieved(f"event {item.id} cannot be read: {error}") from error
    return Record(STREAMS[kind.topic], item.subject, (*headers, ("content-type", b"application/json")), value)


def pause_s(tries: int, dice: float) -> float:
    """Seconds until the next try after `tries` in vain (1, 2, …); `dice` in [0, 1) spreads those who wait alike."""
    return back_off(PAUSE_S, tries - 1, dice)
