"""What evaluate keeps of each stream. Every handler is one or two statements for the whole batch."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import repository
from services.evaluate.domain import Closing, Counts, counted, period_of
from services.evaluate.tables import CASE_COUNTS
from shared.events.catalog import clocks, ratings, work_orders
from shared.events.event import Message
from shared.outbox.uow import Uow


class Handlers:
    """`zone`: the platform's, months are counted in it."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

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
            "region_code": after.region_code,
            "closed_at": closed_at,
            "period": period_of(closed_at, self.zone) if closed_at else None,
            **{name: value for name, value in asdict(counts).items() if name in CASE_COUNTS},
        }

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """Dispatches, returns and 推诿, each once by (order, sequence); and the names of units."""
        moves: list[dict[str, Any]] = []
        names: dict[tuple[str, str], str] = {}
        for message in batch:
            order = message.data.after
            match message.data:
                case work_orders.WorkOrderDispatched():
                    kind, unit = "dispatched", order.lead
                    names[(message.platform, unit)] = order.lead_name
                case work_orders.WorkOrderReturned(unit=unit):
                    kind = "returned"
                case work_orders.WorkOrderShirked(unit=unit):
                    kind = "shirked"
                case _:
                    continue
            moves.append(
                {
                    "platform": message.platform,
                    "work_order_id": order.id,
                    "sequence": message.sequence,
                    "kind": kind,
                    "unit": unit,
                    "region_code": order.region_code,
                    "period": period_of(message.time, self.zone),
                }
            )
        await repository.save_moves(uow.pg, moves)
        await repository.save_units(uow.pg, names)

    async def on_clocks(self, batch: Sequence[Message[clocks.ClockEvent]], uow: Uow) -> None:
        """Orders whose complete clock became due, and those where that was taken back."""
        late: dict[tuple[str, str, int], bool] = {}
        for message in batch:
            match message.data:
                case clocks.ClockTurnedRed(clock="complete", round=number):
                    late.setdefault((message.platform, message.key, number), False)
                case clocks.ClockCorrected(clock="complete", round=number):
                    late[(message.platform, message.key, number)] = True
        await repository.save_late_rounds(uow.pg, late)


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
