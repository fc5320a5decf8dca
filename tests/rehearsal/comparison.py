"""Is what sla announced what the calculation says? Every difference as a sentence."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.rehearsal.calculation import LADDER, LADDERS, Course, Watch, course
from tests.rehearsal.ledger import Ledger, OrderLedger, Story, instant, story

SAID = {"clock.turned_yellow": "yellow", "clock.turned_red": "red"}


@dataclass
class Verdict:
    """The figures of a comparison and what differs."""

    orders: int = 0
    clocks: int = 0
    deadlines_moved: int = 0
    lamps: int = 0
    escalations: int = 0
    corrections: int = 0
    notices: int = 0
    climbed: int = 0
    by_clock: Counter[str] = field(default_factory=Counter)
    by_level: Counter[int] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def compare(ledger: Ledger, supervisions: list[dict[str, Any]], end: datetime) -> Verdict:
    """Everything sla said by `end` against the calculation."""
    verdict = Verdict()
    standing: Counter[tuple[str, str, int, int, datetime]] = Counter()
    for order in ledger.orders.values():
        for difference in _order(order, end, verdict, standing):
            verdict.differences.append(f"{order.id}: {difference}")
    listed = Counter(
        (row["work_order_id"], row["clock"], row["round"], row["level"], instant(row["raised_at"]))
        for row in supervisions
        if row["withdrawn_at"] is None
    )
    verdict.differences += _unequal("GET /v1/supervisions", standing, listed)
    verdict.differences += [f"supervision {row['id']} is marked late" for row in supervisions if row["late"]]
    verdict.differences += _notices(ledger, supervisions, verdict)
    verdict.differences += _climbs(ledger, supervisions, end, verdict)
    return verdict


def _order(
    order: OrderLedger, end: datetime, verdict: Verdict, standing: Counter[tuple[str, str, int, int, datetime]]
) -> Iterator[str]:
    told = story(order)
    expected, ratings = told.watches, told.ratings
    verdict.orders += 1
    states = {(state["clock"], state["round"]): state for state in order.clocks}
    said = announced_of(order)
    names = {(watch.clock, watch.round) for watch in expected} | {("rating", round_) for _, round_, _ in ratings}
    for key in sorted(states.keys() | said.keys()):
        if key not in names:
            yield f"{key} runs, and must not exist"
    for watch in expected:
        key = (watch.clock, watch.round)
        must = course(watch, end)
        verdict.clocks += 1
        verdict.deadlines_moved += bool(watch.changes)
        announced, taken_back = said.get(key, (Counter(), Counter()))
        yield from _announcements(key, must, announced, taken_back)
        yield from _state(watch, must, states.get(key))
        for at, what in must.announced:
            if isinstance(what, int):
                standing[(order.id, *key, what, at)] += 1
                verdict.escalations += 1
                verdict.by_clock[watch.clock] += 1
                verdict.by_level[what] += 1
            else:
                verdict.lamps += 1
        verdict.corrections += sum(taken_back.values())
    for at, round_, level in ratings:
        standing[(order.id, "rating", round_, level, at)] += 1
        verdict.escalations += 1
        verdict.by_clock["rating"] += 1
        verdict.by_level[level] += 1
        announced, _ = said.get(("rating", round_), (Counter(), Counter()))
        if announced[(at, level)] != 1:
            yield f"rating level {level} of round {round_} at {at} announced {announced[(at, level)]} times"
    yield from _in_sequence(order)


Announced = Counter[tuple[datetime, int | str]]


def announced_of(order: OrderLedger) -> dict[tuple[str, int], tuple[Announced, Announced]]:
    """(clock, round) → what stands announced, and what was taken back, each with the instant."""
    found: dict[tuple[str, int], tuple[Announced, Announced]] = {}
    for entry in order.said:
        stands, taken = found.setdefault((entry.data["clock"], entry.data["round"]), (Counter(), Counter()))
        if entry.type != "clock.corrected":
            stands[(entry.at, SAID.get(entry.type) or entry.data["level"])] += 1
            continue
        # lamps that an event at their very instant took back, and the levels that it names
        present = +stands
        levels = entry.data["levels"]
        gone = [(at, what) for at, what in present if (at, what) == (entry.at, "red") or what in levels]
        for what in gone:
            stands[what] -= 1
            taken[what] += 1
    return {key: (+stands, taken) for key, (stands, taken) in found.items()}


def _announcements(key: tuple[str, int], must: Course, stands: Announced, taken: Announced) -> Iterator[str]:
    tolerated = Counter(must.taken_back)
    for what in sorted(Counter(must.announced).keys() | stands.keys(), key=str):
        due, found = Counter(must.announced)[what], stands[what]
        # a yellow that fell on the instant of its stop is not named by the correction
        if due != found and not (what[1] == "yellow" and due <= found <= due + tolerated[what]):
            yield f"{key} {what[1]} at {what[0]}: announced {found} times, must be {due}"
    for what, count in taken.items():
        if count > tolerated[what]:
            yield f"{key} {what[1]} at {what[0]} was withdrawn and must stand"


def _state(watch: Watch, must: Course, state: dict[str, Any] | None) -> Iterator[str]:
    key = (watch.clock, watch.round)
    if state is None:
        yield f"{key} never ran"
        return
    if instant(state["due_at"]) != must.due:
        yield f"{key} is due at {state['due_at']}, must be {must.due}"
    stopped = instant(state["stopped_at"]) if state["stopped_at"] else None
    if stopped != watch.stopped:
        yield f"{key} stopped at {stopped}, must be {watch.stopped}"
    # made due and stopped at one instant: whether the lamp went on in between is a matter of luck
    lucky = must.taken_back and (state["lamp"], must.lamp) == ("green", "yellow")
    if state["lamp"] != must.lamp and not lucky:
        yield f"{key} shows {state['lamp']}, must be {must.lamp}"
    if state["level"] != max((level for _, level in must.levels), default=0):
        yield f"{key} shows level {state['level']}, must be {[level for _, level in must.levels]}"


def _in_sequence(order: OrderLedger) -> Iterator[str]:
    """Levels are told in their order, and nothing was told late."""
    last: dict[tuple[str, int], int] = {}
    for entry in order.said:
        if entry.type == "clock.corrected" and entry.data["levels"]:
            last[(entry.data["clock"], entry.data["round"])] = min(entry.data["levels"]) - 1
        if entry.type != "clock.escalated":
            continue
        key = (entry.data["clock"], entry.data["round"])
        if entry.data["level"] <= last.get(key, 0):
            yield f"{key} level {entry.data['level']} after level {last[key]}"
        last[key] = entry.data["level"]
        if entry.data["late"]:
            yield f"{key} level {entry.data['level']} is marked late"


def _notices(ledger: Ledger, supervisions: list[dict[str, Any]], verdict: Verdict) -> Iterator[str]:
    """Every supervision is told once, at its instant, and its withdrawal too."""
    raised = Counter((row["id"], instant(row["raised_at"]), row["level"]) for row in supervisions)
    withdrawn = Counter(row["id"] for row in supervisions if row["withdrawn_at"] is not None)
    told: Counter[tuple[str, datetime, int]] = Counter()
    taken: Counter[str] = Counter()
    for notice in ledger.notices:
        verdict.notices += 1
        for supervision in notice.data["supervision_ids"]:
            if notice.type == "supervision":
                told[(supervision, notice.at, notice.data["level"])] += 1
            elif notice.type == "withdrawn":
                taken[supervision] += 1
            elif notice.type == "digest":
                yield f"supervision {supervision} was told in a digest, as if it were late"
    yield from _unequal("sla.notices.v1", raised, told)
    yield from _unequal("withdrawals of sla.notices.v1", withdrawn, taken)


def _climbs(ledger: Ledger, supervisions: list[dict[str, Any]], end: datetime, verdict: Verdict) -> Iterator[str]:
    """Who took no notice: after its clock has stopped a supervision is brought before the next supervisor, at the
    distances of the levels; while the clock runs its next level does that."""
    of_clock: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in supervisions:
        if row["withdrawn_at"] is None:
            of_clock[(row["work_order_id"], row["clock"], row["round"])].append(row)
    found: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for notice in ledger.notices:
        if notice.type == "climbed":
            found[notice.data["supervision_ids"][0]].append((notice.at, notice.data["level"]))
    for (work_order_id, clock, round_), rows in of_clock.items():
        told = story(ledger.orders[work_order_id])
        watch = next((w for w in told.watches if (w.clock, w.round) == (clock, round_)), None)
        for row in rows:
            # a class of the very instant of the level may have come before it, or after
            may = []
            for just_after in (timedelta(0), timedelta(microseconds=1)):
                climbs = _climb(row, told, watch, end, told.class_at(instant(row["raised_at"]) + just_after))
                may.append([(at, reach) for at, reach in climbs if reach > _highest(rows, at)])
            told_of = found.pop(row["id"], [])
            verdict.climbed += len(told_of)
            if told_of not in may:
                yield f"supervision {row['id']} of {work_order_id} climbed {told_of}, must be {may[0]} or {may[1]}"
    yield from (f"supervision {unknown} climbed and does not stand" for unknown in found)


def _highest(rows: list[dict[str, Any]], at: datetime) -> int:
    """The highest level of a clock that stood when a timer of that instant fired; a rating given at the same instant
    came after it."""
    levels: list[int] = [row["level"] for row in rows if instant(row["raised_at"]) < at]
    return max(levels)


def _climb(
    row: dict[str, Any], told: Story, watch: Watch | None, end: datetime, handling_class: str
) -> Iterator[tuple[datetime, int]]:
    noticed = instant(row["acknowledged_at"]) if row["acknowledged_at"] else None
    at = instant(row["raised_at"])
    for reach in range(row["level"], 3):
        ladder = LADDERS.get(handling_class, LADDER)
        at += ladder[reach] - ladder[reach - 1]
        runs = watch is not None and (watch.stopped is None or watch.stopped >= at)
        if at > end or runs or (noticed is not None and noticed < at):
            return
        yield at, reach + 1
        handling_class = told.class_at(at)


def _unequal(where: str, must: Counter[Any], found: Counter[Any]) -> Iterator[str]:
    for what in sorted((must - found) | (found - must), key=str):
        yield f"{where}: {what} {found[what]} times, must be {must[what]}"
