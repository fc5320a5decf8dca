"""HTTP of evaluate: the rates of a month and what is behind them, the ranking, publication, the formulas."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from services.evaluate import repository
from services.evaluate.bulletin.content import compose
from services.evaluate.bulletin.markdown import markdown
from services.evaluate.bulletin.pdf import pdf
from services.evaluate.cases import behind
from services.evaluate.domain import RATES, Counts, Level, before
from services.evaluate.formula import Formula, FormulaError
from services.evaluate.months import Month, Months
from services.evaluate.pages.cases import cases_page
from services.evaluate.pages.incentives import incentives_page
from services.evaluate.pages.portrait import portrait_page
from services.evaluate.pages.ranking import ranking_page
from services.evaluate.pages.signs import signs_page
from services.evaluate.publishing.jobs import Jobs
from services.evaluate.publishing.publication import publications
from services.evaluate.publishing.snapshot import formula_facts, rate_of
from services.evaluate.schemas import FormulaBody, PublishBody, RebuildBody
from services.evaluate.standings import Standing
from services.evaluate.tables import LEDGER
from shared.clock import Clock, period_of
from shared.db.database import Database
from shared.errors import Problem, invalid, not_found
from shared.http.auth import Caller, Idempotency, allowed, viewed_by
from shared.http.commands import FIRST_ANSWER, CommandQueue
from shared.http.html import wants_page
from shared.http.pages import Page, Paged, after_of, cursor_of, page_of
from shared.http.requests import StrictRoute
from shared.security.principal import STAFF, Principal

Reader = Annotated[Principal, allowed(*STAFF)]
Viewer = Annotated[Principal, viewed_by(*STAFF)]
Leader = Annotated[Principal, allowed("leader")]
Office = Annotated[Principal, viewed_by("seat", "supervisor", "leader", "auditor")]
Auditor = Annotated[Principal, allowed("leader", "auditor")]
AuditorView = Annotated[Principal, viewed_by("leader", "auditor")]
PeriodPath = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="a month, YYYY-MM")]
Centre = Annotated[Principal, viewed_by("supervisor", "leader", "auditor")]
Wanted = Annotated[str, Query(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="a month, YYYY-MM")]
COUNTED = "|".join(asdict(Counts()))
_READING: dict[int | str, dict[str, Any]] = {
    202: {"description": "The journal is still being read: `{status: reading, position, of}`. Ask again"}
}
_BULLETIN: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bulletin", "content": {"text/markdown": {}, "application/pdf": {}}}
}
_OR_A_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "JSON, or a page for a browser", "content": {"application/json": {}, "text/html": {}}}
}
_JSON_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The published bytes", "content": {"application/json": {}}}
}


def router(
    months: Months, database: Database, clock: Clock, formulas: CommandQueue[tuple[Formula, str]], jobs: Jobs
) -> APIRouter:
    """The routes of `evaluations`, `rankings` and `formulas` (api.md, "Routes")."""
    routes = APIRouter(tags=["evaluate"], route_class=StrictRoute)

    async def month(period: str, level: Level) -> Month:
        async with database.read() as pg:
            return await months.month(pg, _real(period), level)

    @routes.get("/v1/evaluations/{period}")
    async def evaluation(period: PeriodPath, who: Reader, asked: Paged, level: Level = Level.UNIT) -> dict[str, Any]:
        """The rates of a month with the counts beside each, of those units (streets, …) that the caller may see. Of a
        published month: as published."""
        found = await month(period, level)
        items = [item_of(found, standing) for standing in sorted(found.standings, key=lambda s: s.name)]
        visible = [item for item in items if sees(who, level, item)]
        after = after_of(asked, str)
        rows = [item for item in visible if after is None or item["id"] > after][: asked.limit + 1]
        return head_of(found) | page_of(rows, asked, lambda item: [item["id"]])

    @routes.get("/v1/evaluations/{period}/cases", responses=_OR_A_PAGE, response_model=None)
    async def cases(
        request: Request,
        period: PeriodPath,
        who: Viewer,
        asked: Paged,
        unit: Annotated[str, Query(min_length=1, max_length=200, description="`id` of a line of the level")],
        count: Annotated[str, Query(pattern=rf"^({COUNTED})$", description="a count of docs/evaluation.md")] = "closed",
        level: Level = Level.UNIT,
    ) -> dict[str, Any] | Response:
        """The cases behind one number of a unit (or street, district, city), as they are known now; those of units that
        the caller may see."""
        async with database.read() as pg:
            platform = unit if level is Level.PLATFORM else database.platform
            of = await months.facts_of(pg, _real(period), platform)
            units = await months.units_of(pg, of, level, unit)
            seen = [name for name, region in units.items() if who.sees_unit(name) and who.sees_region(region)]
            if not seen:
                raise not_found(f"The {level.value} {unit}")
            key = cursor_of(asked, str, str)
            rows = await behind(pg, of, platform, period, seen, count, key, asked.limit + 1)
            shown = await months.name_of(pg, of, level, unit)
        page = page_of(rows, asked, lambda row: [row["work_order_id"], row["place"]])
        if wants_page(request):
            return cases_page(period, level, unit, shown, count, page["items"], page["next"])
        return page

    @routes.get("/v1/evaluations/{period}/snapshot", responses=_JSON_FILE, response_class=Response)
    async def snapshot(period: PeriodPath, who: AuditorView) -> Response:
        """The bytes that were published: their SHA-256 is the digest. For those who may see every unit."""
        _sees_everything(who)
        found = await months.publisher.published(period)
        if found is None:
            raise not_found(f"A publication of {period}")
        name = f"evaluation-{period}.json"
        return Response(
            found.body,
            media_type="application/json",
            headers={"ETag": f'"{found.digest}"', "Content-Disposition": f'attachment; filename="{name}"'},
        )

    @routes.post("/v1/evaluations/{period}/publish", responses=_READING)
    async def publish(period: PeriodPath, body: PublishBody, who: Leader, response: Response) -> dict[str, Any]:
        """Freeze a month that is over: snapshot, formula, position of the journal, digest. A published month answers
        with what was published. The first call reads the journal, which may take minutes: then 202, ask again."""
        period = _real(period)
        done = await jobs.ask(
            f"publish {period}",
            lambda progress: months.publisher.publish(period, who.actor, body.reason, progress),
        )
        return _told(done, response)

    @routes.post("/v1/evaluations/{period}/rebuild", responses=_READING)
    async def rebuild(period: PeriodPath, body: RebuildBody, who: Auditor, response: Response) -> dict[str, Any]:
        """Count a published month again from the journal's first event: `identical` when every byte is the same."""
        done = await jobs.ask(f"rebuild {period}", lambda progress: months.publisher.rebuild(_real(period), progress))
        return _told(done, response)

    @routes.get("/v1/rankings/{period}", responses=_OR_A_PAGE, response_model=None)
    async def ranking(
        request: Request, period: PeriodPath, who: Viewer, asked: Paged, level: Level = Level.UNIT
    ) -> dict[str, Any] | Response:
        """Best first; too few asked appeals: last, unranked. Beside score and rank: the trend against the month before,
        the peers' median, the rank in each rate (赛马), what moved the score. Ranks count units that the caller may not
        see too. A browser gets all of it as a page."""
        found = await month(period, level)
        comparison = months.comparison(found, await month(before(period), level))
        if wants_page(request):
            whole = await month(period, Level.CITY)
            city = next((one for one in whole.standings if sees(who, Level.CITY, line_of(whole, one))), None)
            seen = [one for one in found.standings if sees(who, level, line_of(found, one))]
            warned = {one.unit for one in await months.warned(period)} if level is Level.UNIT else set()
            return ranking_page(months.place, found, comparison, city, seen, warned)
        more = comparison.lines
        items = [line_of(found, standing) | more[standing.name] for standing in found.standings]
        visible = [item for item in items if sees(who, level, item)]
        page = page_of(_after(visible, asked), asked, lambda item: [item["id"]])
        for item in page["items"]:
            item["reasons"] = comparison.reasons(item["id"])
        return head_of(found) | page

    @routes.get("/v1/portraits/{unit}", responses=_OR_A_PAGE, response_model=None)
    async def portrait(
        request: Request,
        unit: Annotated[str, Path(min_length=1, max_length=200)],
        who: Viewer,
        period: Wanted | None = None,
    ) -> dict[str, Any] | Response:
        """A unit up to a month (default: the last one): strong and weak rates beside all others, its matters, the
        months, what changed, three times among the last tenth."""
        wanted_month = _real(period) if period else before(period_of(clock.now(), months.zone))
        async with database.read() as pg:
            found = await months.portrait(pg, unit, wanted_month)
        if found is None or not who.sees_unit(unit) or not who.sees_region(found["region_code"]):
            raise not_found(f"The unit {unit}")
        return portrait_page(found) if wants_page(request) else found

    @routes.get("/v1/evaluations/{period}/signs", responses=_OR_A_PAGE, response_model=None)
    async def list_signs(request: Request, period: PeriodPath, who: Centre) -> dict[str, Any] | Response:
        """Where numbers look made: bursts before the month's end, completions without contact, identical answers, far
        more exclusions than others. With evidence, for the centre to look at; nothing of it is scored."""
        _sees_everything(who)
        async with database.read() as pg:
            found = await months.signs(pg, _real(period))
        if wants_page(request):
            return signs_page(months.place, period, found)
        return {"items": found, "next": None}

    @routes.get("/v1/evaluations/{period}/incentives", responses=_OR_A_PAGE, response_model=None)
    async def list_incentives(
        request: Request, period: PeriodPath, who: Viewer, asked: Paged
    ) -> dict[str, Any] | Response:
        """Incentives of the units: tag accuracy × handling efficiency, by a formula of its own, best first. Beside each
        the rates and counts that the formula names. Too few asked or judged: last, unranked."""
        async with database.read() as pg:
            formula, standings, found = await months.incentives(pg, _real(period))
        if wants_page(request):
            seen = [one for one in standings if sees(who, Level.UNIT, line_of(found, one))]
            return incentives_page(months.place, found, formula, seen)
        items = [
            line_of(found, standing)
            | {
                "rates": {rate: _rate(standing.counts, rate) for rate in RATES if rate in formula.names},
                "tags_judged": standing.counts.tags_judged,
                "small_sample": not formula.ranks(standing.counts),
            }
            for standing in standings
        ]
        visible = [item for item in items if sees(who, Level.UNIT, item)]
        page = page_of(_after(visible, asked), asked, lambda item: [item["id"]])
        return head_of(found) | {"formula": formula.version, "expression": formula.expression} | page

    @routes.get("/v1/bulletins")
    async def bulletins(_: Office, asked: Paged) -> dict[str, Any]:
        """The published months, the latest first, each with the address of its bulletin."""
        after = after_of(asked, str)
        async with database.read() as pg:
            known = await publications(pg, LEDGER, database.platform)
        items = [
            one.facts() | {"url": f"/v1/bulletins/{one.period}"}
            for one in reversed(known)
            if after is None or one.period < after
        ]
        return page_of(items[: asked.limit + 1], asked, lambda item: [item["period"]])

    @routes.get("/v1/bulletins/{period}", responses=_BULLETIN, response_class=Response)
    async def bulletin(period: PeriodPath, who: Office, format: Literal["markdown", "pdf"] = "markdown") -> Response:
        """通报 of a month in Chinese: rates, ranking, who moved and why, intervals, corrections. A month that is not
        published gives a draft. For those who may see every unit."""
        _sees_everything(who)
        async with database.read() as pg:
            made = compose(await months.material(pg, _real(period)))
        name = f"bulletin-{period}.{'pdf' if format == 'pdf' else 'md'}"
        shown = {"Content-Disposition": f'inline; filename="{name}"'}
        if format == "pdf":
            return Response(await asyncio.to_thread(pdf, made), media_type="application/pdf", headers=shown)
        return Response(markdown(made), media_type="text/markdown; charset=utf-8", headers=shown)

    @routes.get("/v1/formulas")
    async def list_formulas(_: Caller) -> dict[str, Any]:
        """Every version of the score and of the incentive, the defaults first."""
        async with database.read() as pg:
            known = [*months.defaults.values(), *await repository.list_formulas(pg)]
        return {"items": [formula_facts(formula) for formula in known], "next": None}

    def wanted(body: FormulaBody) -> Formula:
        try:
            formula = body.formula()
        except FormulaError as error:
            raise Problem(
                422,
                "invalid_formula",
                f"/expression: {error}",
                errors=[{"pointer": "/expression", "detail": str(error)}],
                position=error.position,
            ) from error
        except ValueError as error:
            field, _, detail = str(error).partition(": ")
            raise invalid(f"/{field}", detail) from error
        if formula.effective_from < period_of(clock.now(), months.zone):
            raise invalid("/effective_from", "lies in the past: months that are over keep their formula")
        return formula

    @routes.post("/v1/formulas/trial")
    async def try_formula(body: FormulaBody, _: Leader) -> dict[str, Any]:
        """What the formula would have made of last month, beside the present one; nothing is stored."""
        return await months.trial(wanted(body))

    @routes.post(
        "/v1/formulas",
        status_code=201,
        responses=FIRST_ANSWER,
    )
    async def add_formula(
        body: FormulaBody, who: Leader, idempotency: Idempotency, response: Response
    ) -> dict[str, Any]:
        """A new version from a month that is not over, and what it would have made of last month (`trial`).
        Versions are never changed. 200 for a repeated call."""
        formula = wanted(body)
        outcome = await formulas.submit((formula, who.actor), idempotency(who, body))
        response.status_code = outcome.status
        return outcome.answer | {"trial": await months.trial(formula)}

    return routes


