"""What evaluate keeps of each stream. Every handler is one or two statements for the whole batch."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import facts, repository
from services.evaluate.bulletin.content import Material
from services.evaluate.domain import RATES, Counts, Level, before, period_of
from services.evaluate.formula import Formula, formula_for
from services.evaluate.portrait import matters, profile
from services.evaluate.publication import IN_A_ROW, Publication, Publisher, publications, warnings
from services.evaluate.review import Review
from services.evaluate.signs import signs
from services.evaluate.snapshot import formula_facts, formula_of, rolled_up, standings_of
from services.evaluate.standings import Standing, ranking
from services.evaluate.tables import LEDGER, LIVE
from shared.db import audit
from shared.errors import Problem
from shared.events.catalog import clocks, ratings, work_orders
from shared.events.event import Message
from shared.outbox.uow import Uow
from shared.regions import RegionDirectory

CHEAP_S = 0.25
STALE = 20
SHOWN_MONTHS = 6
"""months of the trend in a bulletin"""
MOST_MONTHS = 100
"""months whose sums are kept in memory"""


@dataclass(frozen=True, slots=True)
class Month:
    """The standings of a month on one level, and name and region of who stands there."""

    period: str
    level: Level
    formula: Formula
    standings: list[Standing]
    names: Mapping[str, tuple[str, str]]
    published: Publication | None
    """None: nothing is frozen yet, the numbers are those of this moment"""


class Handlers:
    """`zone`: the platform's, months are counted in it; `default_formula` scores until a version is added."""

    def __init__(
        self, zone: ZoneInfo, default_formula: Formula, regions: RegionDirectory, publisher: Publisher
    ) -> None:
        self.zone = zone
        self.publisher = publisher
        self.default_formula = default_formula
        self.regions = regions
        self._reviews: dict[tuple[Level, str, str], Review] = {}
        self._sums: dict[tuple[str, str], tuple[float, float, dict[str, Counts]]] = {}

    async def on_ratings(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """The latest state of each feedback."""
        await facts.keep_ratings(uow.pg, LIVE, batch, self.zone)

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Dispatches, returns, 推诿, repeats, who the units are; completions."""
        await facts.keep_orders(uow.pg, LIVE, batch, self.zone)
        await facts.keep_completions(uow.pg, batch, self.zone)

    async def on_clocks(self, batch: Sequence[Message[clocks.ClockEvent]], uow: Uow) -> None:
        """Orders that became late."""
        await facts.keep_clocks(uow.pg, LIVE, batch)

    async def on_formulas(self, commands: Sequence[tuple[Formula, str]], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Add versions of the score: (formula, who). A known version or start is refused."""
        answers: list[dict[str, Any] | Problem] = []
        for formula, actor in commands:
            if await repository.add_formula(uow.pg, formula, actor, uow.clock.now()):
                body = formula_facts(formula)
                await audit.record(uow, actor=actor, action="formula.added", subject=formula.version, detail=body)
                answers.append(body)
            else:
                detail = "This version, or one from the same month, is known; versions are never changed."
                answers.append(Problem(409, "formula_exists", detail))
        return answers

    async def _totals(self, pg: Any, platform: str, period: str) -> dict[str, Counts]:
        """The sums of a month. Those of a large hub, which take long, are shown for `STALE` times as long."""
        began = time.monotonic()
        made, took, sums = self._sums.get((platform, period), (0.0, 0.0, {}))
        if took > CHEAP_S and began - made < took * STALE:
            return sums
        sums = await repository.totals(pg, LIVE, platform, period)
        made = time.monotonic()
        self._sums[platform, period] = (made, made - began, sums)
        while len(self._sums) > MOST_MONTHS:
            self._sums.pop(next(iter(self._sums)))
        return sums

    async def month(self, pg: Any, platform: str, period: str, level: Level) -> Month:
        """The standings of a month: as published, or else what is known now, scored by the month's formula."""
        published = await self.publisher.published(period)
        if published is not None:
            document = published.document
            lines = document["levels"][level.value]
            names = {line["id"]: (line["name"], line["region_code"]) for line in lines}
            if level is not Level.UNIT:
                names = {code: self._place(code) for code in names}
            return Month(period, level, formula_of(document), standings_of(document, level), names, published)
        by_unit = await self._totals(pg, platform, period)
        names = await repository.unit_facts(pg, LIVE, platform)
        formula = formula_for(await repository.list_formulas(pg), period, self.default_formula)
        totals = rolled_up(by_unit, names, platform, level)
        if level is not Level.UNIT:
            names = {code: self._place(code) for code in totals}
        return Month(period, level, formula, ranking(totals, formula), names, None)

    async def material(self, pg: Any, platform: str, period: str) -> Material:
        """What the bulletin of a month is made of."""
        found = await self.month(pg, platform, period, Level.UNIT)
        then = await self.month(pg, platform, before(period), Level.UNIT)
        months: list[tuple[str, Counts]] = []
        for number in reversed(range(SHOWN_MONTHS)):
            other = before(period, number)
            city = (await self.month(pg, platform, other, Level.CITY)).standings
            if city and (city[0].counts.closed or number == 0):
                months.append((other, city[0].counts))
        return Material(
            period=period,
            place=self._place(platform)[0],
            formula=found.formula,
            review=self.review(found, then),
            names={unit: name for unit, (name, _) in {**then.names, **found.names}.items()},
            months=months or [(period, Counts())],
            corrections=found.published.document["corrections"] if found.published else [],
            published=found.published.facts() if found.published else None,
        )

    async def portrait(self, pg: Any, platform: str, unit: str, period: str) -> dict[str, Any] | None:
        """What is known of a unit up to a month; None when nothing is."""
        months = [await self.month(pg, platform, before(period, number), Level.UNIT) for number in range(SHOWN_MONTHS)]
        known = [{standing.name: standing for standing in month.standings} for month in months]
        name, region = next((month.names[unit] for month in months if unit in month.names), ("", ""))
        if not name and not any(unit in standings for standings in known):
            return None
        now = {standing.name: standing.counts for standing in months[0].standings}
        marks = profile(unit, now, tuple(RATES))
        review = self.review(months[0], months[1])
        documents = [one.document for one in await publications(pg, LEDGER, platform) if one.period <= period]
        return {
            "unit": unit,
            "name": name,
            "region_code": region,
            "period": period,
            "strengths": [mark["rate"] for mark in marks if mark["mark"] == "strong"],
            "weaknesses": [mark["rate"] for mark in marks if mark["mark"] == "weak"],
            "rates": marks,
            "matters": await matters(pg, platform, period, unit),
            "changed": review.reasons(unit),
            "months": [
                {
                    "period": month.period,
                    "published": month.published is not None,
                    "score": _number(standings[unit].score),
                    "rank": standings[unit].rank,
                    "ranked": sum(one.rank is not None for one in month.standings),
                    "asked": standings[unit].counts.asked,
                }
                for month, standings in zip(reversed(months), reversed(known), strict=True)
                if unit in standings
            ],
            "warnings": [
                {"periods": warning.periods, "ranks": warning.ranks}
                for end in range(len(documents), 0, -1)
                for warning in warnings(documents[:end][-IN_A_ROW:])
                if warning.unit == unit
            ],
        }

    async def signs(self, pg: Any, platform: str, period: str) -> list[dict[str, Any]]:
        """What the centre should look at in a month, with the units' names."""
        names = await repository.unit_facts(pg, LIVE, platform)
        found = await signs(pg, platform, period, await self._totals(pg, platform, period))
        return [one | {"name": names.get(one["unit"], ("", ""))[0]} for one in found]

    async def trial(self, formula: Formula) -> dict[str, Any]:
        """What `formula` would have made of the month before this one, beside the formula that holds now: score and
        rank of every unit by both, by its present rank."""
        now = period_of(self.publisher.database.clock.now(), self.zone)
        last = before(now)
        async with self.publisher.database.read() as pg:
            platform = self.publisher.database.platform
            month = await self.month(pg, platform, last, Level.UNIT)
            present = formula_for(await repository.list_formulas(pg), now, self.default_formula)
        totals = {standing.name: standing.counts for standing in month.standings}
        new = {standing.name: standing for standing in ranking(totals, formula)}
        items = [
            {
                "id": old.name,
                "name": month.names.get(old.name, ("", ""))[0],
                "old_score": _number(old.score),
                "new_score": _number(new[old.name].score),
                "old_rank": old.rank,
                "new_rank": new[old.name].rank,
            }
            for old in ranking(totals, present)
        ]
        return {"period": last, "present": present.version, "items": items}

    def review(self, found: Month, then: Month) -> Review:
        """A month beside the one before it. Of two published months it is made once: neither changes."""
        made = Review(found.level, found.formula, found.standings, then.standings)
        if found.published is None or then.published is None:
            return made
        key = (found.level, found.published.digest, then.published.digest)
        made = self._reviews.setdefault(key, made)
        while len(self._reviews) > MOST_MONTHS:
            self._reviews.pop(next(iter(self._reviews)))
        return made

    def _place(self, code: str) -> tuple[str, str]:
        found = self.regions.get(code)
        return (found.name if found else "", code)


def _number(score: Decimal | None) -> float | None:
    return None if score is None else float(score)
