"""The judge: compares what was promised (the ledger) with what is there (the evidence). No part of the hub helps it.

`Case` folds the log line by line; `verdict` compares. Every finding is a fault of the runtime or of a service.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from tests.chaos.evidence import Entry, Line, Tables
from tests.chaos.ledger import Write, acts, appeals

LEVELS = {
    "urgent": {1: timedelta(), 2: timedelta(hours=1), 3: timedelta(hours=4)},
    "": {1: timedelta(), 2: timedelta(hours=24), 3: timedelta(hours=72)},
}
"""when each supervision level comes after the due instant (domain.md, SLA)"""
STOPS = {
    ("accept", 1): ("work_order.accepted", 0),
    ("first_contact", 1): ("work_order.contacted", 0),
    ("complete", 1): ("work_order.completed", 0),
    ("complete", 2): ("work_order.completed", 1),
}
"""(clock, round) → the event that stops it, and which one of its type"""
EDGE = timedelta(seconds=2)
"""what falls due just when the judge looks is judged neither way"""
EXAMPLES = 5
COUNTED = ("work_order.accepted", "work_order.contacted", "work_order.completed", "feedback.answered", "label.reviewed")


class _Clock(msgspec.Struct):
    clock: str
    round: int
    started_at: datetime
    due_at: datetime


class _Reporter(msgspec.Struct):
    pseudonym: str | None = None


class _After(msgspec.Struct):
    appeal_ids: list[str] = []
    dispatch_no: int = 0
    handling_class: str = msgspec.field(name="class", default="")
    in_review: bool = False
    clocks: list[_Clock] = []
    reporter: _Reporter | None = None


class _Body(msgspec.Struct):
    after: _After
    clocks: list[str] = []
    clock: str = ""
    round: int = 0
    level: int = 0
    levels: list[int] = []


_decoder = msgspec.json.Decoder(_Body)


@dataclass
class Findings:
    """Faults by check: how many, and the first examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, check: str, example: str, count: int = 1) -> None:
        if count:
            self.counts[check] += count
            if len(self.examples[check]) < EXAMPLES:
                self.examples[check].append(example)

    def each(self, check: str, examples: Iterable[object]) -> None:
        """One fault for each example."""
        for example in examples:
            self.add(check, str(example))