def _real(period: str) -> str:
    if period.startswith("0000"):
        raise invalid("/period", "years begin with 0001")
    return period


def _sees_everything(who: Principal) -> None:
    if "admin" not in who.roles and (who.units or who.regions):
        raise Problem(403, "forbidden", "A snapshot shows every unit, and this token is limited to some of them.")


def _told(done: dict[str, Any] | tuple[int, int], response: Response) -> dict[str, Any]:
    if isinstance(done, dict):
        return done
    response.status_code = 202
    return {"status": "reading", "position": done[0], "of": done[1]}


def head_of(month: Month) -> dict[str, Any]:
    """What stands above a list of a month."""
    published = None if month.published is None else month.published.facts()
    return {
        "period": month.period,
        "level": month.level.value,
        "formula": month.formula.version,
        "published": published,
    }


def line_of(month: Month, standing: Standing) -> dict[str, Any]:
    """A line of the ranking."""
    name, region = month.names.get(standing.name, ("", standing.name))
    return {
        "id": standing.name,
        "name": name,
        "region_code": region,
        "rank": standing.rank,
        "score": float(standing.score) if standing.score is not None else None,
        "asked": standing.counts.asked,
    }


def item_of(month: Month, standing: Standing) -> dict[str, Any]:
    """A line with every rate and count."""
    return line_of(month, standing) | {
        "rates": {rate: _rate(standing.counts, rate) for rate in RATES},
        "counts": asdict(standing.counts),
    }


def _rate(counts: Counts, rate: str) -> dict[str, Any]:
    found = rate_of(counts, rate)
    interval = found["interval"]
    return {
        "rate": None if found["rate"] is None else float(found["rate"]),
        "numerator": found["numerator"],
        "denominator": found["denominator"],
        "interval": None if interval is None else [float(end) for end in interval],
    }


def sees(who: Principal, level: Level, item: dict[str, Any]) -> bool:
    """Whether the caller may see a line."""
    if level is Level.UNIT:
        return who.sees_unit(item["id"]) and who.sees_region(item["region_code"])
    return who.sees_region(item["region_code"])


def _after(items: list[dict[str, Any]], asked: Page) -> list[dict[str, Any]]:
    start = 0
    after = after_of(asked, str)
    if after is not None:
        start = next((n + 1 for n, item in enumerate(items) if item["id"] == after), len(items))
    return items[start : start + asked.limit + 1]
