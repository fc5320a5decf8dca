"""Routes of sla: clocks of an order with their explanations, lamps, supervisions, policies and calendars."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from services.sla import repository
from services.sla.commands import Acknowledge, AddRules
from services.sla.domain.clocks import Clock
from services.sla.domain.explanation import explain
from services.sla.domain.lifecycle import Terms
from services.sla.events import whole_seconds
from services.sla.repository import Row
from services.sla.schemas import AcknowledgeBody, CalendarBody, PolicyBody
from services.sla.terms import Dated, TermsBook
from shared.clock import rfc3339
from shared.db.database import Database
from shared.errors import not_found
from shared.http.auth import Idempotency, allowed
from shared.http.commands import CommandQueue, IdempotencyKey
from shared.http.pages import Paged, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Reader = Annotated[Principal, allowed(*STAFF)]
Unit = Annotated[str | None, Query(max_length=64)]


_REPEATED: dict[int | str, dict[str, Any]] = {200: {"description": "The first answer to the same Idempotency-Key"}}


def router(
    database: Database,
    terms: TermsBook,
    acknowledgements: CommandQueue[Acknowledge],
    rules: CommandQueue[AddRules],
) -> APIRouter:
    """The routes of api.md, "sla"."""
    api = APIRouter(tags=["sla"], route_class=StrictRoute)

    async def _add(command: AddRules, key: IdempotencyKey | None, response: Response) -> dict[str, Any]:
        outcome = await rules.submit(command, key)
        if outcome.repeated:
            response.status_code = 200
        return outcome.answer

    @api.get("/v1/clocks/{work_order_id}")
    async def clocks(work_order_id: str, who: Reader) -> dict[str, Any]:
        """Every clock of a work order, each with the reasons for its deadline."""
        async with database.read() as pg:
            row = await repository.find(pg, work_order_id)
        if (
            row is None
            or row.clock_set is None
            or not who.sees_unit(row.owner.unit)
            or not who.sees_region(row.owner.region_code)
        ):
            raise not_found("This work order")
        now = database.clock.now()
        return {"items": [_clock(clock, row, terms.at(now), now) for clock in row.clock_set.clocks]}

    @api.get("/v1/lamps")
    async def lamps(
        who: Reader, page: Paged, unit: Unit = None, lamp: Literal["green", "yellow", "red"] | None = None
    ) -> dict[str, Any]:
        """How many open orders show which lamp, and the orders behind the figures, the earliest deadline first."""
        async with database.read() as pg:
            counts, rows = await repository.lamps(pg, who, unit, lamp, page)
        return {"counts": counts} | page_of(rows, page, lambda row: [row["due_at"], row["work_order_id"]])

    @api.get("/v1/supervisions")
    async def supervisions(
        who: Reader,
        page: Paged,
        level: Annotated[int | None, Query(ge=1, le=3)] = None,
        unit: Unit = None,
        acknowledged: bool | None = None,
    ) -> dict[str, Any]:
        """Supervisions (督办) that were announced, the newest first."""
        async with database.read() as pg:
            rows = await repository.supervisions_of(pg, who, level, unit, acknowledged, page)
        return page_of(rows, page, lambda row: [row["id"]])

    @api.post("/v1/supervisions/{supervision_id}/acknowledge")
    async def acknowledge(
        supervision_id: str,
        who: Annotated[Principal, allowed("handler", "supervisor", "leader")],
        idempotency: Idempotency,
        body: AcknowledgeBody | None = None,
    ) -> dict[str, Any]:
        """Takes notice of a supervision; the first notice is kept."""
        command = Acknowledge(who, supervision_id, body.note if body else None)
        return (await acknowledgements.submit(command, idempotency(who, body))).answer

    @api.get("/v1/sla/policies")
    async def policies(who: Reader) -> dict[str, Any]:
        """Every version of the time limits, the one in force marked."""
        held = terms.at(database.clock.now()).policy.version
        return {"items": [_dated(v, held) | {"policy": v.value.as_data()} for v in terms.policies], "next": None}

    @api.post("/v1/sla/policies", status_code=201, responses=_REPEATED)
    async def add_policy(
        body: PolicyBody, who: Annotated[Principal, allowed("leader")], idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """Adds a version of the time limits, for clocks that start or are re-based from its day on."""
        data = body.model_dump(exclude={"effective_from"})
        command = AddRules(who, "policy", data, body.effective_from)
        return await _add(command, idempotency(who, body), response)

    @api.get("/v1/sla/calendars")
    async def calendars(who: Reader) -> dict[str, Any]:
        """Every version of the working calendar, the one in force marked."""
        held = terms.at(database.clock.now()).calendar.version
        return {"items": [_dated(v, held) | _calendar(v) for v in terms.calendars], "next": None}

    @api.post("/v1/sla/calendars", status_code=201, responses=_REPEATED)
    async def add_calendar(
        body: CalendarBody, who: Annotated[Principal, allowed("leader")], idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """Adds the holidays and worked weekends of whole years, as the State Council publishes them."""
        data = body.model_dump(exclude={"effective_from"})
        command = AddRules(who, "calendar", data, body.effective_from)
        return await _add(command, idempotency(who, body), response)

    return api


def _clock(clock: Clock, row: Row, terms: Terms, now: Any) -> dict[str, Any]:
    return {
        "clock": clock.name.value,
        "round": clock.round,
        "started_at": rfc3339(clock.started_at),
        "due_at": rfc3339(clock.due_at) if clock.due_at else None,
        "stopped_at": rfc3339(clock.stopped_at) if clock.stopped_at else None,
        "stop_reason": clock.stop_reason or None,
        "lamp": clock.lamp.value,
        "level": max(clock.levels, default=0),
        "used_s": whole_seconds(clock.used(now, terms.calendar)),
        "allowed_s": whole_seconds(clock.allowed),
        "unit_of_time": clock.allowance.counting.value,
        "provisional": clock.provisional,
        "policy": clock.policy,
        "explanation": [
            {
                "from": rfc3339(segment.since),
                "to": rfc3339(segment.until),
                "counted": segment.counted,
                "seconds": segment.seconds,
                "words": segment.words,
            }
            for segment in explain(clock, terms.calendar)
        ],
    }


def _dated(version: Dated, held: str) -> dict[str, Any]:
    return {
        "version": version.version,
        "effective_from": rfc3339(version.effective_from),
        "created_by": version.created_by,
        "in_force": version.version == held,
    }


def _calendar(version: Dated) -> dict[str, Any]:
    data = version.value.data
    return {
        "published_years": sorted(data.published_years),
        "hours": [[f"{opens:%H:%M}", f"{closes:%H:%M}"] for opens, closes in data.hours],
        "holidays": {day.isoformat(): name for day, name in sorted(data.holidays.items())},
        "workdays": {day.isoformat(): name for day, name in sorted(data.workdays.items())},
    }