class Case:
    """The log, folded: what every aggregate went through, each event counted once by its id."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.ids: set[str] = set()
        self.repeats = 0
        """records whose id the log has before: allowed, the inbox of every reader drops them"""
        self.received: dict[str, str | None] = {}
        """appeal → pseudonym of its reporter"""
        self.labelled: Counter[str] = Counter()
        self.orders_of: dict[str, set[str]] = defaultdict(set)
        self.chain: dict[str, list[tuple[str, int]]] = {}
        """order → its openings and dispatches, (type, number of the dispatch)"""
        self.acts: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        """(aggregate, type) → times"""
        self.reopened: Counter[str] = Counter()
        self.clocks: dict[str, tuple[str, list[_Clock]]] = {}
        """order → class and clocks after its last event"""
        self.started: Counter[tuple[str, str, int]] = Counter()
        self.lamps: Counter[tuple[str, str, str, int]] = Counter()
        self.escalated: Counter[tuple[str, str, int, int]] = Counter()
        self.withdrawn: Counter[tuple[str, str, int, int]] = Counter()
        self._last: dict[tuple[str, str], int] = {}
        self._rounds: dict[str, set[tuple[str, int]]] = defaultdict(set)

    def read(self, line: Line) -> None:
        """The next record of a partition."""
        if line.id in self.ids:
            self.repeats += 1
            return
        self.ids.add(line.id)
        place = (line.topic, line.key)
        expected = self._last.get(place, 0) + 1
        if line.sequence != expected:
            self.findings.add("order of a key in the log", f"{place}: {line.sequence}, expected {expected}")
        self._last[place] = max(line.sequence, expected - 1)
        match line.topic.split(".")[0]:
            case "intake":
                self._appeal(line)
            case "classify":
                if line.type == "label.classified":
                    self.labelled[line.key] += 1
                self._act(line)
            case "dispatch":
                self._order(line)
            case "sla":
                self._clock(line)
            case _:
                self._act(line)

    def _act(self, line: Line) -> None:
        if line.type in COUNTED:
            self.acts[(line.key, line.type)].append(line.time)

    def _appeal(self, line: Line) -> None:
        if line.type == "appeal.received":
            if line.key in self.received:
                self.findings.add("appeal received twice", line.key)
            reporter = _decoder.decode(line.body).after.reporter
            self.received[line.key] = reporter.pseudonym if reporter else None

    def _order(self, line: Line) -> None:
        if not line.type.startswith("work_order."):
            return
        after = _decoder.decode(line.body).after
        for appeal in after.appeal_ids:
            self.orders_of[appeal].add(line.key)
        if line.type in ("work_order.opened", "work_order.dispatched"):
            self.chain.setdefault(line.key, []).append((line.type, after.dispatch_no))
        if line.type == "work_order.reopened":
            self.reopened[line.key] += 1
        self._act(line)

    def _clock(self, line: Line) -> None:
        if not line.type.startswith("clock."):
            return
        body = _decoder.decode(line.body)
        self.clocks[line.key] = (body.after.handling_class, body.after.clocks)
        if line.type == "clock.started":
            rounds = {clock.clock: clock.round for clock in body.after.clocks}
            for name in body.clocks:
                self.started[(line.key, name, rounds.get(name, 0))] += 1
        elif line.type in ("clock.turned_yellow", "clock.turned_red"):
            self.lamps[(line.key, line.type, body.clock, body.round)] += 1
        elif line.type == "clock.escalated":
            self.escalated[(line.key, body.clock, body.round, body.level)] += 1
        elif line.type == "clock.corrected":
            for level in body.levels:
                self.withdrawn[(line.key, body.clock, body.round, level)] += 1
            for lamp in ("clock.turned_yellow", "clock.turned_red"):
                self.lamps.pop((line.key, lamp, body.clock, body.round), None)

    def standing(self) -> Counter[tuple[str, str, int, int]]:
        """Escalations that were not taken back."""
        found = self.escalated.copy()
        found.subtract(self.withdrawn)
        return Counter({name: count for name, count in found.items() if count})


def verdict(writes: Iterable[Write], case: Case, tables: Tables, business_now: datetime) -> Findings:
    """Everything that is lost, doubled, out of order or not done."""
    found = case.findings
    writes = list(writes)
    found.each("answers that contradict each other", (w.contradiction for w in writes if w.contradiction))
    stored = {write.first["id"] for write in appeals(writes) if write.first is not None}
    _appeals(found, stored, case, tables)
    _orders(found, stored, case, tables)
    _acts(found, writes, case)
    _clocks(found, case, tables)
    _escalations(found, case, tables, business_now)
    found.add("dead letters", "open", tables.dead_letters)
    found.add("timers that did not fire", "due", tables.timers_due)
    return found


def _appeals(found: Findings, stored: set[str], case: Case, tables: Tables) -> None:
    found.each("lost: appeal is not in intake's table", stored - tables.appeals)
    found.each("lost: appeal is not in the log", stored - case.received.keys())
    found.each("table and log differ: appeals", tables.appeals ^ case.received.keys())
    reporters = Counter(case.received.values())
    found.each("doubled: one reporter's only appeal", (who for who, count in reporters.items() if count > 1))
    found.each("lost: appeal without a label", case.received.keys() - case.labelled.keys())
    found.each("doubled: label", (appeal for appeal, count in case.labelled.items() if count > 1))


def _orders(found: Findings, stored: set[str], case: Case, tables: Tables) -> None:
    everything = stored | case.received.keys()
    found.each("lost: appeal without an order", (appeal for appeal in everything if not case.orders_of.get(appeal)))
    found.each("doubled: orders of one appeal", (a for a, orders in case.orders_of.items() if len(orders) > 1))
    for order, chain in case.chain.items():
        opened = [kind for kind, _ in chain].count("work_order.opened")
        numbers = [number for kind, number in chain if kind == "work_order.dispatched"]
        if opened > 1 or numbers != list(range(1, len(numbers) + 1)) or (opened and chain[0][0] != "work_order.opened"):
            found.add("doubled: chain of an order", f"{order}: {chain}")
    found.each("table and log differ: orders", tables.orders ^ case.chain.keys())
    in_log = {appeal: next(iter(orders)) for appeal, orders in case.orders_of.items() if len(orders) == 1}
    found.each("table and log differ: order of an appeal", dict(tables.order_of.items() ^ in_log.items()))


def _acts(found: Findings, writes: list[Write], case: Case) -> None:
    """Every promised act once; one without a promise at most once; nothing that nobody asked for."""
    sure: Counter[tuple[str, str]] = Counter()
    maybe: Counter[tuple[str, str]] = Counter()
    for write in acts(writes):
        (sure if write.stored else maybe)[(write.subject, write.what)] += 1
    for place in sure.keys() | maybe.keys() | case.acts.keys():
        seen = len(case.acts.get(place, ()))
        if seen < sure[place]:
            found.add("lost: act", f"{place}: {seen} of {sure[place]}")
        if seen > sure[place] + maybe[place]:
            found.add("doubled: act", f"{place}: {seen}, promised {sure[place]}")
    found.each("doubled: second handling", (order for order, count in case.reopened.items() if count > 1))


def _clocks(found: Findings, case: Case, tables: Tables) -> None:
    found.each("lost: order without clocks", case.chain.keys() - case.clocks.keys())
    found.each("table and log differ: clock sets", tables.clock_sets ^ case.clocks.keys())
    found.each("doubled: clock started", (name for name, count in case.started.items() if count > 1))
    for order, chain in case.chain.items():
        wanted = [("first_contact", 1), ("complete", 1)]
        wanted += [("accept", number) for kind, number in chain if kind == "work_order.dispatched"]
        wanted += [("review", 1)] if chain[0][0] == "work_order.opened" else []
        found.each("lost: clock never started", (f"{order} {w}" for w in wanted if not case.started[(order, *w)]))
    found.each("doubled: lamp", (name for name, count in case.lamps.items() if count > 1))


def _escalations(found: Findings, case: Case, tables: Tables, business_now: datetime) -> None:
    standing = case.standing()
    found.each("doubled: escalation", (name for name, count in standing.items() if count > 1))
    found.each("correction of what never was", (name for name, count in standing.items() if count < 0))
    in_tables = Counter(tables.supervisions)
    found.each("table and log differ: supervisions", ((standing - in_tables) + (in_tables - standing)).keys())
    for order, (handling_class, clocks) in case.clocks.items():
        levels = LEVELS.get(handling_class, LEVELS[""])
        for clock in clocks:
            rule = STOPS.get((clock.clock, clock.round))
            if rule is None:
                continue
            times = case.acts.get((order, rule[0]), [])
            stop = times[rule[1]] if len(times) > rule[1] else None
            for level, after in levels.items():
                instant = clock.due_at + after
                raised = standing[(order, clock.clock, clock.round, level)]
                name = f"{order} {clock.clock}/{clock.round} level {level} due {instant} stop {stop}"
                if stop is not None and stop <= instant:
                    if raised:
                        found.add("escalated although stopped in time", name)
                elif instant < business_now - EDGE and not raised:
                    found.add("lost: escalation", name)
                elif instant > business_now + EDGE and raised and stop is None:
                    found.add("escalated before its time", name)


def journal(found: Findings, case: Case, entries: Iterable[Entry]) -> list[str]:
    """The journal has every event of the log once, each aggregate in its order, positions without a gap; its ids."""
    last: dict[tuple[str, str], int] = {}
    ids: list[str] = []
    for number, entry in enumerate(entries, 1):
        if entry.position != number:
            found.add("gap in the journal", f"{entry.position}, expected {number}")
        place = (entry.topic, entry.key)
        if entry.sequence != last.get(place, 0) + 1:
            found.add("order of a key in the journal", f"{place}: {entry.sequence} after {last.get(place, 0)}")
        last[place] = entry.sequence
        ids.append(entry.id)
    known = set(ids)
    found.add("doubled: event in the journal", "by id", len(ids) - len(known))
    found.each("lost: event is not in the journal", case.ids - known)
    found.each("journal has what the log has not", known - case.ids)
    return ids


def totals(counts: Mapping[str, int]) -> dict[str, int]:
    """Findings in three figures: lost, doubled, other."""
    lost = sum(count for check, count in counts.items() if check.startswith("lost"))
    doubled = sum(count for check, count in counts.items() if check.startswith("doubled"))
    return {"lost": lost, "doubled": doubled, "other": sum(counts.values()) - lost - doubled}
