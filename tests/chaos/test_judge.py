"""Every check of the judge can fail: a run in which all is well, and one fault at a time."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tests.chaos import judge
from tests.chaos.evidence import Entry, Line, Tables
from tests.chaos.ledger import Write

START = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
APPEALS, LABELS, ORDERS = "intake.appeals.v1", "classify.labels.v1", "dispatch.work-orders.v1"
CLOCKS, RATINGS = "sla.clocks.v1", "feedback.ratings.v1"


@dataclass
class World:
    """Two urgent appeals: `a` was accepted in time, contacted and completed; `b` was left alone for 1.5 h."""

    writes: list[Write] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    tables: Tables = field(
        default_factory=lambda: Tables(
            appeals={"a", "b"},
            orders={"oa", "ob"},
            order_of={"a": "oa", "b": "ob"},
            clock_sets={"oa", "ob"},
            supervisions={("ob", "accept", 1, 1): 1, ("ob", "accept", 1, 2): 1, ("ob", "first_contact", 1, 1): 1},
            dead_letters=0,
            timers_due=0,
        )
    )
    journal: list[Entry] = field(default_factory=list)
    now: datetime = START + timedelta(minutes=75, seconds=-10)

    def emit(self, topic: str, kind: str, key: str, minute: float = 0, /, **body: object) -> None:
        sequence = 1 + sum(line.topic == topic and line.key == key for line in self.lines)
        after = body.pop("after", {})
        raw = orjson.dumps({"after": after, **body})
        name = f"{topic}/{key}/{sequence}"
        self.lines.append(Line(topic, 0, name, kind, key, sequence, START + timedelta(minutes=minute), raw))
        self.journal.append(Entry(len(self.journal) + 1, name, topic, key, sequence))

    def findings(self) -> Counter[str]:
        """Checks that found something."""
        case = judge.Case()
        for line in self.lines:
            case.read(line)
        found = judge.verdict(self.writes, case, self.tables, self.now)
        judge.journal(found, case, self.journal)
        return found.counts


def _write(what: str, subject: str, first: dict[str, object] | None = None, status: int = 200) -> Write:
    write = Write(what, subject, "/", b"{}")
    write.took(status, orjson.dumps(first or {}))
    return write


def _clock(name: str, minutes: float) -> dict[str, object]:
    return {"clock": name, "round": 1, "started_at": START, "due_at": START + timedelta(minutes=minutes)}


@pytest.fixture
def world() -> World:
    found = World()
    clocks = [_clock("accept", 10), _clock("first_contact", 15), _clock("complete", 120)]
    for appeal in "ab":
        order = f"o{appeal}"
        found.writes.append(_write("appeal", appeal, {"id": appeal}, 201))
        found.emit(APPEALS, "appeal.received", appeal, after={"reporter": {"pseudonym": f"p{appeal}"}})
        found.emit(LABELS, "label.classified", appeal)
        found.emit(ORDERS, "work_order.dispatched", order, after={"appeal_ids": [appeal], "dispatch_no": 1})
        names = ["accept", "first_contact", "complete"]
        found.emit(CLOCKS, "clock.started", order, after={"class": "urgent", "clocks": clocks}, clocks=names)
    for minute, act in ((9, "accepted"), (12, "contacted"), (60, "completed")):
        found.writes.append(_write(f"work_order.{act}", "oa", {"version": minute}))
        found.emit(ORDERS, f"work_order.{act}", "oa", minute, after={"appeal_ids": ["a"], "dispatch_no": 1})
    after = {"class": "urgent", "clocks": clocks}
    for clock, level, minute in (("accept", 1, 10), ("first_contact", 1, 15), ("accept", 2, 70)):
        found.emit(CLOCKS, "clock.escalated", "ob", minute, after=after, clock=clock, round=1, level=level)
    return found


def test_a_run_in_which_all_is_well_has_no_finding(world: World) -> None:
    assert not world.findings()


def test_a_repeat_in_the_log_is_no_fault(world: World) -> None:
    world.lines.append(world.lines[0])
    assert not world.findings()


def _without(kind: str, key: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        gone = next(line for line in world.lines if line.type == kind and line.key == key)
        world.lines.remove(gone)
        world.journal = [entry for entry in world.journal if entry.id != gone.id]

    return change


def _again(topic: str, kind: str, key: str, **body: object) -> Callable[[World], None]:
    return lambda world: world.emit(topic, kind, key, 5, **body)


def _swap(world: World) -> None:
    first, second = [place for place, line in enumerate(world.lines) if line.key == "oa" and line.topic == ORDERS][:2]
    world.lines[first], world.lines[second] = world.lines[second], world.lines[first]


FAULTS: dict[str, tuple[Callable[[World], object], str]] = {
    "an accepted appeal is not stored": (
        lambda world: world.writes.append(_write("appeal", "c", {"id": "c"}, 201)),
        "lost: appeal is not in intake's table",
    ),
    "a row of the table is deleted": (
        lambda world: world.tables.appeals.discard("a"),
        "lost: appeal is not in intake's table",
    ),
    "an appeal is stored that the log never had": (
        lambda world: world.tables.appeals.add("x"),
        "table and log differ: appeals",
    ),
    "one post became two appeals": (
        _again(APPEALS, "appeal.received", "c", after={"reporter": {"pseudonym": "pa"}}),
        "doubled: one reporter's only appeal",
    ),
    "an appeal has no order": (_without("work_order.dispatched", "ob"), "lost: appeal without an order"),
    "an appeal has two orders": (
        _again(ORDERS, "work_order.dispatched", "oc", after={"appeal_ids": ["a"], "dispatch_no": 1}),
        "doubled: orders of one appeal",
    ),
    "an order is dispatched twice": (
        _again(ORDERS, "work_order.dispatched", "oa", after={"appeal_ids": ["a"], "dispatch_no": 1}),
        "doubled: chain of an order",
    ),
    "an order row is deleted": (lambda world: world.tables.orders.discard("ob"), "table and log differ: orders"),
    "an answered act is not in the log": (_without("work_order.completed", "oa"), "lost: act"),
    "an act happened twice": (
        _again(ORDERS, "work_order.accepted", "oa", after={"appeal_ids": ["a"], "dispatch_no": 1}),
        "doubled: act",
    ),
    "an act happened that nobody asked for": (
        _again(ORDERS, "work_order.accepted", "ob", after={"appeal_ids": ["b"], "dispatch_no": 1}),
        "doubled: act",
    ),
    "a second answer differs from the first": (
        lambda world: world.writes[0].took(200, b'{"id": "z"}'),
        "answers that contradict each other",
    ),
    "a clock never started": (_without("clock.started", "oa"), "lost: clock never started"),
    "a clock was started twice": (
        _again(
            CLOCKS,
            "clock.started",
            "oa",
            after={"class": "urgent", "clocks": [_clock("complete", 120)]},
            clocks=["complete"],
        ),
        "doubled: clock started",
    ),
    "an escalation is missing": (_without("clock.escalated", "ob"), "lost: escalation"),
    "an escalation came twice": (
        _again(CLOCKS, "clock.escalated", "ob", after={"class": "urgent"}, clock="accept", round=1, level=1),
        "doubled: escalation",
    ),
    "a stop in time was escalated": (
        _again(
            CLOCKS,
            "clock.escalated",
            "oa",
            after={"class": "urgent", "clocks": [_clock("accept", 10)]},
            clock="accept",
            round=1,
            level=1,
        ),
        "escalated although stopped in time",
    ),
    "a supervision row is deleted": (
        lambda world: world.tables.supervisions.pop(("ob", "accept", 1, 2)),
        "table and log differ: supervisions",
    ),
    "events of a key change places": (_swap, "order of a key in the log"),
    "the journal misses an event": (lambda world: world.journal.pop(), "lost: event is not in the journal"),
    "the journal has an event twice": (
        lambda world: world.journal.append(world.journal[-1]._replace(position=len(world.journal) + 1)),
        "doubled: event in the journal",
    ),
    "the journal has a gap": (
        lambda world: world.journal.append(Entry(99, "x", APPEALS, "x", 1)),
        "gap in the journal",
    ),
    "a dead letter is open": (lambda world: setattr(world.tables, "dead_letters", 1), "dead letters"),
    "a timer did not fire": (lambda world: setattr(world.tables, "timers_due", 1), "timers that did not fire"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_judge_sees(world: World, fault: str) -> None:
    change, check = FAULTS[fault]
    change(world)
    assert check in world.findings()


def test_an_act_without_an_answer_may_or_may_not_be_there_but_not_twice(world: World) -> None:
    unanswered = _write("work_order.accepted", "ob", status=0)
    world.writes.append(unanswered)
    assert not world.findings()
    order = {"after": {"appeal_ids": ["b"], "dispatch_no": 1}}
    world.emit(ORDERS, "work_order.accepted", "ob", 74, **order)
    assert not world.findings()
    world.emit(ORDERS, "work_order.accepted", "ob", 74, **order)
    assert "doubled: act" in world.findings()
