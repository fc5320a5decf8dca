"""The judge of the benches finds what it is there to find."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.bench import outage, race
from tests.bench.sla import told
from tests.bench.sla.orders import order

DUE = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LADDER = {1: DUE, 2: DUE + HOUR, 3: DUE + 4 * HOUR}


def _event(sequence: int, kind: str, at: datetime, **fields: object) -> told.Told:
    level = fields.get("level")
    name = f"s-{level}" if level else ""
    event = told.Told("o", sequence, kind, at, 0, 0.0, ("complete",), 1, None, False, (), "red", name)
    return event._replace(**fields)  # type: ignore[arg-type]


LIFE = [
    _event(1, "started", DUE - HOUR),
    _event(2, "turned_red", DUE),
    _event(3, "escalated", DUE, level=1),
    _event(4, "escalated", DUE + HOUR, level=2),
    _event(5, "escalated", DUE + 4 * HOUR, level=3),
]


def _numbered(events: list[told.Told]) -> list[told.Told]:
    return [event._replace(sequence=number) for number, event in enumerate(events, 1)]


def test_a_whole_ladder_is_well() -> None:
    assert told.faults_of_order(LIFE, LADDER) == []


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        (LIFE[:4], "a level is missing"),
        ([*LIFE, LIFE[4]], "a level twice"),
        ([*LIFE[:3], LIFE[4], LIFE[3]], "levels out of order"),
        ([*LIFE[:4], LIFE[4]._replace(at=DUE)], "another instant"),
        ([*LIFE[:4], LIFE[4]._replace(clocks=("accept",))], "of another clock or round"),
        ([LIFE[0], *LIFE[2:]], "red not once at due"),
        ([*LIFE, _event(6, "escalated", DUE, level=4)], "a level that must not be"),
    ],
)
def test_each_fault_of_a_ladder_is_named(events: list[told.Told], fault: str) -> None:
    assert fault in told.faults_of_order(_numbered(events), LADDER)


def test_a_gap_in_the_numbers_is_named() -> None:
    assert told.faults_of_order([*LIFE[:2], *(e._replace(sequence=e.sequence + 1) for e in LIFE[2:])], LADDER) == [
        "numbers have a gap or repeat"
    ]


def test_a_stop_at_the_instant_of_a_level_prevents_it() -> None:
    one = order(0, DUE - 8 * HOUR, DUE)
    now = DUE + 6 * HOUR
    assert list(outage.levels_by(one, None, now)) == [1, 2, 3]
    assert list(outage.levels_by(one, DUE, now)) == []
    assert list(outage.levels_by(one, DUE + HOUR, now)) == [1]
    assert list(outage.levels_by(one, DUE + HOUR + outage.MICROSECOND, now)) == [1, 2]
    assert list(outage.levels_by(one, None, DUE + 2 * HOUR)) == [1, 2]


def _projections(run: race.Run) -> race.Projections:
    """As they are when everything went well with an order that was late."""
    key = run.order.id
    events = [_event(1, "started", DUE - HOUR), *LIFE[1:3], _event(4, "stopped", run.stop)]
    row = {"id": "s-1", "clock": "complete", "round": 1, "level": 1, "withdrawn_at": None}
    return race.Projections(
        {key: events},
        {key: {"lamp": "red"}},
        {key: [row]},
        {key: True},
        {key: {"lamp": "red", "level": 1, "stopped_at": run.stop.isoformat()}},
        {key: {"level": 1, "complete_due_at": None, "lamp": "green"}},
        set(),
        Counter({("supervision", "s-1"): 1}),
    )


def test_every_service_that_disagrees_is_named() -> None:
    run = race.Run(order(0, DUE - HOUR, DUE), "prompt", DUE + race.MICROSECOND, 0.0)
    well, key = _projections(run), run.order.id
    assert race.faults_of(run, well, 1.0) == []
    for changed, fault in (
        (replace(well, sla_sets={key: {"lamp": "yellow"}}), "sla: its own clock"),
        (replace(well, timers={key}), "sla: its own clock"),
        (replace(well, supervisions={}), "sla: supervisions"),
        (replace(well, evaluate={}), "evaluate"),
        (replace(well, intake={key: well.intake[key] | {"lamp": "yellow"}}), "intake"),
        (replace(well, dispatch={key: well.dispatch[key] | {"level": 0}}), "dispatch"),
        (replace(well, notices=Counter()), "notices: told or taken back otherwise than once"),
    ):
        assert race.faults_of(run, changed, 1.0) == [fault]
    in_time = replace(run, stop=DUE)
    found = race.faults_of(in_time, well, 1.0)
    assert "stream: in time and escalated" in found
    assert {"evaluate", "intake", "dispatch"} <= set(found)
    assert "stream: announced although the stop stood in the log" in found
    assert "stream: announced although the stop stood in the log" not in race.faults_of(in_time, well, -0.01)
