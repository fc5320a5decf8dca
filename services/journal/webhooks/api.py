"""HTTP of the webhooks: whom the feed is pushed to, and what became of every push."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Response

from services.journal.sharing import view_of
from services.journal.webhooks import repository
from services.journal.webhooks.domain import Outcome, secret_of, written
from services.journal.webhooks.handlers import Add, Change, Command, Pause, Remove, Replay, Resume, Rotate, view
from services.journal.webhooks.schemas import ReplayBody, WebhookBody
from shared.db.database import Database
from shared.errors import Problem, invalid, not_found
from shared.http.auth import Idempotency, allowed
from shared.http.commands import FIRST_ANSWER, CommandQueue
from shared.http.outgoing import Network, wrong_with
from shared.http.pages import Paged, after_of, page_of
from shared.security.principal import Principal

Owner = Annotated[Principal, allowed("platform")]


def add_routes(
    routes: APIRouter,
    database: Database,
    commands: CommandQueue[Command],
    key: bytes | None,
    withheld: Sequence[str],
    networks: Sequence[Network],
    *,
    tls_only: bool,
) -> None:
    """Routes under `/v1/webhooks`. `key` None: this hub pushes nothing."""

    def with_secret(answer: dict[str, Any]) -> dict[str, Any]:
        assert key is not None
        shown = dict(answer)
        return shown | {"secret": written(secret_of(key, shown["id"], shown.pop("generation")))}

    def needs_key() -> None:
        if key is None:
            raise Problem(
                503,
                "webhooks_off",
                "This hub pushes no events: whoever runs it has to give the journal its key "
                "(`python -m services.journal keys <key folder>/webhooks.key`). Until then read GET /v1/events.",
            )

    async def change(command: Change, key: Any) -> dict[str, Any]:
        return (await commands.submit(command, key)).answer

    @routes.post(
        "/v1/webhooks",
        status_code=201,
        responses=FIRST_ANSWER,
    )
    async def add(body: WebhookBody, who: Owner, idempotency: Idempotency, response: Response) -> dict[str, Any]:
        """A receiver of the feed, from now on or from a position. `secret` verifies its signatures (Standard Webhooks)
        and is told here and after a change of it only."""
        needs_key()
        wrong = wrong_with(body.url, networks, tls_only=tls_only)
        if wrong:
            raise invalid("/url", wrong)
        seen = view_of(who, database.platform, withheld).narrowed(body.region)
        if seen.regions == ():
            raise invalid("/region", "lies outside the regions that you see")
        command = Add(
            owner=_owner(who) or database.platform,
            by=who.actor,
            url=body.url,
            types=tuple(dict.fromkeys(body.types)),
            batch=body.batch,
            view=seen,
            give_up_s=body.give_up_s,
            after=None if body.after is None else int(body.after),
            note=body.note,
        )
        outcome = await commands.submit(command, idempotency(who, body))
        response.status_code = outcome.status
        return with_secret(outcome.answer)

    @routes.get("/v1/webhooks")
    async def listed(who: Owner, page: Paged) -> dict[str, Any]:
        """Your webhooks and how far each is; `failing_since` and `last_error` while pushes fail."""
        async with database.read() as pg:
            rows = await repository.listed(pg, _owner(who), after_of(page, str), page.limit + 1)
        return page_of([view(row) for row in rows], page, lambda row: [row["id"]])

    @routes.get("/v1/webhooks/{webhook_id}")
    async def one(webhook_id: str, who: Owner) -> dict[str, Any]:
        """One of them."""
        return view(await _one(database, webhook_id, who))

    @routes.delete("/v1/webhooks/{webhook_id}")
    async def remove(webhook_id: str, who: Owner, idempotency: Idempotency) -> dict[str, Any]:
        """Nothing is sent to it any more."""
        return await change(Remove(_owner(who), who.actor, webhook_id), idempotency(who, None))

    @routes.post("/v1/webhooks/{webhook_id}/secret")
    async def rotate(webhook_id: str, who: Owner, idempotency: Idempotency) -> dict[str, Any]:
        """A new secret. For 24 hours pushes are signed with the old one too: change it at the receiver meanwhile."""
        needs_key()
        return with_secret(await change(Rotate(_owner(who), who.actor, webhook_id), idempotency(who, None)))

    @routes.post("/v1/webhooks/{webhook_id}/replay")
    async def replay(webhook_id: str, body: ReplayBody, who: Owner, idempotency: Idempotency) -> dict[str, Any]:
        """Sends everything behind position `after` again, with the ids that it had."""
        command = Replay(_owner(who), who.actor, webhook_id, int(body.after))
        return _public(await change(command, idempotency(who, body)))

    @routes.post("/v1/webhooks/{webhook_id}/pause")
    async def pause(webhook_id: str, who: Owner, idempotency: Idempotency) -> dict[str, Any]:
        """Stops the pushes and keeps the place."""
        return _public(await change(Pause(_owner(who), who.actor, webhook_id), idempotency(who, None)))

    @routes.post("/v1/webhooks/{webhook_id}/resume")
    async def resume(webhook_id: str, who: Owner, idempotency: Idempotency) -> dict[str, Any]:
        """Goes on at once where it was; also while pushes fail, and after a 410 of the receiver."""
        return _public(await change(Resume(_owner(who), who.actor, webhook_id), idempotency(who, None)))

    @routes.get("/v1/webhooks/{webhook_id}/deliveries")
    async def deliveries(webhook_id: str, who: Owner, page: Paged, outcome: Outcome | None = None) -> dict[str, Any]:
        """What became of every push of the last 30 days, the newest first."""
        await _one(database, webhook_id, who)
        async with database.read() as pg:
            rows = await repository.deliveries(pg, webhook_id, outcome, after_of(page, int), page.limit + 1)
        items = [
            row
            | {
                "at": row["at"].isoformat(),
                "first_position": str(row["first_position"]),
                "last_position": str(row["last_position"]),
            }
            for row in rows
        ]
        return page_of(items, page, lambda row: [row["number"]])


def _public(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "generation"}


def _owner(who: Principal) -> str | None:
    """Whose webhooks `who` may know of; None: all."""
    return None if "admin" in who.roles else who.platform or f"user:{who.sub}"


async def _one(database: Database, identifier: str, who: Principal) -> dict[str, Any]:
    async with database.read() as pg:
        found = await repository.one(pg, identifier, _owner(who))
    if found is None:
        raise not_found("This webhook")
    return found
