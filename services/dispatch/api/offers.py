"""移交接收: offers of other platforms that wait for a person, where the city wants one (domain.md, Dispatch 6)."""

from typing import Any

from fastapi import APIRouter

from services.dispatch import repository
from services.dispatch.api.parameters import Centre, Id, Staff, uuid_of
from services.dispatch.desk import RoutingDesk
from services.dispatch.handlers import Decide, offer_view
from services.dispatch.schemas import RefusalBody
from shared.db.database import Database
from shared.http.auth import Idempotency
from shared.http.bodies import Body
from shared.http.commands import CommandQueue
from shared.http.pages import Paged, after_of, page_of
from shared.redaction import clean


def add_routes(routes: APIRouter, desk: RoutingDesk, decisions: CommandQueue[Decide], database: Database) -> None:
    """Add the routes of `platforms/offers`."""

    @routes.get("/v1/platforms/offers")
    async def list_offers(who: Staff, page: Paged) -> dict[str, Any]:
        """Offers of other platforms that wait for a person, the oldest first. Their senders are warned after 30 min."""
        async with database.read() as pg:
            rows = await repository.waiting_offers(pg, desk.platform, who.scope, after_of(page, str), page.limit + 1)
        shown = [offer_view(row["snapshot"], row["text"], who) for row in rows]
        return page_of(shown, page, lambda row: [row["id"]])

    @routes.post("/v1/platforms/offers/{offer_id}/accept")
    async def accept(offer_id: Id, who: Centre, idempotency: Idempotency) -> dict[str, Any]:
        """The case is taken: it comes as an appeal of channel `platform` once its sender has let go of it."""
        decision = Decide(uuid_of(offer_id, "The offer"), who, None)
        return (await decisions.submit(decision, idempotency(who, Body()))).answer

    @routes.post("/v1/platforms/offers/{offer_id}/refuse")
    async def refuse(offer_id: Id, body: RefusalBody, who: Centre, idempotency: Idempotency) -> dict[str, Any]:
        """The case stays with its sender's centre, which reads the reason."""
        decision = Decide(uuid_of(offer_id, "The offer"), who, clean(body.reason))
        return (await decisions.submit(decision, idempotency(who, body))).answer
