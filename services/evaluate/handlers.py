"""What evaluate keeps of each stream. Every handler is one or two statements for the whole batch."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import repository
from services.evaluate.domain import (
    Closing,
    Counts,
    Formula,
    Level,
    Standing,
    counted,
    formula_for,
    group_of,
    period_of,
    ranking,
)
from services.evaluate.tables import CASE_COUNTS
from shared.db import audit
from shared.errors import Problem
from shared.events.catalog import clocks, ratings, work_orders
from shared.events.event import Message
from shared.outbox.uow import Uow
from shared.regions import RegionDirectory

CHEAP_S = 0.05
STALE = 20
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


class Handlers:
    """`zone`: the platform's, months are counted in it; `default_formula` scores until a version is added."""

    def __init__(self, zone: ZoneInfo, default_formula: Formula, regions: RegionDirectory) -> None:
        self.zone = zone
        self.default_formula = default_formula
        self.regions = regions
        self._sums: dict[tuple[str, str], tuple[float, float, dict[str, Counts]]] = {}

    async def on_ratings(self, batch: Sequence[Message[ratings.FeedbackEvent]], uow: Uow) -> None:
        """The latest state of each feedback, with what it adds to the counts once it is closed."""
        latest: dict[tuple[str, str], Message[ratings.FeedbackEvent]] = {}
        for message in batch:
            place = (message.platform, message.key)
            if place not in latest or message.sequence > latest[place].sequence:
                latest[place] = message
        await repository.save_cases(uow.pg, [self._case(message) for message in latest.values()])

    def _case(self, message: Message[ratings.FeedbackEvent]) -> dict[str, Any]:
        after = message.data.after
        closed_at = after.closed_at if after.status == "closed" else None
        counts = counted(closing_of(after)) if closed_at else Counts()
        return {
            "platform": message.platform,
            "appeal_id": after.appeal_id,
            "sequence": message.sequence,
            "work_order_id": after.work_order_id,
            "unit": after.unit,
            "closed_at": closed_at,
            "period": period_of(closed_at, self.zone) if closed_at else None,
            **{name: value for name, value in asdict(counts).items() if name in CASE_COUNTS},
        }

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Dispatches, returns and 推诿, each once by (order, sequence); repeats of closed cases; who the units are."""
        moves: list[dict[str, Any]] = []
        repeats: dict[tuple[str, str], dict[str, Any]] = {}
        units: dict[tuple[str, str], tuple[str, str]] = {}
        for message in batch:
            order, platform = message.data.after, message.platform
            period = period_of(message.time, self.zone)
            if order.repeat_of is not None and order.appeal_ids:
                appeal_id = order.appeal_ids[0]
                repeats[(platform, appeal_id)] = {
                    "platform": platform,
                    "appeal_id": appeal_id,
                    "repeat_of": order.repeat_of,
                    "period": period_of(order.opened_at, self.zone),
                }
            match message.data:
                case work_orders.WorkOrderDispatched():
                    kind, unit = "dispatched", order.lead
                    units[(platform, unit)] = (order.lead_name, order.lead_region)
                case work_orders.WorkOrderReturned(unit=unit):
                    kind = "returned"
                case work_orders.WorkOrderShirked(unit=unit):
                    kind = "shirked"
                case _:
                    continue
            moves.append(
                {
                    "platform": platform,
                    "work_order_id": order.id,
                    "sequence": message.sequence,
                    "kind": kind,
                    "unit": unit,
                    "period": period,
                }
            )
        await repository.save_orders(uow.pg, moves, list(repeats.values()), units)

    async def on_clocks(self, batch: Sequence[Message[clocks.ClockEvent]], uow: Uow) -> None:
        """Orders whose complete clock became due; the latest word of sla counts."""
        newest: dict[tuple[str, str, int], tuple[int, bool]] = {}
        for message in batch:
            match message.data:
                case (
                    clocks.ClockTurnedRed(clock="complete", round=number, after=after)
                    | clocks.ClockCorrected(clock="complete", round=number, after=after)
                ):
                    # a correction may take back a level only: what counts is whether the clock is red after it
                    red = any(c.clock == "complete" and c.round == number and c.lamp == "red" for c in after.clocks)
                    key = (message.platform, message.key, number)
                    newest[key] = max(newest.get(key, (0, False)), (message.sequence, red))
        await repository.save_late_rounds(uow.pg, newest)

    async def on_formulas(self, commands: Sequence[tuple[Formula, str]], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Add versions of the score: (formula, who). A known version or start is refused."""
        answers: list[dict[str, Any] | Problem] = []
        for formula, actor in commands:
            if await repository.add_formula(uow.pg, formula, actor, uow.clock.now()):
                body = {
                    "version": formula.version,
                    "effective_from": formula.effective_from,
                    **repository.formula_body(formula),
                }
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
        sums = await repository.totals(pg, platform, period)
        made = time.monotonic()
        self._sums[platform, period] = (made, made - began, sums)
        while len(self._sums) > MOST_MONTHS:
            self._sums.pop(next(iter(self._sums)))
        return sums

    async def month(self, pg: Any, platform: str, period: str, level: Level) -> Month:
        """The standings of a month: counts by unit, rolled up by the units' regions, scored by the month's formula."""
        by_unit = await self._totals(pg, platform, period)
        facts = await repository.unit_facts(pg, platform)
        formula = formula_for(await repository.list_formulas(pg), period, self.default_formula)
        if level is Level.UNIT:
            return Month(period, level, formula, ranking(by_unit, formula), facts)
        rolled: dict[str, Counts] = {}
        for unit, counts in by_unit.items():
            _, region = facts.get(unit, ("", ""))
            group = group_of(region, platform, level)
            if group is not None:
                rolled[group] = rolled.get(group, Counts()) + counts
        names = {code: (found.name if (found := self.regions.get(code)) else "", code) for code in rolled}
        return Month(period, level, formula, ranking(rolled, formula), names)


def closing_of(after: ratings.Feedback) -> Closing:
    """How a feedback ended; the last answer counts (domain.md, "Evaluation")."""
    answer = after.answers[-1] if after.answers else None
    return Closing(
        asked=after.reached,
        contacted=answer.contacted if answer else None,
        solved=answer.solved if answer else None,
        satisfaction=answer.satisfaction if answer else None,
        bad_ratings=after.bad_ratings,
        excluded=after.exclusion == "granted",
        false_completion_suspected=after.false_completion_suspected,
    )
