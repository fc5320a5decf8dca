"""HTTP of the journal: the event feed."""

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from services.journal import repository
from services.journal.handlers import Handlers
from shared.errors import Problem, invalid
from shared.http.auth import allowed
from shared.http.requests import StrictRoute
from shared.security.principal import Principal
from shared.security.scope import within

LONGEST_WAIT_S = 30
LOOK_S = 0.2


def router(handlers: Handlers) -> APIRouter:
    """Routes under `/v1/events`."""
    routes = APIRouter(tags=["journal"], route_class=StrictRoute)

    async def whole(who: Annotated[Principal, allowed("platform", "auditor", "leader")]) -> Principal:
        """One who may see every row: the feed has no row scope. A platform reads the feed of those below it."""
        staff = who.has("auditor", "leader")
        if "admin" not in who.roles and (
            who.units or who.regions or not (staff or (who.platform and within(handlers.platform, who.platform)))
        ):
            raise Problem(
                403,
                "forbidden",
                "The feed shows the events of every unit, region and platform, and this token is limited to some; "
                "read single cases under /v1/appeals.",
            )
        return who

    feed_reader = Depends(whole)

    @routes.get("/v1/events", dependencies=[feed_reader])
    async def feed(
        after: Annotated[str, Query(max_length=20, description="`next` of the page before")] = "",
        types: Annotated[str, Query(max_length=2000, description="event types, separated by commas")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        wait_s: Annotated[int, Query(ge=0, le=LONGEST_WAIT_S, description="wait for news at the end of the feed")] = 0,
    ) -> dict[str, Any]:
        """Every event in the order of the journal, as CloudEvents in JSON; keep `next` and ask again with it.

        At least once: after a crash of yours the same events come again; none is skipped. `next` is null at the end of
        what is there: ask again with the last one you had. Of rare `types` a page may be short or empty and yet have a
        `next`: the journal is looked through in pieces.
        """
        position = _position(after)
        wanted = [name.strip() for name in types.split(",") if name.strip()]
        entries, upcoming = await _read(handlers, position, wanted, limit)
        if not entries and upcoming is None and wait_s:
            handlers.appended.clear()
            end = asyncio.get_running_loop().time() + wait_s
            while not entries and upcoming is None and asyncio.get_running_loop().time() < end:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # another process may be the one that appends
                        await handlers.appended.wait()
                handlers.appended.clear()
                entries, upcoming = await _read(handlers, position, wanted, limit)
        last = None if upcoming is None else str(upcoming)
        return {"items": [entry.as_cloudevent() for entry in entries], "next": last}

    @routes.get("/v1/events/counts", dependencies=[feed_reader])
    async def counts(
        after: Annotated[str, Query(max_length=20, description="`next` of the call before, or `latest`: the end")] = "",
    ) -> dict[str, Any]:
        """How many events of each type stand behind `after`: for a running count, keep `next` and add up until it
        stays the same. One call counts a piece of the journal."""
        async with handlers.database.read() as raw:
            position = await repository.last_position(raw) if after == "latest" else _position(after)
            found, last = await repository.counts(raw, position)
        return {"counts": found, "next": str(last)}

    return routes


async def _read(handlers: Handlers, after: int, types: list[str], limit: int) -> tuple[list[Any], int | None]:
    async with handlers.database.read() as raw:
        return await repository.read(raw, after, types, limit)


def _position(after: str) -> int:
    if not after:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise invalid("/after", "is a journal position: take `next` of the page before")
    return int(after)
