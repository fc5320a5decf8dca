"""Publishing a month, and rebuilding what was published from the journal alone (docs/evaluation.md, "Publication")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from services.evaluate import repository
from services.evaluate.domain import Level
from services.evaluate.formula import Defaults, Formula, Purpose, formula_for
from services.evaluate.publishing.feed import Feed
from services.evaluate.publishing.ledger import Progress, clear, position_of, read_up_to
from services.evaluate.publishing.snapshot import (
    FORMAT,
    FORMATS,
    Document,
    canonical,
    corrections_of,
    digest_of,
    document_of,
    standings_of,
    stated,
)
from services.evaluate.standings import last_tenth
from services.evaluate.tables import LEDGER, REBUILD, Ledger
from shared.clock import period_bounds, rfc3339
from shared.db import audit
from shared.db.database import Database
from shared.errors import Problem, not_found
from shared.events.catalog.evaluations import (
    Evaluation,
    EvaluationPublished,
    EvaluationUnitWarned,
    LastThreeTimes,
    ScoreFormula,
)

LOOKED_BACK = 12
"""published periods whose late facts a publication states"""
KEPT = 24
"""published months that are kept in memory"""
IN_A_ROW = 3
"""domain.md, Evaluation: so many periods among the last tenth lead to a special supervision"""


@dataclass(frozen=True)
class Publication:
    """A published month as it is kept."""

    period: str
    position: int
    formula: str
    digest: str
    body: bytes
    published_at: datetime
    published_by: str

    @cached_property
    def document(self) -> Document:
        """The snapshot."""
        found: Document = orjson.loads(self.body)
        return found

    def facts(self) -> dict[str, Any]:
        """What is told of it beside its numbers."""
        return {
            "period": self.period,
            "position": self.position,
            "formula": self.formula,
            "digest": self.digest,
            "published_at": rfc3339(self.published_at),
            "published_by": self.published_by,
        }


@dataclass(frozen=True, slots=True)
class Announced:
    """A publication as the journal tells of it: all that a rebuild needs to know beforehand."""

    period: str
    position: int
    format: int
    formula: Formula
    incentive: Formula | None
    digest: str
    published_at: datetime
    published_by: str


class Publisher:
    """Publishes and rebuilds the months of one platform from `feed`."""

    def __init__(self, database: Database, feed: Feed, zone: ZoneInfo, defaults: Defaults) -> None:
        self.database = database
        self.feed = feed
        self.zone = zone
        self.defaults = defaults
        self._known: dict[str, Publication] = {}

    async def publish(self, period: str, actor: str, reason: str | None, progress: Progress) -> dict[str, Any]:
        """Freeze a month that is over, with what the journal holds at this moment; a published one is told again.

        Raises `Problem` 409 for a month that is not over or lies before a published one, 503 without the journal.
        """
        if known := await self.published(period):
            return known.facts() | {"repeated": True}
        now = self.database.clock.now()
        if period_bounds(period, self.zone)[1] > now:
            raise Problem(409, "period_not_over", f"{period} is not over: it can be published from the next month on.")
        async with self.database.look_up() as pg:
            formulas = await repository.list_formulas(pg)
        formula = formula_for(formulas, period, self.defaults[Purpose.SCORE])
        incentive = formula_for(formulas, period, self.defaults[Purpose.INCENTIVE])
        await read_up_to(self.database, self.feed, LEDGER, self.zone, await self.feed.end(), progress)
        async with self.database.transaction() as uow:
            position = await position_of(uow.pg, LEDGER, self.database.platform, hold=True)
            earlier = await publications(uow.pg, LEDGER, self.database.platform, LOOKED_BACK)
            if any(other.period == period for other in earlier):
                raise Problem(409, "already_reading", "It is being published at this moment: ask again.")
            if earlier and earlier[-1].period > period:
                raise Problem(
                    409,
                    "later_published",
                    f"{earlier[-1].period} is published: months are published in their order. What is known of "
                    f"{period} stays under /v1/evaluations.",
                )
            document = await self._document(uow.pg, LEDGER, period, formula, incentive, FORMAT, earlier)
            body = canonical(document)
            made = Publication(period, position, formula.version, digest_of(body), body, now, actor)
            await keep(uow.pg, LEDGER, self.database.platform, made)
            after = Evaluation(
                platform=self.database.platform,
                period=period,
                position=position,
                format=FORMAT,
                formula=ScoreFormula(**asdict(formula)),
                incentive=ScoreFormula(**asdict(incentive)),
                digest=made.digest,
                corrections=len(document["corrections"]),
                published_at=now,
                warnings=warnings([*(one.document for one in earlier), document]),
            )
            uow.emit(EvaluationPublished(actor=actor, reason=reason, after=after), key=period, sequence=1)
            for number, warning in enumerate(after.warnings, start=2):
                words = f"{'、'.join(warning.periods)} 连续三期排名末位10%"
                warned = EvaluationUnitWarned(actor="system:evaluate", reason=words, after=after, warning=warning)
                uow.emit(warned, key=period, sequence=number)
            await audit.record(
                uow, actor=actor, action="evaluation.published", subject=period, reason=reason, detail=made.facts()
            )
        return made.facts() | {"repeated": False}

    async def rebuild(self, period: str, progress: Progress) -> dict[str, Any]:
        """Count a published month again from the first event of the journal, and every month published before it.

        On a database without publications this also puts them back; elsewhere it works beside them and leaves nothing.
        `identical`: the bytes are those that are kept (if any) and their digest is the one that was announced;
        `changed` names this month and earlier ones of which that is not so.
        Raises `Problem` 404 when the journal announces no such publication, 503 without the journal.
        """
        announced = sorted(await self._announced(), key=lambda one: one.position)
        target = next((one for one in announced if one.period == period), None)
        if target is None:
            raise not_found(f"A publication of {period} in the journal")
        async with self.database.look_up() as pg:
            own = await position_of(pg, LEDGER, self.database.platform)
            known = await publications(pg, LEDGER, self.database.platform)
        restoring = _lacks_the_last(announced, known, own)
        ledger = LEDGER if restoring else REBUILD
        wanted = [one for one in announced if one.position <= target.position]
        if ledger is REBUILD:
            await self._start_anew_unless_it_fits(wanted)
        for one in wanted:
            await self._again(ledger, one, lambda at, _: progress(at, target.position))
        async with self.database.look_up() as pg:
            made = {one.period: one for one in await publications(pg, ledger, self.database.platform)}
        kept = {one.period: one.body for one in known}
        changed = [
            one.period
            for one in wanted
            if made[one.period].digest != one.digest
            or kept.get(one.period, made[one.period].body) != made[one.period].body
        ]
        if ledger is REBUILD:
            await clear(self.database, REBUILD)
        return {
            "period": period,
            "identical": period not in changed,
            "changed": sorted(changed),
            "digest": made[period].digest,
            "published_digest": target.digest,
            "position": target.position,
            "restored": restoring,
        }

    async def _start_anew_unless_it_fits(self, wanted: Sequence[Announced]) -> None:
        async with self.database.look_up() as pg:
            at = await position_of(pg, REBUILD, self.database.platform)
            done = {one.period for one in await publications(pg, REBUILD, self.database.platform)}
        if any(one.position < at and one.period not in done for one in wanted) or done - {o.period for o in wanted}:
            await clear(self.database, REBUILD)

    async def _again(self, ledger: Ledger, one: Announced, progress: Progress) -> None:
        if one.format not in FORMATS:
            raise Problem(
                409,
                "newer_format",
                f"{one.period} was published by a later release (format {one.format}): use that one.",
            )
        platform = self.database.platform
        async with self.database.look_up() as pg:
            if any(known.period == one.period for known in await publications(pg, ledger, platform)):
                return
        await read_up_to(self.database, self.feed, ledger, self.zone, one.position, progress)
        async with self.database.transaction() as uow:
            await position_of(uow.pg, ledger, platform, hold=True)
            earlier = await publications(uow.pg, ledger, platform, LOOKED_BACK)
            document = await self._document(uow.pg, ledger, one.period, one.formula, one.incentive, one.format, earlier)
            body = canonical(document)
            made = Publication(
                one.period, one.position, one.formula.version, digest_of(body), body, one.published_at, one.published_by
            )
            await keep(uow.pg, ledger, platform, made)

    async def _announced(self) -> list[Announced]:
        found: dict[str, Announced] = {}
        async for part in self.feed.parts(0, (EvaluationPublished.type,)):
            for _, message in part.events:
                after: Evaluation = message.data.after
                if message.platform == self.database.platform:
                    found.setdefault(
                        after.period,
                        Announced(
                            after.period,
                            after.position,
                            after.format,
                            _announced(after.formula),
                            None if after.incentive is None else _announced(after.incentive),
                            after.digest,
                            after.published_at,
                            message.data.actor,
                        ),
                    )
        return list(found.values())

    async def _document(
        self,
        pg: Any,
        ledger: Ledger,
        period: str,
        formula: Formula,
        incentive: Formula | None,
        form: int,
        earlier: Sequence[Publication],
    ) -> Document:
        platform = self.database.platform
        documents = [one.document for one in earlier]
        corrections: list[dict[str, Any]] = []
        for number, document in enumerate(documents):
            said = stated(document, documents[number + 1 :])
            now = await repository.totals(pg, ledger.facts, platform, document["period"])
            corrections += corrections_of(document, said, now)
        return document_of(
            platform,
            period,
            formula,
            incentive,
            await repository.totals(pg, ledger.facts, platform, period),
            await repository.unit_facts(pg, ledger.facts, platform),
            corrections,
            form,
        )

    async def published(self, period: str) -> Publication | None:
        """A published month, None when it is not. It never changes: its bytes are fetched once."""
        async with self.database.look_up() as pg:
            digest = await pg.fetchval(
                f"SELECT digest FROM {LEDGER.publications.fullname} WHERE platform = $1 AND period = $2",
                self.database.platform,
                period,
            )
            if digest is None:
                return None
            known = self._known.get(period)
            if known is None or known.digest != digest:
                found = await pg.fetchrow(
                    f"SELECT {_COLUMNS} FROM {LEDGER.publications.fullname} WHERE platform = $1 AND period = $2",
                    self.database.platform,
                    period,
                )
                known = self._known[period] = Publication(**found)
                while len(self._known) > KEPT:
                    self._known.pop(next(iter(self._known)))
        return known

    async def reconcile(self) -> dict[str, int]:
        """Publications whose bytes are not those of their digest; 0 is well."""
        async with self.database.read() as pg:
            kept = await publications(pg, LEDGER, self.database.platform)
        return {"publications_changed": sum(digest_of(one.body) != one.digest for one in kept)}


def _announced(formula: ScoreFormula) -> Formula:
    told = msgspec.structs.asdict(formula)
    return Formula(**told | {"purpose": Purpose(told["purpose"])})


_COLUMNS = "period, position, formula, digest, body, published_at, published_by"


async def publications(pg: Any, ledger: Ledger, platform: str, latest: int | None = None) -> list[Publication]:
    """Published months, the oldest first; only the `latest` ones if given."""
    rows = await pg.fetch(
        f"SELECT {_COLUMNS} FROM {ledger.publications.fullname} WHERE platform = $1 ORDER BY period DESC LIMIT $2",
        platform,
        latest,
    )
    return [Publication(**row) for row in reversed(rows)]


async def keep(pg: Any, ledger: Ledger, platform: str, made: Publication) -> None:
    """Write a publication down."""
    await pg.execute(
        f"INSERT INTO {ledger.publications.fullname} (platform, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        platform,
        made.period,
        made.position,
        made.formula,
        made.digest,
        made.body,
        made.published_at,
        made.published_by,
    )


def _lacks_the_last(announced: Sequence[Announced], known: Sequence[Publication], own: int) -> bool:
    """Whether the database has none of what was announced, or the first ones only and has counted no further: it is
    fresh, or an earlier call was interrupted while it put them back."""
    first = sorted(one.period for one in announced[: len(known)])
    return (
        len(known) < len(announced) and first == [one.period for one in known] and own <= announced[len(known)].position
    )


def warnings(documents: Sequence[Document]) -> list[LastThreeTimes]:
    """Units among the last tenth of the three latest months, which must follow each other."""
    if len(documents) < IN_A_ROW:
        return []
    latest = documents[-IN_A_ROW:]
    months = [int(document["period"][:4]) * 12 + int(document["period"][5:]) for document in latest]
    if months != list(range(months[0], months[0] + IN_A_ROW)):
        return []
    rankings = [standings_of(document, Level.UNIT) for document in latest]
    last = set.intersection(*(last_tenth(standings) for standings in rankings))
    lines = {line["id"]: line for line in latest[-1]["levels"][Level.UNIT.value]}
    ranks = [{standing.name: standing.rank for standing in standings} for standings in rankings]
    return [
        LastThreeTimes(
            unit=unit,
            name=lines[unit]["name"],
            region_code=lines[unit]["region_code"],
            periods=[document["period"] for document in latest],
            ranks=[rank for by_unit in ranks if (rank := by_unit[unit]) is not None],
        )
        for unit in sorted(last)
    ]
