"""HTTP of the catalogue: versions, their mapping and their history (api.md, classify)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from services.classify import repository
from services.classify.handlers.catalogues import Catalogues
from services.classify.jobs import created
from services.classify.knowledge import Library
from services.classify.schemas import AcceptSureBody, ActivateBody, FileBody
from shared.clock import Clock, in_zone
from shared.db.database import Database
from shared.errors import invalid, not_found
from shared.http.auth import Caller, Idempotency, allowed
from shared.http.bodies import Instant
from shared.http.commands import FIRST_ANSWER, CommandQueue, Job
from shared.http.pages import Paged, after_of, cursor_of, page_of
from shared.http.requests import BATCH_LIMIT
from shared.security.principal import Principal

Admin = Annotated[Principal, allowed("admin")]
Reader = Annotated[Principal, allowed("seat", "supervisor", "leader", "auditor")]
Version = Annotated[str, Path(min_length=1, max_length=120)]
CSV = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string", "format": "csv"}}}}}
HISTORY = timedelta(days=30)
LONGEST = timedelta(days=366)


def add_routes(
    routes: APIRouter,
    catalogues: Catalogues,
    library: Library,
    jobs: CommandQueue[Job],
    database: Database,
    clock: Clock,
) -> None:
    """Add the routes of `catalogue`."""

    @routes.get("/v1/catalogue/versions")
    async def list_catalogues(who: Caller, page: Paged) -> dict[str, Any]:
        """Imported versions, the newest first, and which is in force."""
        after = after_of(page, int)
        async with database.read() as pg:
            knowledge = await library.present(pg, clock.now())
            rows = await repository.catalogue_list(pg, after, page.limit + 1)
        answer = page_of(rows, page, lambda row: [row["version"]])
        return {
            **answer,
            "items": [
                {
                    **in_zone(dict(row)),
                    "version": str(row["version"]),
                    "in_force": str(row["version"]) == knowledge.catalogue.version,
                }
                for row in answer["items"]
            ],
        }

    @routes.post(
        "/v1/catalogue/versions", max_body_size=BATCH_LIMIT, status_code=201, responses=FIRST_ANSWER, openapi_extra=CSV
    )
    async def import_catalogue(request: Request, who: Admin, idempotency: Idempotency) -> JSONResponse:
        """Import a catalogue (CSV, UTF-8 or GB 18030) as a new version; shows the difference and its impact, activates
        nothing. A column `formerly` gives the mapping from the version in force."""
        body = await _file(request)
        return await created(jobs, lambda uow: catalogues.import_csv(body.csv, who.actor, uow), idempotency(who, body))

    @routes.get("/v1/catalogue/versions/{version}")
    async def show_catalogue(version: Version, who: Reader) -> dict[str, Any]:
        """Difference, mapping and impact of a version as they are now: what to read before it is activated."""
        async with database.read() as pg:
            return await catalogues.shown(pg, _number(version), clock.now())

    @routes.post("/v1/catalogue/versions/{version}/activate")
    async def activate_catalogue(
        version: Version, who: Admin, idempotency: Idempotency, body: ActivateBody | None = None
    ) -> dict[str, Any]:
        """Put a version in force, now or from `effective_from` on."""
        number, begins = _number(version), body.effective_from if body else None
        job: Job = lambda uow: catalogues.activate(number, begins, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, body))).answer

    @routes.get("/v1/catalogue/versions/{version}/mapping")
    async def list_pairs(
        version: Version,
        who: Reader,
        page: Paged,
        state: Annotated[Literal["open", "accepted", "rejected"] | None, Query()] = None,
    ) -> dict[str, Any]:
        """Pairs of an old and a new code: given or proposed, with scores and where they stand."""
        after = cursor_of(page, str, str)
        async with database.read() as pg:
            rows = await catalogues.pairs(pg, _number(version), state, after, page.limit + 1)
        return page_of(rows, page, lambda row: [row["old"]["code"], row["new"]["code"]])

    @routes.post("/v1/catalogue/versions/{version}/mapping", max_body_size=BATCH_LIMIT, openapi_extra=CSV)
    async def give_pairs(version: Version, request: Request, who: Admin, idempotency: Idempotency) -> dict[str, Any]:
        """Give the mapping (CSV with the header `old,new`): these pairs hold at once."""
        number, body = _number(version), await _file(request)
        job: Job = lambda uow: catalogues.give_pairs(number, body.csv, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, body))).answer

    @routes.post("/v1/catalogue/versions/{version}/mapping/propose")
    async def propose_pairs(version: Version, who: Admin, idempotency: Idempotency) -> dict[str, Any]:
        """Look for the successors of the old codes that have none: by words, by meaning, and by their cases."""
        number = _number(version)
        found = await catalogues.propose(number)
        job: Job = lambda uow: catalogues.keep_proposals(number, found, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, None))).answer

    @routes.post("/v1/catalogue/versions/{version}/mapping/accept")
    async def accept_sure_pairs(
        version: Version, body: AcceptSureBody, who: Admin, idempotency: Idempotency
    ) -> dict[str, Any]:
        """Accept the best proposal of each old code that reaches `at_least`; each can be undone by itself."""
        number = _number(version)
        job: Job = lambda uow: catalogues.accept_sure(number, body.at_least, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, body))).answer

    @routes.post("/v1/catalogue/pairs/{pair}/{decision}")
    async def decide_pair(
        pair: Annotated[str, Path(min_length=1, max_length=60)],
        decision: Literal["accept", "reject", "undo"],
        who: Admin,
        idempotency: Idempotency,
    ) -> dict[str, Any]:
        """Decide about one pair of a mapping (`id` of the list), or take a decision back. 409 `already_mapped` when the
        old code leads elsewhere."""
        version, _, codes = pair.partition("-")
        old, _, new = codes.partition("-")
        number = _number(version)
        job: Job = lambda uow: catalogues.decide(number, (old, new), decision, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, None))).answer

    @routes.get("/v1/catalogue/versions/{version}/codes")
    async def list_codes(
        version: Version, who: Caller, since: Annotated[str | None, Query(max_length=120)] = None
    ) -> dict[str, Any]:
        """What each code of version `since` (else of the one before) is called in this version; also backwards. The
        `codes` are what `POST /v1/routing/impact` takes."""
        async with database.read() as pg:
            return await catalogues.codes(pg, _number(version), _number(since) if since is not None else None)

    @routes.get("/v1/catalogue/versions/{version}/history")
    async def history(
        version: Version,
        who: Reader,
        since: Annotated[Instant | None, Query()] = None,
        until: Annotated[Instant | None, Query()] = None,
    ) -> dict[str, Any]:
        """Labels of a time (the last 30 days; at most 366) counted by the matters of this version, whatever version
        they were made with."""
        number = _number(version)
        end = until or clock.now()
        begin = since or end - HISTORY
        if not timedelta() < end - begin <= LONGEST:
            raise invalid("/since", "must lie before until, at most 366 days")
        async with database.read() as pg:
            return await catalogues.history(pg, number, begin, end)


async def _file(request: Request) -> FileBody:
    """The CSV in the body: UTF-8, else GB 18030 (what Excel writes here). Raises Problem 422."""
    raw = await request.body()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise invalid("", "the file holds a NUL character (U+0000); leave it out")
        return FileBody(csv=text)
    raise invalid("", "the file is neither UTF-8 nor GB 18030; save it as UTF-8")


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= 18):
        raise not_found("This catalogue version")
    return int(version)
