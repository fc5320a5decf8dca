"""HTTP of intake (api.md, intake): parse → command or query → answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from services.intake import repository
from services.intake.answers import FirstAnswer
from services.intake.handlers import CaseCommand, Decline, Join, Part, Unmask, Withdraw
from services.intake.learned_places import LearnedPlaces
from services.intake.queries import Queries
from services.intake.receiving import Desk, Prepared
from services.intake.schemas import (
    AppealBody,
    Channel,
    DeclineBody,
    LinkBody,
    RegionCode,
    Status,
    UnlinkBody,
    UnmaskBody,
    WithdrawBody,
)
from services.intake.vault import Vault
from shared.clock import Clock
from shared.db import audit
from shared.errors import Problem, Transient, invalid, not_found
from shared.http.auth import Idempotency, KeyHeader, Public, allowed
from shared.http.bodies import Body, Code, Instant
from shared.http.commands import CommandQueue, IdempotencyKey, Outcome, unavailable
from shared.http.pages import Page, Paged, after_of, decode_cursor, page_of
from shared.http.problems import invalid_json, validation_problem
from shared.http.requests import BATCH_LIMIT, StrictRoute, parse_json
from shared.security.principal import STAFF, Principal
from shared.terms import terms

CHUNK = 250
"""appeals of a batch that are validated and committed together"""
LINES = 5_000
WHOLE_TIMELINE = 1_000
"""events of one answer"""
BATCHES = 4
"""batch requests at work at once"""

Sender = Annotated[Principal, allowed("seat", "platform")]
Reader = Annotated[Principal, allowed(*STAFF, "platform")]
Centre = Annotated[Principal, allowed("seat", "supervisor")]
Staff = Annotated[Principal, allowed(*STAFF)]
Keeper = Annotated[Principal, allowed("supervisor")]
AppealId = Annotated[str, Path(description="UUIDv7 of the appeal")]


class Receiver:
    """The door for new appeals: one validated body to one committed answer."""

    def __init__(self, desk: Desk, clock: Clock, queue: CommandQueue[Prepared]) -> None:
        self.desk = desk
        self.clock = clock
        self.queue = queue

    def prepare(self, who: Principal, body: AppealBody) -> Prepared:
        """Raises `Problem` 403 for another platform's name, 422 for what only the rules can see."""
        source = body.source_platform or who.platform or self.desk.platform
        if who.platform and source != who.platform and "admin" not in who.roles:
            raise Problem(403, "forbidden", f"This token sends for platform {who.platform} only.")
        return self.desk.prepare(body, source, who.actor, self.clock.now())

    async def submit(self, who: Principal, body: AppealBody, key: IdempotencyKey | None) -> Outcome:
        """The committed outcome; `repeated` also when the external id gave the first answer."""
        outcome = await self.queue.submit(self.prepare(who, body), key)
        return Outcome(outcome.answer, outcome.repeated or isinstance(outcome.answer, FirstAnswer))


