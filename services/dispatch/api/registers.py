"""Duties, units, platforms, and the preview of routing."""

from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from services.dispatch import repository
from services.dispatch.api.parameters import Digits, Id, Keeper, Staff
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.case import Case
from services.dispatch.domain.duties import DutyKind
from services.dispatch.domain.units import Absence, UnitKind, UnitState
from services.dispatch.handlers import Registers, duty_view, unit_view
from services.dispatch.schemas import (
    AbsenceBody,
    CodesBody,
    DutyBody,
    DutyEndBody,
    NoteBody,
    PreviewBody,
    UnitsFile,
)
from shared.clock import Clock, rfc3339
from shared.db.database import Database
from shared.errors import invalid
from shared.federation.directory import DirectoryFile
from shared.http.auth import Caller, Idempotency
from shared.http.commands import FIRST_ANSWER, CommandQueue, Job
from shared.http.pages import Paged, after_of, page_of
from shared.http.requests import BATCH_LIMIT
from shared.security.scope import within


def add_routes(
    routes: APIRouter,
    desk: RoutingDesk,
    registers: Registers,
    jobs: CommandQueue[Job],
    database: Database,
    clock: Clock,
    file: DirectoryFile,
) -> None:
    """Add the routes of `duties`, `routing`, `units` and `platforms`."""

    @routes.get("/v1/duties")
    async def list_duties(
        who: Caller,
        page: Paged,
        matter: Digits = None,
        region: Digits = None,
        kind: Annotated[DutyKind | None, Query(alias="list")] = None,
    ) -> dict[str, Any]:
        """职责清单 and the emergency roster."""
        async with database.read() as pg:
            await desk.refresh(pg)
            rows = await repository.list_duties(pg, matter, region, kind, after_of(page, str), page.limit + 1)
        items = [duty_view(repository.duty_of(row), desk.units) for row in rows]
        return page_of(items, page, lambda row: [row["id"]])

    @routes.post("/v1/duties", status_code=201, responses=FIRST_ANSWER)
    async def add_duty(body: DutyBody, who: Keeper, idempotency: Idempotency, response: Response) -> dict[str, Any]:
        """A dated entry of the duty list or roster; routing uses it from the next case on."""
        if body.valid_from and body.valid_to and body.valid_to < body.valid_from:
            raise invalid("/valid_to", "lies before valid_from")
        duty = body.duty("manual")
        outcome = await jobs.submit(lambda uow: registers.add_duty(duty, who, uow), idempotency(who, body))
        response.status_code = outcome.status
        return outcome.answer

    @routes.post(
        "/v1/duties/import",
        openapi_extra={
            "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}},
        },
    )
    async def import_duties(
        request: Request,
        who: Keeper,
        idempotency: Idempotency,
        activate: Annotated[bool, Query(description="put it into force; else only look what it would change")] = False,
    ) -> dict[str, Any]:
        """A CSV file of duties (UTF-8 or GB 18030) in the place of those imported before: its diff, and the orders not
        accepted yet that it would move. 422 names every wrong line."""
        data = await request.body()
        if not data.strip():
            raise invalid("/", "the body is empty; send the CSV file")
        key = idempotency(who, UnitsFile(sha256=sha256(data + str(activate).encode()).hexdigest()))
        return (await jobs.submit(lambda uow: registers.import_duties(data, activate, who, uow), key)).answer

    @routes.post("/v1/duties/{duty_id}/end")
    async def end_duty(duty_id: Id, body: DutyEndBody, who: Keeper, idempotency: Idempotency) -> dict[str, Any]:
        """Date the end of an entry, also of one that a ruling left; it stays in the list as a record."""
        key = idempotency(who, body)
        last, reason = body.valid_to, body.reason
        return (await jobs.submit(lambda uow: registers.end_duty(duty_id, last, reason, who, uow), key)).answer

    @routes.post("/v1/routing/impact", max_body_size=BATCH_LIMIT)
    async def impact(body: CodesBody, who: Keeper) -> dict[str, Any]:
        """How many unfinished orders would have another lead if matters were called otherwise: what a new catalogue,
        and units imported for it, would move. Nothing is stored; orders keep the matter they have."""
        async with database.read() as pg:
            return await registers.impact_of_codes(pg, body.codes, body.units_version, clock.now())

    @routes.post("/v1/routing/preview")
    async def preview(body: PreviewBody, who: Staff) -> dict[str, Any]:
        """Who would get such a case now, and what every rule says about it. Nothing is stored."""
        async with database.read() as pg:
            await desk.refresh(pg)
        now = clock.now()
        case = Case(
            appeal_id="",
            matter=body.matter,
            handling_class=body.handling_class,
            received_at=now,
            kind=body.kind,
            region_code=body.region_code,
            channel=body.channel,
            tags=frozenset(body.tags),
            groups=frozenset(body.groups),
            text=body.text,
        )
        decision = desk.decide(case, now, frozenset(body.without))
        return {
            "lead": decision.lead,
            "lead_name": desk.units.name(decision.lead),
            "co_handlers": list(decision.co_handlers),
            "platform": decision.platform,
            "class": decision.handling_class.value,
            "clock_policy": decision.clock_policy,
            "return_until": rfc3339(desk.return_until(decision.handling_class, now)),
            "units_version": desk.units.version,
            "decision": [
                {"rule": answer.rule, "outcome": answer.outcome.value, "reason": answer.reason}
                for answer in decision.answers
            ],
        }

    @routes.get("/v1/units")
    async def list_units(
        who: Caller,
        page: Paged,
        kind: Annotated[UnitKind | None, Query()] = None,
        region: Digits = None,
        state: Annotated[UnitState | None, Query()] = None,
    ) -> dict[str, Any]:
        """The units in force, by code."""
        async with database.read() as pg:
            await desk.refresh(pg)
        after = after_of(page, str) or ""
        found = [
            unit_view(unit)
            for code, unit in sorted(desk.units.units.items())
            if code > after
            and (kind is None or unit.kind is kind)
            and (state is None or unit.state is state)
            and (region is None or within(unit.region_code, region))
        ]
        return page_of(found[: page.limit + 1], page, lambda row: [row["code"]])

    @routes.post(
        "/v1/units/import",
        status_code=201,
        responses=FIRST_ANSWER,
        openapi_extra={
            "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}},
        },
    )
    async def import_units(
        request: Request, who: Keeper, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """A CSV file of units (UTF-8 or GB 18030) as a new version: its diff and impact. It is not in force before
        `activate`. 422 names every wrong line."""
        data = await request.body()
        if not data.strip():
            raise invalid("/", "the body is empty; send the CSV file")
        key = idempotency(who, UnitsFile(sha256=sha256(data).hexdigest()))
        outcome = await jobs.submit(lambda uow: registers.propose_units(data, who, uow), key)
        response.status_code = outcome.status
        return outcome.answer

    @routes.post("/v1/units/import/{version}/activate")
    async def activate_units(
        version: Annotated[int, Path(ge=1, le=2**62)],
        who: Keeper,
        idempotency: Idempotency,
        body: NoteBody | None = None,
    ) -> dict[str, Any]:
        """Put an imported version into force."""
        key = idempotency(who, body)
        return (await jobs.submit(lambda uow: registers.activate_units(version, who, uow), key)).answer

    @routes.post("/v1/units/{code}/absences")
    async def add_absence(code: Id, body: AbsenceBody, who: Keeper, idempotency: Idempotency) -> dict[str, Any]:
        """A unit cannot work for some days, and who stands in: new cases go there, and back to the unit afterwards."""
        absence, reason = Absence(body.first, body.last, body.stand_in), body.reason
        key = idempotency(who, body)
        return (await jobs.submit(lambda uow: registers.add_absence(code, absence, reason, who, uow), key)).answer

    @routes.get("/v1/platforms")
    async def list_platforms(who: Caller) -> dict[str, Any]:
        """The platform directory, and which platforms hand over directly.

        `trouble` says what is wrong with the file as it is now, while the last good one holds.
        """
        directory = desk.platforms
        return {
            "own": directory.own,
            "items": [
                {
                    "code": platform.code,
                    "name": place.name if (place := desk.regions.get(platform.code)) else platform.code,
                    "level": platform.level,
                    "parent": platform.parent,
                    "base_url": platform.base_url,
                    "path": list(desk.path(platform.code, clock.now())) if platform.code != directory.own else [],
                }
                for platform in sorted(directory.platforms.values(), key=lambda platform: platform.code)
            ],
            "agreements": [
                {
                    "platforms": sorted(agreement.platforms),
                    "until": agreement.until.isoformat() if agreement.until else None,
                }
                for agreement in directory.agreements
            ],
            "trouble": file.trouble,
            "next": None,
        }
