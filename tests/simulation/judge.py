"""What must hold at the end of every schedule, judged from outside: by the log and by the tables of the services."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulation import pipeline
from tests.simulation.broker import sequence_of
from tests.simulation.pipeline import COUNTS, FACTS, FactNoted, FactRecorded
from tests.simulation.world import World

ROWS = {
    "facts": "SELECT key, sequence FROM a.keys WHERE sequence > 0",
    "counts": "SELECT key, sequence FROM b.keys WHERE sequence > 0",
    "effects": "SELECT key, sequence FROM b.effects ORDER BY place",
    "fired": "SELECT key, armed_by FROM b.fired ORDER BY place",
    "latest": "SELECT topic, key, sequence FROM c.latest",
    "handled": "SELECT topic, key, sequence FROM c.handled",
    "letters": " UNION ALL ".join(
        f"SELECT '{name}', topic, key, status, (SELECT (h ->> 1)::int FROM jsonb_array_elements(headers) h"
        f" WHERE h ->> 0 = 'ce_sequence') FROM {name}.dead_letters"
        for name in ("b", "c")
    ),
    "letters_twice": " UNION ALL ".join(
        f"SELECT '{name}', topic, partition, log_offset FROM {name}.dead_letters WHERE partition >= 0"
        " GROUP BY topic, partition, log_offset HAVING count(*) > 1"
        for name in ("b", "c")
    ),
    "early": " UNION ALL ".join(
        f"SELECT '{name}', topic, key, sequence FROM {name}.inbox_early" for name in ("b", "c")
    ),
    "left": " UNION ALL ".join(
        f"SELECT '{name}' AS service, 'outbox' AS name, count(*) FROM {name}.outbox UNION ALL"
        f" SELECT '{name}', 'timers', count(*) FROM {name}.timers"
        for name in pipeline.SCHEMAS
    ),
}
TABLES = "SELECT " + ", ".join(
    f"(SELECT coalesce(json_agg(to_json(t)), '[]') FROM ({sql}) t) AS {name}" for name, sql in ROWS.items()
)


@dataclass(frozen=True)
class Breach:
    """A rule that was broken, and how."""

    rule: str
    what: str


async def judge(world: World) -> list[Breach]:
    """Every breach of a finished schedule."""
    row = await world.scheduler.beside(lambda: world.control.fetchrow(TABLES))
    tables = {name: [tuple(line.values()) for line in row[name]] for name in ROWS}
    return list(_Case(world, tables).breaches())


class _Case:
    def __init__(self, world: World, tables: dict[str, list[tuple[Any, ...]]]) -> None:
        self.world = world
        self.tables = tables
        self.sent: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.events: dict[tuple[str, str, int], Any] = {}
        for record in world.broker.sent:
            if record.topic in pipeline.PARTITIONS:
                number = sequence_of(record)
                self.sent[record.topic, record.key].append(number)
                name = (record.topic, record.key, number)
                if name not in self.events:
                    self.events[name] = pipeline.decoder(record.headers, record.value).data
        self.totals = {FACTS: dict(tables["facts"]), COUNTS: dict(tables["counts"])}

    def poisoned(self, service: str, topic: str, key: str) -> int | None:
        """The sequence at which a service is stuck with a key, if it is."""
        found = [place[3] for place in self.letters() if place[:3] == (service, topic, key)]
        return min(found) if found else None

    def letters(self) -> list[tuple[str, str, str, int]]:
        """Service, topic, key and sequence of what a handler sees and can never handle, while nobody discards it."""
        if self.world.operator == "discard":
            return []
        return [place for place in self.world.trouble.poison if self.wanted(*place[1:])]

    def discarded(self, service: str, topic: str, key: str, sequence: int) -> bool:
        """Whether a person gave a fact up for this service."""
        return self.world.operator == "discard" and (service, topic, key, sequence) in self.world.trouble.poison

    def wanted(self, topic: str, key: str, sequence: int) -> bool:
        """Whether an event concerns its readers."""
        return not isinstance(self.events.get((topic, key, sequence)), FactNoted)

    def breaches(self) -> Iterator[Breach]:
        """Rule by rule."""
        yield from self._commands()
        yield from self._relay()
        yield from self._counted()
        yield from self._projected()
        yield from self._timers()
        yield from self._letters()
        yield from self._left()

    def _commands(self) -> Iterator[Breach]:
        """Each command took effect once."""
        for key in self.world.keys:
            asked, done = self.world.facts_of(key), self.totals[FACTS].get(key, 0)
            if asked != done:
                yield Breach("commands", f"{key}: {asked} facts were asked for, {done} are committed")

    def _relay(self) -> Iterator[Breach]:
        """Every committed event was sent, and each key in order once repeats are dropped."""
        for topic, totals in self.totals.items():
            for key, total in totals.items():
                order = list(dict.fromkeys(self.sent[topic, key]))
                if order != list(range(1, total + 1)):
                    yield Breach("relay", f"{topic} {key}: sent {order} of {total}")

    def _counted(self) -> Iterator[Breach]:
        """b: each fact once and in order, up to the one that never works; its own events are as many."""
        effects: dict[str, list[int]] = defaultdict(list)
        for key, sequence in self.tables["effects"]:
            effects[key].append(sequence)
        fired = Counter(key for key, _ in self.tables["fired"])
        for key, total in self.totals[FACTS].items():
            stuck = self.poisoned("b", FACTS, key)
            expected = [
                number
                for number in range(1, (stuck or total + 1))
                if self.wanted(FACTS, key, number) and not self.discarded("b", FACTS, key, number)
            ]
            if effects[key] != expected:
                yield Breach("facts once and in order", f"b {key}: {effects[key]}, not {expected}")
            said = self.totals[COUNTS].get(key, 0)
            if said != len(effects[key]) + fired[key]:
                yield Breach("effects and events together", f"b {key}: {said} events")

    def _projected(self) -> Iterator[Breach]:
        """c: each event handled once or waiting behind a dead letter, and the highest of the handled ones is held."""
        handled: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for topic, key, sequence in self.tables["handled"]:
            handled[topic, key][sequence] += 1
        held: dict[tuple[str, str], set[int]] = defaultdict(set)
        for service, topic, key, status, sequence in self.tables["letters"]:
            if service == "c" and status != "replayed":
                held[topic, key].add(sequence)
        latest = {(topic, key): sequence for topic, key, sequence in self.tables["latest"]}
        for topic, totals in self.totals.items():
            for key, total in totals.items():
                own = handled[topic, key]
                twice = [sequence for sequence, count in own.items() if count > 1]
                if twice and topic == FACTS:  # repeats of the other stream change nothing and are not remembered
                    yield Breach("events once", f"c {topic} {key}: {twice} handled again")
                due = {number for number in range(1, total + 1) if self.wanted(topic, key, number)}
                if missing := due - set(own) - held[topic, key]:
                    yield Breach("events once", f"c {topic} {key}: {sorted(missing)} never handled")
                if latest.get((topic, key), 0) != max(own, default=0):
                    yield Breach("latest", f"c {topic} {key}: holds {latest.get((topic, key))}, handled {sorted(own)}")

    def _timers(self) -> Iterator[Breach]:
        """Each timer that was not replaced or stopped fired once; one that was stopped in time never."""
        fired = Counter(self.tables["fired"])
        for key, total in self.totals[FACTS].items():
            stuck = self.poisoned("b", FACTS, key)
            applied = [n for n in range(1, (stuck or total + 1)) if not self.discarded("b", FACTS, key, n)]
            waited = any(place[:3] == ("b", FACTS, key) for place in self.world.places)
            """facts stood behind a letter: what they stop may have fired by then"""
            for number in applied:
                fact = self.events.get((FACTS, key, number))
                if not isinstance(fact, FactRecorded):
                    continue  # or it was never sent, which is a breach already
                times = fired.pop((key, number), 0)
                if fact.stop or fact.due_at is None:
                    if times:
                        yield Breach("timers", f"{key} {number} armed nothing and fired")
                    continue
                replaced = next((later for later in applied if later > number and self._ends_timer(key, later)), None)
                if times > 1 or (times == 0 and replaced is None):
                    yield Breach("timers once", f"{key} {number} fired {times} times")
                shown = self._shown(fact.due_at)
                if times and shown is None:
                    yield Breach("timers", f"{key} {number} fired before it was due at {fact.due_at}")
                if times and replaced is not None and shown is not None and not (waited and self.world.operator):
                    stood = [self.world.broker.standing.get((FACTS, key, n), 1 << 60) for n in range(1, replaced + 1)]
                    if max(stood) < shown:
                        yield Breach(
                            "a stop in time wins",
                            f"{key} {number} fired, but {replaced} was in the log at step {max(stood)},"
                            f" before any clock showed {fact.due_at} at step {shown}",
                        )
        for key, number in fired:
            yield Breach("timers", f"{key} {number} fired and is no fact of its key that was applied")

    def _ends_timer(self, key: str, number: int) -> bool:
        fact = self.events.get((FACTS, key, number))
        return isinstance(fact, FactRecorded) and (fact.stop or fact.due_at is not None)

    def _shown(self, due: datetime) -> int | None:
        """The step at which a clock of b first showed `due`."""
        shown = self.world.shown
        index = bisect_left(shown, due, key=lambda entry: entry[1])
        return shown[index][0] if index < len(shown) else None

    def _letters(self) -> Iterator[Breach]:
        """Dead letters are exactly the facts that never work, once each; behind them what came later."""
        parked = Counter(
            (service, topic, key, sequence)
            for service, topic, key, status, sequence in self.tables["letters"]
            if status == "parked"
        )
        expected = Counter(dict.fromkeys(self.letters(), 1))
        if parked != expected:
            yield Breach("dead letters", f"{sorted(parked.elements())}, not {sorted(expected)}")
        for service, topic, number, offset in self.tables["letters_twice"]:
            yield Breach("dead letters", f"{service} keeps record {offset} of {topic}/{number} twice")
        waiting = {
            (service, topic, key, sequence)
            for service, topic, key, status, sequence in self.tables["letters"]
            if status in ("parked", "waiting")
        } | set(self.tables["early"])
        for service, topic, key, sequence in self.letters():
            if service == "b":
                behind = {(service, topic, key, later) for later in range(sequence + 1, self.totals[topic][key] + 1)}
                if missing := behind - waiting:
                    yield Breach("dead letters", f"lost behind a letter: {sorted(missing)}")
        for service, topic, key in {line[:3] for line in waiting}:
            if self.poisoned(service, topic, key) is None:
                yield Breach("dead letters", f"{service} {topic} {key} waits for nothing")

    def _left(self) -> Iterator[Breach]:
        """Nothing is left to do."""
        for service, table, count in self.tables["left"]:
            if count:
                yield Breach("nothing left", f"{service}.{table}: {count}")


def rules(breaches: Iterable[Breach]) -> list[str]:
    """Names of the broken rules, each once."""
    return list(dict.fromkeys(breach.rule for breach in breaches))
