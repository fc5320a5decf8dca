"""HTTP of evaluate: the rates of a month, the ranking, the formulas."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from services.evaluate import repository
from services.evaluate.domain import RATES, Counts, Formula, Level, Standing, period_of, quotient, rounded, sides
from services.evaluate.handlers import Handlers, Month
from services.evaluate.schemas import FormulaBody
from shared.clock import Clock
from shared.db.database import Database
from shared.errors import invalid
from shared.http.auth import Caller, Idempotency, allowed
from shared.http.commands import CommandQueue
from shared.http.pages import Page, Paged, after_of, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Reader = Annotated[Principal, allowed(*STAFF)]
PeriodPath = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="a month, YYYY-MM")]


def router(
    handlers: Handlers, database: Database, clock: Clock, formulas: CommandQueue[tuple[Formula, str]]
) -> APIRouter:
    """The routes of `evaluations`, `rankings` and `formulas` (api.md, "Routes")."""
    routes = APIRouter(tags=["evaluate"], route_class=StrictRoute)

    async def month(period: str, level: Level) -> Month:
        if period.startswith("0000"):
            raise invalid("/period", "years begin with 0001")
        async with database.read() as pg:
            return await handlers.month(pg, database.platform, period, level)

    @routes.get("/v1/evaluations/{period}")
    async def evaluation(period: PeriodPath, who: Reader, asked: Paged, level: Level = Level.UNIT) -> dict[str, Any]:
        """The rates of a month with the counts beside each, of those units (streets, …) that the caller may see."""
        found = await month(period, level)
        items = [_item(found, standing) for standing in sorted(found.standings, key=lambda s: s.name)]
        visible = [item for item in items if _sees(who, level, item)]
        after = after_of(asked, str)
        rows = [item for item in visible if after is None or item["id"] > after][: asked.limit + 1]
        return _head(found) | page_of(rows, asked, lambda item: [item["id"]])

    @routes.get("/v1/rankings/{period}")
    async def ranking(period: PeriodPath, who: Reader, asked: Paged, level: Level = Level.UNIT) -> dict[str, Any]:
        """Best first; too few asked appeals: last, unranked. Ranks count units that the caller may not see too."""
        found = await month(period, level)
        items = [_line(found, standing) for standing in found.standings]
        visible = [item for item in items if _sees(who, level, item)]
        return _head(found) | page_of(_after(visible, asked), asked, lambda item: [item["id"]])

    @routes.get("/v1/formulas")
    async def list_formulas(_: Caller) -> dict[str, Any]:
        """Every version of the score, the default first."""
        async with database.read() as pg:
            known = [handlers.default_formula, *await repository.list_formulas(pg)]
        return {"items": [_formula(formula) for formula in known], "next": None}

    @routes.post(
        "/v1/formulas",
        status_code=201,
        responses={200: {"description": "The first answer to the same Idempotency-Key"}},
    )
    async def add_formula(
        body: FormulaBody, who: Annotated[Principal, allowed("leader")], idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """A new version from a month that is not over; versions are never changed. 200 for a repeated call."""
        try:
            formula = body.formula()
        except ValueError as error:
            raise invalid("/" + str(error).partition(":")[0].split()[0], str(error)) from error
        if formula.effective_from < period_of(clock.now(), handlers.zone):
            raise invalid("/effective_from", "lies in the past: months that are over keep their formula")
        outcome = await formulas.submit((formula, who.actor), idempotency(who, body))
        response.status_code = 200 if outcome.repeated else 201
        return outcome.answer

    return routes


def _head(month: Month) -> dict[str, Any]:
    return {"period": month.period, "level": month.level.value, "formula": month.formula.version}


def _line(month: Month, standing: Standing) -> dict[str, Any]:
    name, region = month.names.get(standing.name, ("", standing.name))
    return {
        "id": standing.name,
        "name": name,
        "region_code": region,
        "rank": standing.rank,
        "score": float(standing.score) if standing.score is not None else None,
        "asked": standing.counts.asked,
    }


def _item(month: Month, standing: Standing) -> dict[str, Any]:
    return _line(month, standing) | {
        "rates": {rate: _rate(standing.counts, rate) for rate in RATES},
        "counts": asdict(standing.counts),
    }


def _rate(counts: Counts, rate: str) -> dict[str, Any]:
    value = quotient(counts, rate)
    numerator, denominator = sides(counts, rate)
    return {
        "rate": float(rounded(value, 4)) if value is not None else None,
        "numerator": numerator,
        "denominator": denominator,
    }


def _sees(who: Principal, level: Level, item: dict[str, Any]) -> bool:
    if level is Level.UNIT:
        return who.sees_unit(item["id"]) and who.sees_region(item["region_code"])
    return who.sees_region(item["region_code"])


def _after(items: list[dict[str, Any]], asked: Page) -> list[dict[str, Any]]:
    start = 0
    after = after_of(asked, str)
    if after is not None:
        start = next((n + 1 for n, item in enumerate(items) if item["id"] == after), len(items))
    return items[start : start + asked.limit + 1]


def _formula(formula: Formula) -> dict[str, Any]:
    return {
        "version": formula.version,
        "effective_from": formula.effective_from,
        **repository.formula_body(formula),
    }
