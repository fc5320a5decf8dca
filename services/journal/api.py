"""HTTP of the journal: the event feed."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from services.journal import repository
from services.journal.handlers import Handlers
from services.journal.peers import repository as peers
from services.journal.sharing import WITHHELD, View, view_of, view_of_platform
from services.journal.webhooks.schemas import ReplayBody
from shared.clock import rfc3339
from shared.db import audit
from shared.errors import Problem, invalid, not_found
from shared.federation.directory import Directory
from shared.federation.peers import Door
from shared.http.arguments import first_header
from shared.http.auth import Token, allowed, caller_of
from shared.http.bodies import Code
from shared.http.requests import StrictRoute
from shared.security.principal import Principal

LONGEST_WAIT_S = 30
LOOK_S = 0.2


def router(handlers: Handlers, door: Door, withheld: Sequence[str] = WITHHELD) -> APIRouter:
    """Routes under `/v1/events`."""
    routes = APIRouter(tags=["journal"], route_class=StrictRoute)

    async def viewer(request: Request, token: Token) -> View:
        if token is None and first_header(request, b"signature-input") is not None:
            return await signed(request)
        who = await caller_of(request, token)
        who.require("platform", "auditor", "leader")
        return view_of(who, handlers.platform, withheld)

    async def signed(request: Request) -> View:
        platform = None
        try:
            platform = (await door.admit(request))[0].platform
            directory = door.peers.directory or Directory()
            return view_of_platform(platform, directory.above(handlers.platform), withheld)
        except Problem as problem:
            raise await door.refuse(request, problem, platform) from None

    Seen = Annotated[View, Depends(viewer)]

    @routes.get("/v1/events")
    async def feed(
        seen: Seen,
        after: Annotated[str, Query(max_length=20, description="`next` of the page before")] = "",
        types: Annotated[str, Query(max_length=2000, description="event types, separated by commas")] = "",
        region: Annotated[Code | None, Query(description="only cases of this region and what lies below it")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        wait_s: Annotated[int, Query(ge=0, le=LONGEST_WAIT_S, description="wait for news at the end of the feed")] = 0,
    ) -> dict[str, Any]:
        """Every event in the order of the journal, as CloudEvents in JSON; keep `next` and ask again with it.

        At least once: after a crash of yours the same events come again; none is skipped. `next` is null at the end of
        what is there: ask again with the last one you had. Of rare `types` or a small region a page may be short or
        empty and yet have a `next`: the journal is looked through in pieces. A token of regions sees the events of
        cases there, a platform sees all fields but those on the city's list of what is not shared. Platforms above this
        one may sign the request instead of sending a token (docs/federation.md).
        """
        position = _position(after)
        wanted = [name.strip() for name in types.split(",") if name.strip()]
        view = seen.narrowed(region)
        news = handlers.appended
        entries, upcoming = await _read(handlers, position, wanted, limit, view)
        if not entries and upcoming is None and wait_s:
            end = asyncio.get_running_loop().time() + wait_s
            while not entries and upcoming is None and asyncio.get_running_loop().time() < end:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # another process may be the one that appends
                        await news.wait()
                news = handlers.appended
                entries, upcoming = await _read(handlers, position, wanted, limit, view)
        last = None if upcoming is None else str(upcoming)
        return {"items": [view.shown(entry.as_cloudevent()) for entry in entries], "next": last}

    @routes.get("/v1/events/counts")
    async def counts(
        seen: Seen,
        after: Annotated[str, Query(max_length=20, description="`next` of the call before, or `latest`: the end")] = "",
    ) -> dict[str, Any]:
        """How many events of each type stand behind `after`: for a running count, keep `next` and add up until it
        stays the same. One call counts a piece of the journal. Not for a token of regions."""
        if seen.regions is not None:
            raise Problem(403, "forbidden", "The counts are of all regions, and this token is limited to some.")
        async with handlers.database.read() as raw:
            position = await repository.last_position(raw) if after == "latest" else _position(after)
            found, last = await repository.counts(raw, position)
        return {"counts": found, "next": str(last)}

    @routes.get("/v1/events/peers")
    async def below(_: Annotated[Principal, allowed("supervisor", "leader", "auditor")]) -> dict[str, Any]:
        """The platforms below this one, from which events are pulled: how far each is, and what is wrong with it."""
        async with handlers.database.look_up() as pg:
            known = await peers.listed(pg)
        return {
            "items": [_peer(code, known.get(code)) for code in sorted({*known, *door.peers.children})],
            "next": None,
        }

    @routes.post("/v1/events/peers/{platform}/replay")
    async def replay(
        platform: Annotated[str, Path(pattern=r"^[0-9]{6}$")],
        body: ReplayBody,
        who: Annotated[Principal, allowed("admin")],
    ) -> dict[str, Any]:
        """Pull again what stands behind `after` in a platform's journal: for a consumer that was set up anew. What was
        pulled already comes once more with the same ids."""
        async with handlers.database.transaction() as uow:
            row = await peers.set_back(uow.pg, platform, int(body.after))
            if row is None:
                raise not_found(f"The platform {platform} below this one")
            detail = {"position": row["position"]}
            await audit.record(uow, actor=who.actor, action="peer_feed.set_back", subject=platform, detail=detail)
        return _peer(platform, row)

    return routes


def _peer(platform: str, row: dict[str, Any] | None) -> dict[str, Any]:
    found = row or {}
    pulled_at, since = found.get("pulled_at"), found.get("failing_since")
    return {
        "platform": platform,
        "position": str(found.get("position", 0)),
        "events": found.get("events", 0),
        "pulled_at": rfc3339(pulled_at) if pulled_at else None,
        "failing_since": rfc3339(since) if since else None,
        "error": found.get("last_error"),
    }


async def _read(
    handlers: Handlers, after: int, types: list[str], limit: int, view: View
) -> tuple[list[Any], int | None]:
    async with handlers.database.read() as raw:
        return await repository.read(raw, after, types, limit, view.regions, whole=not view.withheld)


def _position(after: str) -> int:
    if not after:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise invalid("/after", "is a journal position: take `next` of the page before")
    return int(after)
