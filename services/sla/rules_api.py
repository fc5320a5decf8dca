"""Routes of the rules: policies and calendars with their versions, what they would move, what they moved."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from services.sla import repository
from services.sla.commands import AddRules, rules_of
from services.sla.schemas import CalendarBody, CalendarFile, PolicyBody, WhatIfBody
from services.sla.sheets import Entry, calendar_data, entries_of_csv, entries_of_maps, years_of
from services.sla.terms import Dated, TermsBook
from services.sla.what_if import what_if
from shared.clock import rfc3339
from shared.db.database import Database
from shared.errors import invalid, not_found
from shared.http.auth import Idempotency, allowed
from shared.http.bodies import Instant
from shared.http.commands import FIRST_ANSWER, CommandQueue, IdempotencyKey
from shared.http.pages import Paged, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Reader = Annotated[Principal, allowed(*STAFF)]
Leader = Annotated[Principal, allowed("leader")]
Unit = Annotated[str | None, Query(max_length=64)]
Version = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[\w.\-:]+$")]

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_CSV = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}


def rules_router(database: Database, terms: TermsBook, rules: CommandQueue[AddRules]) -> APIRouter:
    """The routes below `/v1/sla/`."""
    api = APIRouter(tags=["sla"], route_class=StrictRoute)

    async def _add(command: AddRules, key: IdempotencyKey | None, response: Response) -> dict[str, Any]:
        outcome = await rules.submit(command, key)
        response.status_code = outcome.status
        return outcome.answer

    @api.get("/v1/sla/policies")
    async def policies(who: Reader) -> dict[str, Any]:
        """Every version of the time limits, the one in force marked."""
        held = terms.at(database.clock.now()).policy.version
        return {
            "items": [_dated(v, v.version == held) | {"policy": v.value.as_data()} for v in terms.policies],
            "next": None,
        }

    @api.post("/v1/sla/policies", status_code=201, responses=FIRST_ANSWER)
    async def add_policy(body: PolicyBody, who: Leader, idempotency: Idempotency, response: Response) -> dict[str, Any]:
        """Adds a version of the time limits. From its instant on it holds for open orders too, from their starts."""
        command = AddRules(who, "policy", body.model_dump(exclude={"effective_from"}), body.effective_from)
        return await _add(command, idempotency(who, body), response)

    @api.get("/v1/sla/calendars")
    async def calendars(who: Reader, unit: Unit = None) -> dict[str, Any]:
        """Every version of the working calendars (of `unit` and the platform), those in force marked."""
        now = database.clock.now()
        held = {v.unit: v.version for v in terms.calendars if v.effective_from <= now}
        items = [
            _dated(v, v.version == held.get(v.unit)) | _calendar(v)
            for v in terms.calendars
            if unit is None or v.unit in ("", unit)
        ]
        return {"items": items, "next": None}

    @api.post("/v1/sla/calendars", status_code=201, responses=FIRST_ANSWER)
    async def add_calendar(
        body: CalendarBody, who: Leader, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """Adds a version of the platform's or a unit's calendar. Open orders are timed by it from its instant on; days
        that were counted by then stay (`already_counted`). 422 names every fault."""
        command = AddRules(who, "calendar", _calendar_of(body), body.effective_from, body.unit or "")
        return await _add(command, idempotency(who, body), response)

    @api.post("/v1/sla/calendars/import", status_code=201, responses=FIRST_ANSWER, openapi_extra=_CSV)
    async def import_calendar(
        request: Request,
        version: Version,
        who: Leader,
        idempotency: Idempotency,
        response: Response,
        years: Annotated[str, Query(max_length=500)] = "",
        unit: Unit = None,
        effective_from: Annotated[str, Query(max_length=40)] = "",
    ) -> dict[str, Any]:
        """As `POST /v1/sla/calendars`, from a CSV file with the columns day, to, rule (holiday or workday), name.
        `years` as in `2027,2028`. 422 names every wrong line."""
        raw = await request.body()
        data = calendar_data(version, years_of(years), entries_of_csv(raw), None, unit or "")
        key = CalendarFile(
            version=version,
            unit=unit or None,
            years=years,
            effective_from=effective_from,
            sha256=sha256(raw).hexdigest(),
        )
        command = AddRules(who, "calendar", data, _instant(effective_from), unit or "")
        return await _add(command, idempotency(who, key), response)

    @api.post("/v1/sla/what-if")
    async def try_rules(body: WhatIfBody, who: Leader) -> Response:
        """Which open deadlines would move under another policy or calendar: every one from → to, and counts by unit.
        Nothing is changed."""
        if body.policy is None and body.calendar is None:
            raise invalid("/", "give a policy, a calendar, or both")
        given = body.effective_from or (body.policy and body.policy.effective_from)
        at = given or (body.calendar and body.calendar.effective_from) or database.clock.now()
        changed, _ = rules_of(
            terms,
            at,
            policy=None if body.policy is None else body.policy.model_dump(exclude={"effective_from"}),
            calendar=None if body.calendar is None else _calendar_of(body.calendar),
            unit=(body.calendar.unit or "") if body.calendar else "",
        )
        return Response(await what_if(database, terms, who, at, changed), media_type="application/json")

    async def _moved(
        versions: list[Dated], version: str, who: Principal, unit: str | None, page: Any
    ) -> dict[str, Any]:
        found = next((known for known in versions if known.version == version), None)
        if found is None:
            raise not_found("This version")
        async with database.read() as pg:
            by_unit, rows = await repository.moves_of(pg, who, found.effective_from, unit, page)
        listed = page_of(rows, page, lambda row: [row["work_order_id"], row["clock"], row["round"]])
        return {"version": version, "moved": sum(row["moved"] for row in by_unit), "by_unit": by_unit} | listed

    @api.get("/v1/sla/policies/{version}/moved")
    async def moved_by_policy(version: str, who: Reader, page: Paged, unit: Unit = None) -> dict[str, Any]:
        """The deadlines that moved when this version came into force."""
        return await _moved(terms.policies, version, who, unit, page)

    @api.get("/v1/sla/calendars/{version}/moved")
    async def moved_by_calendar(version: str, who: Reader, page: Paged, unit: Unit = None) -> dict[str, Any]:
        """The deadlines that moved when this version came into force."""
        return await _moved(terms.calendars, version, who, unit, page)

    return api


def _calendar_of(body: CalendarBody) -> dict[str, Any]:
    entries = entries_of_maps(body.holidays, body.workdays)
    entries += [
        Entry(f"/days/{index}", index + 1, day.day, day.to or day.day, day.rule, day.name)
        for index, day in enumerate(body.days)
    ]
    return calendar_data(body.version, body.years, entries, body.hours, body.unit or "")


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return _INSTANT.validate_python(text)
    except ValidationError:
        raise invalid(
            "/effective_from", "must be an RFC 3339 time with offset, e.g. 2027-01-01T00:00:00+08:00"
        ) from None


def _dated(version: Dated, in_force: bool) -> dict[str, Any]:
    return {
        "version": version.version,
        "effective_from": rfc3339(version.effective_from),
        "created_by": version.created_by,
        "in_force": in_force,
    }


def _calendar(version: Dated) -> dict[str, Any]:
    data = version.value
    hours = data.later_hours[-1][1] if data.later_hours else data.hours
    return {
        "unit": version.unit or None,
        "published_years": sorted(data.published_years),
        "hours": [[f"{opens:%H:%M}", f"{closes:%H:%M}"] for opens, closes in hours],
    } | {
        name: {day.isoformat(): words for day, words in sorted(days.items())}
        for name, days in (
            ("holidays", data.holidays),
            ("workdays", data.workdays),
            ("closures", data.closures),
            ("extra_days", data.extra_days),
        )
    }
