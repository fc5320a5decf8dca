"""Operations of a service under `/ops/<service>/` (api.md, "Routes"): health, figures, dead letters, audit."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.db import audit
from shared.errors import Problem, Transient
from shared.http.auth import allowed
from shared.http.bodies import Body
from shared.http.pages import Page, Paged, cursor_of, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import Principal
from shared.service.dead_letter_desk import DeadLetterDesk
from shared.service.runner import Runner

Operator = Annotated[Principal, allowed("admin")]
Reader = Annotated[Principal, allowed("admin", "auditor")]


class ReplayBody(Body):
    """Optional edited body of the dead letter, as a JSON object."""

    value: dict[str, Any] | None = None


def router(runner: Runner) -> APIRouter:
    """The operations of one service."""
    service = runner.service
    letters = DeadLetterDesk(runner.worker)
    routes = APIRouter(prefix=f"/ops/{service.name}", tags=["ops"], route_class=StrictRoute)

    @routes.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @routes.get("/health/ready")
    async def ready(
        purpose: Annotated[
            Literal["all", "http"], Query(alias="for", description="`http`: may it get traffic?")
        ] = "all",
    ) -> Response:
        """200 when the service can do its work, else 503 with the reasons.

        With `?for=http` only what keeps it from answering requests counts: a gateway or a cluster asks this, because
        a service whose bus is away still accepts and keeps what it is given.
        """
        reasons = await runner.not_ready()
        serious = await runner.not_ready(for_http=True) if purpose == "http" else reasons
        return JSONResponse(
            {"status": "not ready" if serious else "ready", "reasons": reasons, "alarms": runner.alarms},
            status_code=503 if serious else 200,
        )

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        """Prometheus text format; no citizen's data in any label."""
        own = generate_latest().decode()
        if runner.elsewhere is not None:
            own = _families(own, of_http=True) + _families(await runner.elsewhere.metrics(service.name), of_http=False)
        return Response(own, media_type=CONTENT_TYPE_LATEST)

    @routes.get("/dead-letters")
    async def dead_letters(
        who: Reader, page: Paged, status: Annotated[str | None, Query(pattern="^[a-z]{1,20}$")] = None
    ) -> dict[str, Any]:
        """Records that could not be handled, oldest first; bodies are not shown."""
        async with service.database.read() as raw:
            rows = await letters.list(raw, status=status, after=_position(page), limit=page.limit + 1)
        return page_of(rows, page, lambda row: [row["id"]])

    @routes.post("/dead-letters/{letter_id}/replay")
    async def replay(who: Operator, letter_id: int, body: ReplayBody | None = None) -> dict[str, Any]:
        """Handle a letter again, then what waits behind it. 409 with the reason when it fails again."""
        edited = orjson.dumps(body.value) if body and body.value is not None else None
        try:
            return await letters.replay(_known(letter_id), value=edited)
        except (Problem, Transient):
            raise
        except Exception as error:
            raise Problem(409, "still_failing", f"It fails again: {type(error).__name__}: {error}"[:500]) from error

    @routes.post("/dead-letters/{letter_id}/discard")
    async def discard(who: Operator, letter_id: int) -> dict[str, Any]:
        """Give a letter up for good; what waits behind it is then handled."""
        async with service.database.transaction() as uow:
            topic, key = await letters.discard(uow, _known(letter_id))
            await audit.record(uow, actor=who.actor, action="dead_letter.discarded", subject=str(letter_id))
        try:
            replayed = (await letters.follow(topic, key))["replayed"]
        except (Problem, Transient):
            raise
        except Exception as error:
            raise Problem(409, "still_failing", f"Discarded; the next one fails: {error}"[:500]) from error
        return {"discarded": letter_id, "replayed": replayed}

    @routes.get("/reconcile")
    async def reconcile(who: Reader) -> dict[str, Any]:
        """Compare the service's tables with what it has read and promised; all zero is well."""
        async with service.database.read() as raw:
            checks: dict[str, int] = {
                "outbox_waiting": await raw.fetchval(f"SELECT count(*) FROM {service.database.schema}.outbox"),
                "early_waiting": await raw.fetchval(f"SELECT count(*) FROM {service.database.schema}.inbox_early"),
                "dead_letters_open": await raw.fetchval(
                    f"SELECT count(*) FROM {letters.table} WHERE status IN ('parked', 'waiting')"
                ),
            }
        checks["log_unread"] = await runner.lag() if service.subscriptions else 0
        if service.reconcile is not None:
            checks.update(await service.reconcile())
        return {"differences": sum(checks.values()), "checks": checks}

    @routes.get("/audit")
    async def entries(who: Reader, page: Paged) -> dict[str, Any]:
        """Audit entries, oldest first."""
        async with service.database.read() as raw:
            rows = await raw.fetch(
                "SELECT position, at, actor, action, subject, reason, detail,"
                " encode(digest, 'hex') AS digest"
                f" FROM {service.database.schema}.audit WHERE position > $1 ORDER BY position LIMIT $2",
                _position(page),
                page.limit + 1,
            )
        return page_of([dict(row) for row in rows], page, lambda row: [row["position"]])

    @routes.get("/audit/verify")
    async def verify(who: Reader) -> dict[str, Any]:
        """Walk the hash chain."""
        async with service.database.read() as raw:
            return await audit.verify(raw, service.database.schema)

    return routes


def _families(text: str, *, of_http: bool) -> str:
    """The metric families about requests, or all others."""
    kept, keep = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("# HELP "):
            keep = line.split(" ", 3)[2].startswith("sushu_http_") == of_http
        if keep:
            kept.append(line)
    return "".join(kept)


def _position(page: Page) -> int:
    after = cursor_of(page, int)
    return int(after[0]) if after else 0


def _known(letter_id: int) -> int:
    if not 0 < letter_id < 2**63:
        raise Problem(404, "not_found", f"dead letter {letter_id} is not known here.")
    return letter_id
