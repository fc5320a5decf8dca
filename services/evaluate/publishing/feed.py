"""The journal as evaluate reads it: its event feed over HTTP like any outside reader, or a file of the same events.

ADR 0021 says why: nothing that a case waits for asks another service, and only the journal's order has positions.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import msgspec

from shared.errors import Problem
from shared.events.catalog import DECODERS, EVENTS
from shared.events.event import Message

T = TypeVar("T")

PAGE = 1000
"""events of one call, the most that the feed gives"""
PATIENCE_S = 60.0


class _Item(msgspec.Struct, frozen=True):
    id: str
    type: str
    source: str
    subject: str
    time: datetime
    sequence: str
    sushuposition: int
    data: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True):
    items: list[_Item]
    next: str | None


_ANSWER = msgspec.json.Decoder(_Answer)
_LINE = msgspec.json.Decoder(_Item)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the journal: the wanted events in order, each with its position, and how far it goes."""

    events: list[tuple[int, Message[Any]]]
    position: int


async def ahead(source: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The items of `source`; while one is used the next is made."""
    upcoming = asyncio.ensure_future(anext(source))
    try:
        while True:
            try:
                item = await upcoming
            except StopAsyncIteration:
                return
            upcoming = asyncio.ensure_future(anext(source))
            yield item
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        await source.aclose()


class Feed(Protocol):
    """Where the journal can be read."""

    async def end(self) -> int:
        """The last position there is."""
        ...

    def parts(self, after: int, types: Iterable[str]) -> AsyncGenerator[Part]:
        """Everything behind position `after` of these types, to the end of what is there."""
        ...


class HttpFeed:
    """`GET /v1/events` at a base URL. `token` is asked before each call, so that one may expire meanwhile."""

    def __init__(self, client: httpx.AsyncClient, token: Callable[[], str]) -> None:
        self.client = client
        self.token = token

    async def end(self) -> int:
        answer = msgspec.json.decode(await self._get("/v1/events/counts", {"after": "latest"}))
        return int(answer["next"])

    async def parts(self, after: int, types: Iterable[str]) -> AsyncGenerator[Part]:
        wanted = ",".join(sorted(types))
        async with aclosing(ahead(self._pages(after, wanted))) as pages:
            async for items, position in pages:
                yield Part([(item.sushuposition, _message(item)) for item in items], position)

    async def _pages(self, position: int, types: str) -> AsyncGenerator[tuple[list[_Item], int]]:
        while True:
            query = {"after": str(position), "types": types, "limit": str(PAGE)}
            answer = _ANSWER.decode(await self._get("/v1/events", query))
            if answer.next is None:
                return
            position = int(answer.next)
            yield answer.items, position

    async def _get(self, path: str, query: dict[str, str]) -> bytes:
        try:
            answer = await self.client.get(path, params=query, headers={"Authorization": f"Bearer {self.token()}"})
        except httpx.HTTPError as error:
            raise _away(f"{type(error).__name__} {error}".strip()) from error
        if answer.status_code != 200:
            raise _away(f"{answer.status_code} {answer.text[:200]}")
        return answer.content


class FileFeed:
    """A file with one CloudEvent in JSON a line, as `items` of the feed has them, in the order of the journal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def end(self) -> int:
        last = 0
        async for part in self.parts(0, EVENTS):
            last = part.position
        return last

    async def parts(self, after: int, types: Iterable[str]) -> AsyncGenerator[Part]:
        wanted = frozenset(types)
        lines = self._lines()
        while part := await asyncio.to_thread(self._part, lines, after, wanted):
            yield part

    def _lines(self) -> Iterable[bytes]:
        with gzip.open(self.path, "rb") if self.path.suffix == ".gz" else self.path.open("rb") as file:
            yield from file

    def _part(self, lines: Iterable[bytes], after: int, wanted: frozenset[str]) -> Part | None:
        events: list[tuple[int, Message[Any]]] = []
        position, read = after, 0
        for line in lines:
            item = _LINE.decode(line)
            if item.sushuposition <= after:
                continue
            position, read = item.sushuposition, read + 1
            if item.type in wanted:
                events.append((position, _message(item)))
            if len(events) == PAGE or read == 20 * PAGE:
                break
        return Part(events, position) if read else None


def _message(item: _Item) -> Message[Any]:
    data = DECODERS[item.type].decode(item.data)
    return Message(
        id=item.id,
        type=item.type,
        source=item.source,
        key=item.subject,
        sequence=int(item.sequence),
        time=item.time,
        data=data,
        topic=data.topic,
    )


def _away(why: str) -> Problem:
    return Problem(
        503,
        "journal_away",
        f"The journal cannot be read ({why}). What was read so far is kept: ask again when it is back.",
        headers={"Retry-After": "10"},
    )
