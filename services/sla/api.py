"""Routes of sla: clocks of an order with their explanations, lamps, supervisions, policies and calendars."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from services.sla import repository
from services.sla.commands import Acknowledge, AddRules
from services.sla.domain.calendar import FIRST_YEAR, LAST_YEAR
from services.sla.domain.clock import Clock
from services.sla.domain.explanation import explain
from services.sla.domain.relay import Calendar
from services.sla.events import whole_seconds
from services.sla.rules_api import rules_router
from services.sla.schemas import AcknowledgeBody
from services.sla.terms import TermsBook
from shared.clock import period_bounds, period_of, rfc3339
from shared.db.database import Database
from shared.errors import invalid, not_found
from shared.http.auth import Idempotency, allowed
from shared.http.commands import CommandQueue
from shared.http.pages import Paged, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Reader = Annotated[Principal, allowed(*STAFF)]
Unit = Annotated[str | None, Query(max_length=64)]


def router(
    database: Database,
    terms: TermsBook,
    acknowledgements: CommandQueue[Acknowledge],
    rules: CommandQueue[AddRules],
) -> APIRouter:
    """The routes of api.md, "sla"."""
    api = APIRouter(tags=["sla"], route_class=StrictRoute)

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
        calendar = terms.at(now).calendar_for(row.clock_set)
        return {"items": [_clock(clock, calendar, now) for clock in row.clock_set.clocks]}

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

    @api.get("/v1/sla/suspensions")
    async def suspensions(
        who: Reader,
        page: Paged,
        month: Annotated[str | None, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None,
        unit: Unit = None,
        what: Literal["suspension", "extension"] | None = None,
    ) -> dict[str, Any]:
        """The ledger of 挂账 and 延期 of a month (`YYYY-MM`, this one): who asked, why, with what evidence, who
        decided, how it ended; and by unit the share of its orders that were suspended."""
        begin, end = _month(month or period_of(database.clock.now()))
        async with database.read() as pg:
            by_unit = await repository.shares(pg, who, begin, end, unit)
            rows = await repository.suspensions_of(pg, who, begin, end, unit, what, page)
        return {"by_unit": by_unit} | page_of(rows, page, lambda row: [row["requested_at"], row["id"]])

    api.include_router(rules_router(database, terms, rules))
    return api


def _month(text: str) -> tuple[datetime, datetime]:
    if not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise invalid("/month", f"lies outside {FIRST_YEAR}–{LAST_YEAR}")
    return period_bounds(text)


def _clock(clock: Clock, calendar: Calendar, now: datetime) -> dict[str, Any]:
    return {
        "clock": clock.name.value,
        "round": clock.round,
        "started_at": rfc3339(clock.started_at),
        "due_at": rfc3339(clock.due_at) if clock.due_at else None,
        "stopped_at": rfc3339(clock.stopped_at) if clock.stopped_at else None,
        "stop_reason": clock.stop_reason or None,
        "lamp": clock.lamp.value,
        "level": max(clock.levels, default=0),
        "used_s": whole_seconds(clock.used(now, calendar)),
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
            for segment in explain(clock, calendar)
        ],
    }
