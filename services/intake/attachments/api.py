"""HTTP of attachments: for people and platforms under `/v1/attachments`, for citizens under `/v1/track/attachments`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.intake import repository as cases
from services.intake.answers import FirstAnswer, visible
from services.intake.attachments import repository
from services.intake.attachments.handlers import CITIZEN, Keep, Purpose, may_read, shown
from services.intake.attachments.keeper import Keeper
from services.intake.attachments.kinds import ACCEPTED, plain_name
from services.intake.attachments.repository import Row
from services.intake.queries import Queries
from services.intake.settings import Limits
from services.intake.vault import Vault
from shared.db import audit
from shared.errors import Problem, invalid, not_found
from shared.http.auth import Idempotency, KeyHeader, Public, allowed
from shared.http.bodies import Body
from shared.http.commands import CommandQueue, IdempotencyKey
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Sender = Annotated[Principal, allowed("seat", "handler", "supervisor", "platform")]
Reader = Annotated[Principal, allowed(*STAFF, "platform")]
Name = Annotated[str | None, Query(max_length=255, description="the file's name; its suffix is put right")]
Number = Annotated[str, Query(min_length=1, max_length=40)]
Code = Annotated[str, Query(min_length=1, max_length=20)]

_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, whatever content type it is sent with: its content decides.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ACCEPTED},
    }
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, always to be saved, never to be shown in place",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ACCEPTED},
    },
    410: {"description": "Its content was deleted"},
}
_CREATED: dict[int | str, dict[str, Any]] = {200: {"description": "The first answer to an equal file"}}


class FileBody(Body):
    """What stands for an uploaded file when equal calls are told apart."""

    appeal_id: str | None
    purpose: str
    sha256: str


def router(keeper: Keeper, keep: CommandQueue[Keep], queries: Queries, vault: Vault, limits: Limits) -> APIRouter:
    """The routes of attachments."""
    routes = APIRouter(tags=["attachments"], route_class=StrictRoute)

    async def take(
        request: Request,
        response: Response,
        who: Principal | None,
        appeal_id: str | None,
        purpose: Purpose,
        name: str | None,
        key: Any,
    ) -> dict[str, Any]:
        """Store first, then acknowledge; what is refused or was there before leaves no file behind."""
        file = await keeper.take(request.stream())
        sealed = vault.seal(file.id, {"name": plain_name(name, file.media_type)})
        command = Keep(file.id, who, appeal_id, purpose, file.media_type, file.size, file.sha256, vault.current, sealed)
        try:
            outcome = await keep.submit(
                command, key(FileBody(appeal_id=appeal_id, purpose=purpose, sha256=file.sha256.hex()))
            )
        except Problem as problem:
            if problem.status < 500:  # else it may be there all the same
                await keeper.drop(file.id)
            raise
        repeated = outcome.repeated or isinstance(outcome.answer, FirstAnswer)
        if repeated:
            await keeper.drop(file.id)
        response.status_code = 200 if repeated else 201
        return outcome.answer

    def read_out(row: Row) -> dict[str, str]:
        """Headers under which no browser runs or shows what a stranger sent."""
        name = _name(vault, row)
        plain = f"attachment.{name.rpartition('.')[2]}"
        return {
            "Content-Length": str(row["size"]),
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-store",
        }

    @routes.post(
        "/v1/attachments", status_code=201, max_body_size=limits.max_bytes, responses=_CREATED, openapi_extra=_FILE
    )
    async def upload(
        request: Request,
        response: Response,
        who: Sender,
        idempotency: Idempotency,
        appeal_id: Annotated[str | None, Query(max_length=64, description="left out: of the appeal to come")] = None,
        purpose: Annotated[Purpose | None, Query(description="left out: evidence of a handler, else material")] = None,
        name: Name = None,
    ) -> dict[str, Any]:
        """A file of a case, or of an appeal that will name it in `attachments`. It is stored when this answers."""
        by_unit = not who.has("seat", "supervisor", "platform")
        what: Purpose = purpose or ("evidence" if by_unit and appeal_id else "material")
        if appeal_id is None and (by_unit or what == "evidence"):
            raise invalid("/appeal_id", "is needed: say which case the evidence is of")
        case = _uuid(appeal_id, "The appeal") if appeal_id is not None else None
        if case is not None:
            await _seen(queries, case, who)  # before the body is read
        return await take(request, response, who, case, what, name, lambda body: idempotency(who, body))

    @routes.get("/v1/attachments")
    async def of_case(who: Reader, appeal_id: Annotated[str, Query(max_length=64)]) -> dict[str, Any]:
        """The files of a case, oldest first; `readable`: the caller may open it, and sees its name."""
        appeal, streams = await _seen(queries, _uuid(appeal_id, "The appeal"), who)
        async with queries.database.look_up() as pg:
            rows = await repository.of_appeal(pg, appeal.id)
        items = []
        for row in rows:
            readable = may_read(who, row, appeal, streams)
            items.append(shown(row) | {"readable": readable, "name": _name(vault, row) if readable else None})
        return {"items": items, "next": None}

    @routes.get("/v1/attachments/{attachment_id}", response_class=StreamingResponse, responses=_CONTENT)
    async def download(attachment_id: str, who: Reader) -> Response:
        """The file. Looking at what a citizen sent is an audit entry."""
        identifier = _uuid(attachment_id, "The attachment")
        async with queries.database.look_up() as pg:
            row = await repository.read(pg, identifier)
        if row is None:
            raise not_found(f"The attachment {attachment_id}")
        if row["appeal_id"] is None:
            if row["uploaded_by"] != who.actor and "admin" not in who.roles:
                raise not_found(f"The attachment {attachment_id}")
        else:
            appeal, streams = await _seen(queries, row["appeal_id"], who, f"The attachment {attachment_id}")
            if not may_read(who, row, appeal, streams):
                raise Problem(403, "forbidden", "What a citizen sent opens for who handles the case (docs/privacy.md).")
        parts = await keeper.read(row)
        if row["purpose"] == "material" and row["uploaded_by"] != who.actor:
            async with queries.database.transaction() as uow:
                detail = {"appeal": row["appeal_id"]}
                await audit.record(uow, actor=who.actor, action="attachment.read", subject=row["id"], detail=detail)
        return StreamingResponse(parts, media_type=row["media_type"], headers=read_out(row))

    @routes.post(
        "/v1/track/attachments",
        status_code=201,
        max_body_size=limits.max_bytes,
        dependencies=[Public],
        responses=_CREATED,
        openapi_extra=_FILE,
    )
    async def upload_of_citizen(
        request: Request,
        response: Response,
        reference_no: Number,
        query_code: Code,
        name: Name = None,
        key: KeyHeader = None,
    ) -> dict[str, Any]:
        """A file that the citizen adds to an appeal; no token, the query code opens it."""
        case = await queries.appeal_of(reference_no, query_code)
        path = request.url.path

        def scoped(body: Body) -> IdempotencyKey | None:
            return IdempotencyKey.of(f"{CITIZEN}:{case}", "POST", path, key, body.canonical()) if key else None

        return await take(request, response, None, case, "material", name, scoped)

    @routes.get("/v1/track/attachments", dependencies=[Public])
    async def of_citizen(reference_no: Number, query_code: Code) -> dict[str, Any]:
        """What the citizen added."""
        case = await queries.appeal_of(reference_no, query_code)
        async with queries.database.look_up() as pg:
            rows = await repository.of_appeal(pg, case)
        own = [row for row in rows if row["uploaded_by"] == CITIZEN]
        return {"items": [shown(row) | {"name": _name(vault, row)} for row in own], "next": None}

    @routes.get(
        "/v1/track/attachments/{attachment_id}",
        dependencies=[Public],
        response_class=StreamingResponse,
        responses=_CONTENT,
    )
    async def download_of_citizen(attachment_id: str, reference_no: Number, query_code: Code) -> Response:
        """The citizen's own file again."""
        case = await queries.appeal_of(reference_no, query_code)
        async with queries.database.look_up() as pg:
            row = await repository.read(pg, _uuid(attachment_id, "The attachment"))
        if row is None or row["appeal_id"] != case or row["uploaded_by"] != CITIZEN:
            raise not_found(f"The attachment {attachment_id}")
        return StreamingResponse(await keeper.read(row), media_type=row["media_type"], headers=read_out(row))

    return routes


async def _seen(queries: Queries, appeal_id: str, who: Principal, what: str | None = None) -> Any:
    """The appeal and what the streams said of it. Raises Problem 404 for who does not see it."""
    async with queries.database.look_up() as pg:
        found = await cases.case_of(pg, appeal_id)
    if found is not None:
        columns = found.streams.columns(appeal_id)
        if visible(who, columns.region_code, columns.units, found.source_platform):
            return found.appeal, found.streams
    raise not_found(what or f"The appeal {appeal_id}")


def _name(vault: Vault, row: Row) -> str:
    name: str = vault.open(row["id"], row["key_id"], row["name"])["name"]
    return name


def _uuid(text: str, what: str) -> str:
    """The canonical form of an id. Raises Problem 404 for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found(what) from None
