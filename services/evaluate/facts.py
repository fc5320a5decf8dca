"""What is kept of each event. The topics fill `LIVE`, the journal fills a `Ledger`: the same rows by the same rules.

Every row is keyed by what the event says, and of two that speak of one row the higher sequence wins (of units: the
later dispatch): events may come twice, and those of different keys in any order.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from services.evaluate import repository
from services.evaluate.domain import Closing, Counts, counted
from services.evaluate.tables import CASE_COUNTS, Facts
from shared.clock import period_of
from shared.events.batch import E, newest
from shared.events.catalog import clocks, labels, ratings, signs, work_orders
from shared.events.event import Message

TYPES = {
    "feedback.ratings.v1": frozenset(
        {
            "feedback.opened",
            "feedback.closed",
            "feedback.exclusion_decided",
            "feedback.false_completion_decided",
        }
    ),
    "dispatch.work-orders.v1": frozenset(
        {
            "work_order.opened",
            "work_order.dispatched",
            "work_order.returned",
            "work_order.shirked",
            "work_order.repeat_found",
        }
    ),
    "sla.clocks.v1": frozenset({"clock.turned_red", "clock.corrected"}),
    "classify.labels.v1": frozenset({"label.classified", "label.reviewed"}),
}
"""topic → the event types that change a count"""


async def keep_ratings(pg: Any, into: Facts, batch: Sequence[Message[ratings.FeedbackEvent]], zone: ZoneInfo) -> None:
    """The latest state of each feedback, with what it adds to the counts once it is closed; the centre's word about
    false completions."""
    latest = _latest(batch)
    judged = [row for message in latest for row in _false_completions(message, zone)]
    await repository.save_cases(pg, into, [_case(message, zone) for message in latest], judged)


def _latest(batch: Sequence[Message[E]]) -> list[Message[E]]:
    """The message with the highest sequence of each key of each platform."""
    platforms: dict[str, list[Message[E]]] = {}
    for message in batch:
        platforms.setdefault(message.platform, []).append(message)
    return [message for own in platforms.values() for message in newest(own).values()]


def _false_completions(message: Message[ratings.FeedbackEvent], zone: ZoneInfo) -> list[dict[str, Any]]:
    return [
        {
            "platform": message.platform,
            "appeal_id": message.key,
            "round": one.round,
            "sequence": message.sequence,
            "work_order_id": one.work_order_id,
            "order_round": one.order_round,
            "unit": one.unit,
            "confirmed": one.state == "confirmed",
            "decided_at": one.decided_at,
            "period": period_of(one.decided_at, zone),
        }
        for one in message.data.after.false_completions
        if one.decided_at is not None
    ]


def _case(message: Message[ratings.FeedbackEvent], zone: ZoneInfo) -> dict[str, Any]:
    after = message.data.after
    closed_at = after.closed_at if after.status == "closed" else None
    counts = counted(closing_of(after)) if closed_at else Counts()
    return {
        "platform": message.platform,
        "appeal_id": after.appeal_id,
        "sequence": message.sequence,
        "work_order_id": after.work_order_id,
        "unit": after.unit,
        "matter": after.matter,
        "closed_at": closed_at,
        "period": period_of(closed_at, zone) if closed_at else None,
        **{name: getattr(counts, name) for name in CASE_COUNTS},
    }


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


async def keep_orders(
    pg: Any, into: Facts, batch: Sequence[Message[work_orders.WorkOrderEvent]], zone: ZoneInfo
) -> None:
    """Dispatches, returns and 推诿, each once by (order, sequence); repeats of closed cases; who the units are."""
    moves: dict[tuple[str, str, int], dict[str, Any]] = {}
    repeats: dict[tuple[str, str], dict[str, Any]] = {}
    units: dict[tuple[str, str], tuple[datetime, str, str, str]] = {}
    for message in batch:
        order, platform = message.data.after, message.platform
        if order.repeat_of is not None and order.appeal_ids:
            place = (platform, order.appeal_ids[0])
            if place not in repeats or order.id < repeats[place]["work_order_id"]:
                repeats[place] = {
                    "platform": platform,
                    "appeal_id": order.appeal_ids[0],
                    "repeat_of": order.repeat_of,
                    "period": period_of(order.opened_at, zone),
                    "work_order_id": order.id,
                }
        match message.data:
            case work_orders.WorkOrderDispatched():
                kind, unit = "dispatched", order.lead
                said = (message.time, order.id, order.lead_name, order.lead_region)
                units[platform, unit] = max(units.get((platform, unit), said), said)
            case work_orders.WorkOrderReturned(unit=unit):
                kind = "returned"
            case work_orders.WorkOrderShirked(unit=unit):
                kind = "shirked"
            case _:
                continue
        moves[platform, order.id, message.sequence] = {
            "platform": platform,
            "work_order_id": order.id,
            "sequence": message.sequence,
            "kind": kind,
            "unit": unit,
            "period": period_of(message.time, zone),
        }
    await repository.save_orders(pg, into, list(moves.values()), list(repeats.values()), units)


async def keep_clocks(pg: Any, into: Facts, batch: Sequence[Message[clocks.ClockEvent]]) -> None:
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
    await repository.save_late_rounds(pg, into, newest)


async def keep_labels(pg: Any, into: Facts, batch: Sequence[Message[labels.LabelEvent]]) -> None:
    """The tags of each label, as the machine set them and as persons left them; each once by (appeal, sequence)."""
    rows = {
        (message.platform, message.key, message.sequence): {
            "platform": message.platform,
            "appeal_id": message.key,
            "sequence": message.sequence,
            "reviewed": isinstance(message.data, labels.LabelReviewed),
            "tags": sorted({tag.code for tag in message.data.after.tags}),
        }
        for message in batch
    }
    await repository.save_labels(pg, into, list(rows.values()))


async def keep_rating_signs(pg: Any, batch: Sequence[Message[signs.SignFound]]) -> None:
    """The latest of what feedback saw in ratings (one device, same words)."""
    rows = [
        {
            "platform": message.platform,
            "period": message.data.after.period,
            "unit": message.data.after.unit,
            "sign": message.data.after.sign,
            "sequence": message.sequence,
            "number": message.data.after.number,
            "rated": message.data.after.of,
            "appeals": message.data.after.appeal_ids,
        }
        for message in _latest(batch)
    ]
    await repository.save_rating_signs(pg, rows)


async def keep_tag_names(pg: Any, batch: Sequence[Message[labels.LabelEvent]]) -> None:
    """What tags are called, by the latest label that has them."""
    names = {
        (message.platform, tag.code): (message.time, tag.name, tag.family)
        for message in sorted(batch, key=lambda message: message.time)
        for tag in message.data.after.tags
    }
    await repository.save_tag_names(pg, names)


async def keep_completions(pg: Any, batch: Sequence[Message[work_orders.WorkOrderEvent]], zone: ZoneInfo) -> None:
    """Completions with what may be looked at: when, whether the citizen was contacted, whether the words are always the
    same. Of the answer only a digest is kept."""
    rows = {
        (message.platform, message.key, message.sequence): {
            "platform": message.platform,
            "work_order_id": message.key,
            "sequence": message.sequence,
            "unit": message.data.after.lead,
            "period": period_of(message.time, zone),
            "completed_at": message.time,
            "contacted": message.data.after.contacted_at is not None or message.data.after.taken_at is not None,
            "answer": answer_digest(message.data.after.result),
        }
        for message in batch
        if isinstance(message.data, work_orders.WorkOrderCompleted)
    }
    await repository.save_completions(pg, list(rows.values()))


SHORTEST_ANSWER = 10
"""letters and figures; shorter ones ("已办结") are alike by nature"""


def answer_digest(words: str | None) -> str | None:
    """Equal for answers that differ in spaces and punctuation only."""
    letters = "".join(sign for sign in words or "" if sign.isalnum()).lower()
    return sha256(letters.encode()).hexdigest()[:24] if len(letters) >= SHORTEST_ANSWER else None
