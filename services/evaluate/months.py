"""A month as it is read: what was published of it, or else what is known now, and all that is shown beside it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import repository
from services.evaluate.bulletin.content import Material
from services.evaluate.comparison import Comparison
from services.evaluate.domain import RATES, Counts, Level, before, group_of
from services.evaluate.formula import Formula, Purpose, formula_for
from services.evaluate.portrait import Two, matters, profile, tags
from services.evaluate.publishing.ledger import position_of
from services.evaluate.publishing.publication import IN_A_ROW, Publication, Publisher, warnings
from services.evaluate.publishing.snapshot import formula_of, incentives_of, rolled_up, standings_of
from services.evaluate.signs import signs
from services.evaluate.standings import Standing, ranking
from services.evaluate.tables import LEDGER, LIVE, Facts
from shared.clock import period_of
from shared.events.catalog.evaluations import LastThreeTimes
from shared.regions import RegionDirectory

CHEAP_S = 0.25
STALE = 20
SHOWN_MONTHS = 6
"""months of the trend in a bulletin"""
WARNED_MONTHS = 12
"""months whose special supervisions a portrait shows"""
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


class Months:
    """`zone`: the platform's, months are counted in it."""

    def __init__(self, zone: ZoneInfo, regions: RegionDirectory, publisher: Publisher) -> None:
        self.zone = zone
        self.publisher = publisher
        self.defaults = publisher.defaults
        self.platform = publisher.database.platform
        self.regions = regions
        self._comparisons: dict[tuple[Level, str, str], Comparison] = {}
        self._sums: dict[str, tuple[float, float, dict[str, Counts]]] = {}

    def use_regions(self, present: RegionDirectory) -> None:
        """Places bear the names of this directory from the next page on."""
        self.regions = present

    async def _totals(self, pg: Any, period: str) -> dict[str, Counts]:
        """The sums of a month. Those of a large hub, which take long, are shown for `STALE` times as long."""
        began = time.monotonic()
        made, took, sums = self._sums.get(period, (0.0, 0.0, {}))
        if took > CHEAP_S and began - made < took * STALE:
            return sums
        sums = await repository.totals(pg, LIVE, self.platform, period)
        made = time.monotonic()
        self._sums[period] = (made, made - began, sums)
        while len(self._sums) > MOST_MONTHS:
            self._sums.pop(next(iter(self._sums)))
        return sums

    async def month(self, pg: Any, period: str, level: Level) -> Month:
        """The standings of a month: as published, or else what is known now, scored by the month's formula."""
        if level is Level.PLATFORM:
            return await self._platforms(pg, period)
        published = await self.publisher.published(period)
        if published is not None:
            document = published.document
            lines = document["levels"][level.value]
            names = {line["id"]: (line["name"], line["region_code"]) for line in lines}
            if level is not Level.UNIT:
                names = {code: self._place(code) for code in names}
            return Month(period, level, formula_of(document), standings_of(document, level), names, published)
        by_unit = await self._totals(pg, period)
        names = await repository.unit_facts(pg, LIVE, self.platform)
        formula = formula_for(await repository.list_formulas(pg), period, self.defaults[Purpose.SCORE])
        totals = rolled_up(by_unit, names, self.platform, level)
        if level is not Level.UNIT:
            names = {code: self._place(code) for code in totals}
        return Month(period, level, formula, ranking(totals, formula), names, None)

    async def _platforms(self, pg: Any, period: str) -> Month:
        """Whole platforms side by side, by this one's formula: its own city line, as published, and what the events of
        the others tell."""
        own = await self.month(pg, period, Level.CITY)
        totals = {standing.name: standing.counts for standing in own.standings}
        for platform in await repository.platforms(pg, LIVE, period):
            if platform != self.platform:
                sums = await repository.totals(pg, LIVE, platform, period)
                totals[platform] = sum(sums.values(), Counts())
        names = {code: self._place(code) for code in totals}
        return Month(period, Level.PLATFORM, own.formula, ranking(totals, own.formula), names, None)

    async def material(self, pg: Any, period: str) -> Material:
        """What the bulletin of a month is made of."""
        found = await self.month(pg, period, Level.UNIT)
        then = await self.month(pg, before(period), Level.UNIT)
        months: list[tuple[str, Counts]] = []
        for number in reversed(range(SHOWN_MONTHS)):
            other = before(period, number)
            city = (await self.month(pg, other, Level.CITY)).standings
            if city and (city[0].counts.closed or number == 0):
                months.append((other, city[0].counts))
        return Material(
            period=period,
            place=self.place,
            formula=found.formula,
            comparison=self.comparison(found, then),
            names={unit: name for unit, (name, _) in {**then.names, **found.names}.items()},
            months=months or [(period, Counts())],
            corrections=found.published.document["corrections"] if found.published else [],
            published=found.published.facts() if found.published else None,
            incentives=(await self.incentives(pg, period))[:2],
        )

    async def portrait(self, pg: Any, unit: str, period: str) -> dict[str, Any] | None:
        """What is known of a unit up to a month; None when nothing is."""
        months = [await self.month(pg, before(period, number), Level.UNIT) for number in range(SHOWN_MONTHS)]
        known = [{standing.name: standing for standing in month.standings} for month in months]
        name, region = next((month.names[unit] for month in months if unit in month.names), ("", ""))
        if not name and not any(unit in standings for standings in known):
            return None
        earlier = before(period)
        two = Two(
            self.platform,
            (await self.facts_of(pg, period), period),
            (await self.facts_of(pg, earlier), earlier),
        )
        now = {standing.name: standing.counts for standing in months[0].standings}
        marks = profile(unit, now, tuple(RATES))
        comparison = self.comparison(months[0], months[1])
        return {
            "unit": unit,
            "name": name,
            "region_code": region,
            "period": period,
            "strengths": [mark["rate"] for mark in marks if mark["mark"] == "strong"],
            "weaknesses": [mark["rate"] for mark in marks if mark["mark"] == "weak"],
            "rates": marks,
            "matters": await matters(pg, two, unit),
            "tags": await tags(pg, two, unit),
            "changed": comparison.reasons(unit),
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
                for number in range(WARNED_MONTHS)
                for warning in await self.warned(before(period, number))
                if warning.unit == unit
            ],
        }

    async def warned(self, period: str) -> list[LastThreeTimes]:
        """Units among the last tenth of a published month and of the two before it."""
        latest = [await self.publisher.published(before(period, number)) for number in reversed(range(IN_A_ROW))]
        return warnings([one.document for one in latest if one is not None])

    async def incentives(self, pg: Any, period: str) -> tuple[Formula, list[Standing], Month]:
        """The incentives of a month's units, best first, with their formula (mission.md, E3): as published, or by what
        is known now."""
        month = await self.month(pg, period, Level.UNIT)
        published = incentives_of(month.published.document) if month.published else None
        if published is not None:
            return *published, month
        formula = formula_for(await repository.list_formulas(pg), period, self.defaults[Purpose.INCENTIVE])
        return formula, ranking({standing.name: standing.counts for standing in month.standings}, formula), month

    async def facts_of(self, pg: Any, period: str, platform: str | None = None) -> Facts:
        """Where the cases of a month stand: of a published one in the ledger that it was counted in, when that has read
        so far (it may have been emptied to be read anew)."""
        if platform not in (None, self.platform):
            return LIVE
        published = await self.publisher.published(period)
        if published is not None and await position_of(pg, LEDGER, self.platform) >= published.position:
            return LEDGER.facts
        return LIVE

    async def units_of(self, pg: Any, of: Facts, level: Level, name: str) -> dict[str, str]:
        """unit → region code of those that are counted under a line of a level."""
        if level is Level.PLATFORM:
            return {unit: region for unit, (_, region) in (await repository.unit_facts(pg, of, name)).items()}
        known = await repository.unit_facts(pg, of, self.platform)
        if level is Level.UNIT:
            return {name: known.get(name, ("", ""))[1]}
        return {unit: region for unit, (_, region) in known.items() if group_of(region, self.platform, level) == name}

    async def name_of(self, pg: Any, of: Facts, level: Level, name: str) -> str:
        """What a line of a level is called; its code where nobody said."""
        if level is not Level.UNIT:
            return self._place(name)[0] or name
        return (await repository.unit_facts(pg, of, self.platform)).get(name, ("", ""))[0] or name

    @property
    def place(self) -> str:
        """What the platform's region is called."""
        return self._place(self.platform)[0]

    async def signs(self, pg: Any, period: str) -> list[dict[str, Any]]:
        """What the centre should look at in a month, with the units' names."""
        names = await repository.unit_facts(pg, LIVE, self.platform)
        found = await signs(pg, self.platform, period, await self._totals(pg, period))
        return [one | {"name": names.get(one["unit"], ("", ""))[0]} for one in found]

    async def trial(self, formula: Formula) -> dict[str, Any]:
        """What `formula` would have made of the month before this one, beside the formula that holds now: score and
        rank of every unit by both, by its present rank."""
        now = period_of(self.publisher.database.clock.now(), self.zone)
        last = before(now)
        async with self.publisher.database.read() as pg:
            month = await self.month(pg, last, Level.UNIT)
            present = formula_for(await repository.list_formulas(pg), now, self.defaults[formula.purpose])
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

    def comparison(self, found: Month, then: Month) -> Comparison:
        """A month beside the one before it. Of two published months it is made once: neither changes."""
        made = Comparison(found.level, found.formula, found.standings, then.standings)
        if found.published is None or then.published is None:
            return made
        key = (found.level, found.published.digest, then.published.digest)
        made = self._comparisons.setdefault(key, made)
        while len(self._comparisons) > MOST_MONTHS:
            self._comparisons.pop(next(iter(self._comparisons)))
        return made

    def _place(self, code: str) -> tuple[str, str]:
        found = self.regions.get(code)
        return (found.name if found else "", code)


def _number(score: Decimal | None) -> float | None:
    return None if score is None else float(score)
