"""How events reach the hub: in order, or as badly as the bus is allowed to deliver them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random

import msgspec

from shared.bus.records import Record
from shared.events.event import Event, Message, encode
from tests.truth.lives import PLATFORM, Told


def message_of(told: Told, platform: str = PLATFORM) -> Message[Event]:
    """As its owner sends it, with the bytes of its body."""
    topic = told.event.topic
    return Message(
        id=told.id,
        type=told.event.type,
        source=f"/{platform}/{topic.split('.')[0]}",
        key=told.key,
        sequence=told.sequence,
        time=told.time,
        data=told.event,
        topic=topic,
        raw=msgspec.json.encode(told.event),
    )


def record_of(told: Told, platform: str = PLATFORM) -> Record:
    """As its owner's relay would send it."""
    headers, value = encode(message_of(told, platform))
    return Record(told.event.topic, told.key, headers, value)


def badly(told: Iterable[Told], chance: Random, window: int = 2_000) -> Iterator[Told]:
    """Each event one to three times, keys and topics mixed, none displaced by more than 50 within its key (no key has
    so many)."""
    waiting: list[Told] = []
    for one in told:
        waiting += [one] * chance.choice([1, 1, 2, 3])
        while len(waiting) > window:
            place = chance.randrange(len(waiting))
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
            yield waiting.pop()
    chance.shuffle(waiting)
    yield from waiting


def batches(records: Iterable[Record], size: int = 1_000) -> Iterator[list[Record]]:
    """Some at a time."""
    source = iter(records)
    while batch := list(islice(source, size)):
        yield batch