def router(
    receiver: Receiver, cases: CommandQueue[CaseCommand], queries: Queries, vault: Vault, learned: LearnedPlaces
) -> APIRouter:
    """All routes of intake but the local ones."""
    routes = APIRouter(tags=["intake"], route_class=StrictRoute)
    batches = asyncio.Semaphore(BATCHES)

    @routes.post("/v1/appeals", status_code=201, responses={200: {"description": "The first answer to an equal body"}})
    async def receive(response: Response, who: Sender, body: AppealBody, idempotency: Idempotency) -> dict[str, Any]:
        """Take in one appeal; the answer is given when it is committed."""
        outcome = await receiver.submit(who, body, idempotency(who, body))
        response.status_code = outcome.status
        return outcome.answer

    @routes.post(
        "/v1/appeals/batch",
        max_body_size=BATCH_LIMIT,
        response_class=StreamingResponse,
        responses={200: {"description": "One line of JSON per line sent", "content": {"application/x-ndjson": {}}}},
        openapi_extra={
            "requestBody": {
                "required": True,
                # the content type is not looked at; text/plain is named for tools that know no NDJSON
                "content": {kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", "text/plain")},
            }
        },
    )
    async def receive_batch(request: Request, who: Sender, key: KeyHeader = None) -> StreamingResponse:
        """Take in up to 5,000 appeals as NDJSON; one bad line harms no other."""
        if batches.locked():
            raise unavailable(f"{BATCHES} batches are at work.")
        async with batches:
            raw = await request.body()
            lines = raw.split(b"\n")
            while lines and not lines[-1].strip():
                lines.pop()
            if len(lines) > LINES:
                raise Problem(
                    413,
                    "too_many_lines",
                    f"A batch has at most {LINES} lines, this one {len(lines)}; send it in parts.",
                )
            if not lines:
                raise invalid("/", "the body is empty; send one appeal as JSON per line")
        return StreamingResponse(
            _answers(receiver, who, lines, request, key, batches), media_type="application/x-ndjson"
        )

    @routes.get("/v1/appeals/places")
    async def learned_places(who: Staff, page: Paged) -> dict[str, Any]:
        """Roads and estates that confirmed cases have told the district of, and which of them are in use."""
        async with learned.database.read() as pg:
            rows = await learned.listed(pg, after_of(page, str), page.limit + 1)
        return page_of([learned.answer(row) for row in rows], page, lambda row: [row["name"]])

    @routes.post("/v1/appeals/places/{name}/{decision}")
    async def decide_place(
        name: Annotated[str, Path(min_length=1, max_length=40)], decision: Literal["refuse", "undo"], who: Keeper
    ) -> dict[str, Any]:
        """Take a name out of use everywhere within half a minute, or undo that."""
        async with learned.database.transaction() as uow:
            state = "refused" if decision == "refuse" else "learned"
            answer = await learned.decide(name, state, who.actor, uow)
            await audit.record(uow, actor=who.actor, action=f"place.{state}", subject=name)
        return answer

    @routes.get("/v1/appeals")
    async def find(
        who: Reader,
        page: Paged,
        status: Status | None = None,
        region: RegionCode | None = None,
        channel: Channel | None = None,
        matter: Code | None = None,
        tag: Code | None = None,
        unit: Code | None = None,
        q: Annotated[str | None, Query(min_length=2, max_length=200)] = None,
        since: Annotated[Instant | None, Query(alias="from")] = None,
        until: Annotated[Instant | None, Query(alias="to")] = None,
    ) -> dict[str, Any]:
        """Search, newest first; `q` finds what holds all its words, Chinese from two characters."""
        if q is not None and all(len(term) < 2 for term in terms(q)):
            raise invalid("/q", "needs at least two characters or one word of letters and digits")
        filters = {
            "status": status,
            "region": region,
            "channel": channel,
            "matter": matter,
            "tag": tag,
            "unit": unit,
            "q": q,
            "from": since,
            "to": until,
        }
        return await queries.find(who, page, filters)

    @routes.get("/v1/appeals/{appeal_id}", response_model=dict[str, Any])
    async def read(appeal_id: AppealId, who: Reader) -> Response:
        """The case: a projection that may trail but never lies."""
        return Response(await queries.case(_uuid(appeal_id), who), media_type="application/json")

    @routes.get("/v1/appeals/{appeal_id}/timeline")
    async def timeline(
        appeal_id: AppealId,
        who: Reader,
        limit: Annotated[int, Query(ge=1, le=WHOLE_TIMELINE)] = WHOLE_TIMELINE,
        after: Annotated[str | None, Query(max_length=500)] = None,
    ) -> dict[str, Any]:
        """Every event of the case in plain words, oldest first; in one piece unless it is very long."""
        page = Page(limit, decode_cursor(after) if after else None)
        return await queries.timeline(_uuid(appeal_id), who, page)

    @routes.get("/v1/track", dependencies=[Public], response_model=dict[str, Any])
    async def track(
        reference_no: Annotated[str, Query(min_length=1, max_length=40)],
        query_code: Annotated[str, Query(min_length=1, max_length=20)],
    ) -> Response:
        """What the citizen may see; no token."""
        return Response(await queries.track(reference_no, query_code), media_type="application/json")

    async def act(command: CaseCommand, who: Principal, body: Body, idempotency: Any) -> dict[str, Any]:
        return (await cases.submit(command, idempotency(who, body))).answer

    @routes.post("/v1/appeals/{appeal_id}/withdraw")
    async def withdraw(
        appeal_id: AppealId, who: Sender, idempotency: Idempotency, body: WithdrawBody | None = None
    ) -> dict[str, Any]:
        """The citizen takes it back."""
        body = body or WithdrawBody()
        return await act(Withdraw(_uuid(appeal_id), who, body.reason), who, body, idempotency)

    @routes.post("/v1/appeals/{appeal_id}/decline")
    async def decline(appeal_id: AppealId, who: Centre, body: DeclineBody, idempotency: Idempotency) -> dict[str, Any]:
        """不予受理: decided by a person, told to the citizen with the reason."""
        return await act(Decline(_uuid(appeal_id), who, body.reason), who, body, idempotency)

    @routes.post("/v1/appeals/{appeal_id}/link")
    async def link(appeal_id: AppealId, who: Centre, body: LinkBody, idempotency: Idempotency) -> dict[str, Any]:
        """Ask dispatch to join this appeal to another one's order."""
        command = Join(_uuid(appeal_id), who, _uuid(body.to), body.relation, body.reason)
        return await act(command, who, body, idempotency)

    @routes.post("/v1/appeals/{appeal_id}/unlink")
    async def unlink(
        appeal_id: AppealId, who: Centre, idempotency: Idempotency, body: UnlinkBody | None = None
    ) -> dict[str, Any]:
        """Ask dispatch for an order of its own."""
        body = body or UnlinkBody()
        return await act(Part(_uuid(appeal_id), who, body.reason), who, body, idempotency)

    @routes.post("/v1/appeals/{appeal_id}/unmask")
    async def unmask(
        appeal_id: AppealId, who: Annotated[Principal, allowed("handler", "seat")], body: UnmaskBody
    ) -> dict[str, Any]:
        """One field of contact data, for a reason that is recorded (domain.md, Privacy and audit).

        Every look is permitted and recorded anew: an `Idempotency-Key` has no effect here.
        """
        identifier = _uuid(appeal_id)
        answer = (await cases.submit(Unmask(identifier, who, body.field, body.reason))).answer
        async with queries.database.look_up() as raw:
            held = await repository.sealed(raw, identifier)
        fields = vault.open(identifier, *held) if held else {}
        return answer | {"value": fields.get(body.field)}

    return routes


async def _answers(
    receiver: Receiver,
    who: Principal,
    lines: list[bytes],
    request: Request,
    key: str | None,
    batches: asyncio.Semaphore,
) -> AsyncIterator[bytes]:
    """Answers in order of the lines, chunk by chunk; the next chunk is prepared while one commits."""
    async with batches:
        running: asyncio.Task[bytes] | None = None
        for start in range(0, len(lines), CHUNK):
            chunk = asyncio.create_task(
                _chunk(receiver, who, start, lines[start : start + CHUNK], request.url.path, key)
            )
            await asyncio.sleep(0)
            if running is not None:
                yield await running
            running = chunk
        if running is not None:
            yield await running


async def _chunk(
    receiver: Receiver, who: Principal, start: int, lines: list[bytes], path: str, key: str | None
) -> bytes:
    answers = await asyncio.gather(
        *(_line(receiver, who, start + offset + 1, raw, path, key) for offset, raw in enumerate(lines))
    )
    return b"".join(orjson.dumps(answer) + b"\n" for answer in answers)


async def _line(
    receiver: Receiver, who: Principal, number: int, raw: bytes, path: str, key: str | None
) -> dict[str, Any]:
    """One line's answer; whatever is wrong with it stays its own."""
    try:
        body = AppealBody.model_validate(parse_json(raw))
        scope = IdempotencyKey.of(who.sub, "POST", path, f"{key}/{number}", body.canonical()) if key else None
        outcome = await receiver.submit(who, body, scope)
    except json.JSONDecodeError:
        return _refused(number, invalid_json(what="line"))
    except ValidationError as error:
        return _refused(number, validation_problem(error.errors(include_input=False, include_url=False)))
    except Problem as problem:
        return _refused(number, problem)
    except Transient:
        return _refused(number, unavailable("The store is not available."))
    answer = outcome.answer
    return {
        "line": number,
        "status": outcome.status,
        "id": answer["id"],
        "reference_no": answer["reference_no"],
        "query_code": answer["query_code"],
    }


def _refused(number: int, problem: Problem) -> dict[str, Any]:
    known = {"id": problem.extra["id"]} if "id" in problem.extra else {}
    return {
        "line": number,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "errors": problem.errors,
    } | known


def _uuid(text: str) -> str:
    """The canonical form of an id. Raises `Problem` 404 for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found("This appeal") from None
