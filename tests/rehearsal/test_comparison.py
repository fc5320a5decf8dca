"""The judge of a rehearsal can fail: a ledger that is right passes, and each wrong one is told."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.clock import ZONE
from tests.rehearsal.calculation import Watch, course
from tests.rehearsal.comparison import announced_of, compare
from tests.rehearsal.ledger import Ledger

T0 = datetime(2026, 2, 13, 16, 0, tzinfo=ZONE)  # a Friday, the day before the 补班 Saturday that precedes 春节
MINUTE = timedelta(minutes=1)
H = timedelta(hours=1)
END = T0 + 2 * H


def at(moment: datetime) -> str:
    return moment.isoformat()


def event(kind: str, moment: datetime, **data: Any) -> dict[str, Any]:
    return {"type": kind, "time": at(moment), "data": data}


def state(clock: str, due: datetime, stopped: datetime | None, lamp: str, level: int) -> dict[str, Any]:
    return {
        "clock": clock,
        "round": 1,
        "due_at": at(due),
        "stopped_at": at(stopped) if stopped else None,
        "lamp": lamp,
        "level": level,
    }


def events() -> list[dict[str, Any]]:
    """An urgent case: contacted in time, accepted after 11 minutes, completed after 70, told as it must be."""
    order: dict[str, Any] = {"id": "o", "status": "dispatched", "lead": "u", "class": "urgent", "kind": "help"}
    order |= {"in_review": False, "round": 1, "dispatch_no": 1, "received_at": at(T0), "opened_at": at(T0)}
    order |= {"appeal_ids": ["a"], "version": 1}
    clocks = [
        state("first_contact", T0 + 15 * MINUTE, T0 + 11 * MINUTE, "green", 0),
        state("complete", T0 + 2 * H, T0 + 70 * MINUTE, "green", 0),
        state("accept", T0 + 10 * MINUTE, T0 + 11 * MINUTE, "red", 1),
    ]
    accept: dict[str, Any] = {"clock": "accept", "round": 1, "after": {"work_order_id": "o", "clocks": clocks}}
    notice = {"kind": "supervision", "supervision_ids": ["s"], "level": 1}
    climbed = {"kind": "climbed", "supervision_ids": ["s"], "level": 2}
    return [
        event("work_order.dispatched", T0, after=order, cause="routing"),
        event("clock.turned_yellow", T0 + 7.5 * MINUTE, **accept),
        event("clock.turned_red", T0 + 10 * MINUTE, **accept),
        event("clock.escalated", T0 + 10 * MINUTE, **accept, level=1, late=False, supervision_id="s"),
        event("notice.issued", T0 + 10 * MINUTE, after=notice),
        event("work_order.accepted", T0 + 11 * MINUTE, after=order),
        event("work_order.contacted", T0 + 11 * MINUTE, after=order),
        event("work_order.completed", T0 + 70 * MINUTE, after=order),
        event("notice.issued", T0 + 70 * MINUTE, after=climbed),
    ]


def supervision() -> dict[str, Any]:
    found: dict[str, Any] = {"id": "s", "work_order_id": "o", "clock": "accept", "round": 1, "level": 1}
    found |= {"raised_at": at(T0 + 10 * MINUTE), "withdrawn_at": None, "acknowledged_at": None, "late": False}
    return found


def judged(told: list[dict[str, Any]], supervisions: list[dict[str, Any]]) -> list[str]:
    ledger = Ledger()
    for one in told:
        ledger.take(one)
    return compare(ledger, supervisions, END).differences


def test_what_is_as_it_must_be_passes() -> None:
    assert judged(events(), [supervision()]) == []


def _without(index: int) -> Callable[[list[dict[str, Any]]], None]:
    return lambda told: told.__delitem__(index)


def _twice(index: int) -> Callable[[list[dict[str, Any]]], None]:
    return lambda told: told.append(told[index])


def _later(index: int) -> Callable[[list[dict[str, Any]]], None]:
    return lambda told: told[index].update(time=at(datetime.fromisoformat(told[index]["time"]) + MINUTE))


def _with(index: int, **fields: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda told: told[index]["data"].update(fields)


def _corrected(told: list[dict[str, Any]]) -> None:
    told.append(event("clock.corrected", T0 + 11 * MINUTE, **{**told[3]["data"], "levels": [1]}))


@pytest.mark.parametrize("index", range(1, 5), ids=["yellow", "red", "level", "notice"])
@pytest.mark.parametrize("break_", [_without, _twice, _later], ids=["missing", "twice", "at another instant"])
def test_an_announcement_that_is_wrong_is_told(index: int, break_: Callable[[int], Any]) -> None:
    told = events()
    break_(index)(told)
    assert judged(told, [supervision()])


@pytest.mark.parametrize(
    "wrong",
    [_with(3, late=True), _with(3, level=2), _corrected, _without(8), _later(8)],
    ids=["late", "another level", "withdrawn", "did not climb", "climbed later"],
)
def test_a_level_that_is_wrong_is_told(wrong: Callable[[list[dict[str, Any]]], None]) -> None:
    told = events()
    wrong(told)
    assert judged(told, [supervision()])


@pytest.mark.parametrize(
    ("clock", "field", "value"),
    [
        (1, "due_at", at(T0 + 3 * H)),
        (2, "lamp", "yellow"),
        (2, "level", 0),
        (0, "stopped_at", None),
    ],
)
def test_a_clock_that_shows_something_else_is_told(clock: int, field: str, value: Any) -> None:
    told = events()
    told[1]["data"]["after"]["clocks"][clock][field] = value
    assert judged(told, [supervision()])


def test_a_supervision_that_is_not_listed_is_told() -> None:
    assert judged(events(), [])


def test_the_calculation_counts_the_working_saturday_and_not_the_festival() -> None:
    # four working hours from Friday 16:00: 1.5 h that day, 2.5 h on the 补班 Saturday
    watch = Watch("accept", 1, T0, T0, "general", "help")
    assert course(watch, END).due == datetime(2026, 2, 14, 11, 30, tzinfo=ZONE)
    # five working days of a consultation: Saturday the 14th, then 24, 25, 26, 27 February
    watch = Watch("complete", 1, T0, T0, "general", "consult")
    assert course(watch, END).due == datetime(2026, 2, 27, 17, 30, tzinfo=ZONE)


def test_a_level_announced_and_taken_back_at_two_instants_was_taken_back_once_at_each() -> None:
    ledger = Ledger()
    fields = {"clock": "accept", "round": 1, "level": 1}
    for instant in (T0 + 10 * MINUTE, T0 + 20 * MINUTE):
        for kind in ("clock.escalated", "clock.corrected"):
            ledger.take(event(kind, instant, **fields, levels=[1], after={"work_order_id": "o", "clocks": []}))
    [(stands, taken)] = announced_of(ledger.orders["o"]).values()
    assert stands == Counter()
    assert taken == Counter({(T0 + 10 * MINUTE, 1): 1, (T0 + 20 * MINUTE, 1): 1})
