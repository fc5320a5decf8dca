"""A transport in memory behind the `Transport` Protocol, as treacherous as a real one may be.

It repeats records, lets them come late, loses its answers, does half of what it was asked, moves partitions while a
batch is in flight and tells a member late that it has lost one. It never loses what it has said it took.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.bus.records import Partition, Received, Record, partition_of
from shared.errors import Transient
from tests.simulation.scheduler import Process, Scheduler

PUBLISH_TROUBLE = ("refused", "answer lost", "half done", "done late")


class Speaker(Process, Protocol):
    """A process that speaks to the broker."""

    members: list["Member"]


def sequence_of(record: Record) -> int:
    """The number of an event within its key; 0 for what is none."""
    return next((int(value) for name, value in record.headers if name == "ce_sequence"), 0)


@dataclass
class Broker:
    """The log, its groups, and what the judge wants to know: what was sent, what stood in the log when."""

    scheduler: Scheduler
    partitions: Mapping[str, int]
    log: dict[Partition, list[Record]] = field(default_factory=dict)
    sent: list[Record] = field(default_factory=list)
    """in the order in which the relays sent them, repeats too"""
    standing: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """topic, key, sequence → step at which it first stood in the log"""
    late: list[Record] = field(default_factory=list)
    """taken, but not in the log yet"""
    groups: dict[str, "Group"] = field(default_factory=dict)
    disorder: float = 0.0
    """how likely a record comes late or twice"""
    slow_to_lose: bool = False
    """who loses a partition hears of it long after who gets it: both read it meanwhile"""
    eager: bool = False
    """every change of a group takes all partitions from all members (Kafka), not only those that move"""
    away: bool = False

    def __post_init__(self) -> None:
        for topic, count in self.partitions.items():
            for number in range(count):
                self.log[Partition(topic, number)] = []

    def take(self, records: Sequence[Record]) -> None:
        """What a producer has sent."""
        random = self.scheduler.random
        for record in records:
            self.sent.append(record)
            if self.disorder and random.random() < self.disorder:
                self.late.append(record)
                if random.random() < 0.5:
                    self.append(record)
            else:
                self.append(record)

    def append(self, record: Record) -> None:
        """It stands in the log from here on."""
        place = Partition(record.topic, partition_of(record.key, self.partitions.get(record.topic, 1)))
        self.log.setdefault(place, []).append(record)
        self.standing.setdefault((record.topic, record.key, sequence_of(record)), self.scheduler.step)
        for group in self.groups.values():
            for member in group.members:
                if place in member.view:
                    member.woken.set()

    def append_late(self) -> None:
        """One of those that came late, any of them."""
        index = self.scheduler.random.randrange(len(self.late))
        record = self.late.pop(index)
        self.append(record)
        self.scheduler.note("broker", f"late record {record.topic} {record.key}")

    def group(self, name: str) -> "Group":
        return self.groups.setdefault(name, Group(self, name))


@dataclass(eq=False)
class Group:
    """Members of a consumer group."""

    broker: Broker
    name: str
    members: list["Member"] = field(default_factory=list)
    topics: frozenset[str] = frozenset()

    def join(self, member: "Member") -> None:
        if member not in self.members:
            self.members.append(member)
            self.topics |= member.topics
            self.balance()

    def leave(self, member: "Member") -> None:
        if member in self.members:
            self.members.remove(member)
            self.balance()

    def balance(self) -> None:
        """Every partition gets an owner; each member hears of it later."""
        if not self.members:
            return
        random = self.broker.scheduler.random
        shares: list[set[Partition]] = [set() for _ in self.members]
        for place in sorted(self.broker.log):
            if place.topic in self.topics:
                shares[random.randrange(len(shares))].add(place)
        for member, share in zip(self.members, shares, strict=True):
            member.news = (frozenset(share), self.broker.eager)


class Member:
    """A member of a group, as one process sees it (`Consumer`)."""

    def __init__(self, broker: Broker, process: Speaker, group: str, topics: Iterable[str]) -> None:
        self.broker = broker
        self.process = process
        self.topics = frozenset(topics)
        self.group = broker.group(group)
        self.view: dict[Partition, int | None] = {}
        """what it believes to own, and where it reads on; None before it was told"""
        self.paused: set[Partition] = set()
        self.news: tuple[frozenset[Partition], bool] | None = None
        """an assignment that it has not heard of yet"""
        self.woken = asyncio.Event()

    @property
    def only_losses(self) -> bool:
        """Whether the news say nothing but what it has lost, and it hears of that late."""
        return self.broker.slow_to_lose and self.news is not None and self.news[0] <= self.view.keys()

    def hear(self) -> None:
        """The assignment arrives."""
        if self.news is None:
            return
        share, eager = self.news
        if self.only_losses or not self.broker.slow_to_lose:
            self.news = None
            for place in list(self.view):
                if place not in share:
                    del self.view[place]
        for place in sorted(share):
            if eager or place not in self.view:
                self.view[place] = None
        self.woken.set()

    async def start(self) -> None:
        await self._gate("join the group")
        self.process.members.append(self)
        self.group.join(self)

    async def stop(self) -> None:
        if not self.process.dead:
            await self.broker.scheduler.gate(self.process, "leave the group")
            self.process.members.remove(self)
            self.group.leave(self)

    async def _gate(self, what: str, faults: Sequence[str] = ("refused",)) -> str:
        scheduler = self.broker.scheduler
        fate = await scheduler.gate(self.process, what, faults)
        if fate == "die after":
            await scheduler.doom(self.process)
        if fate == "refused" or self.broker.away:
            raise Transient(f"broker: {what}")
        return fate

    async def poll(self, limit: int, timeout: float) -> Sequence[Received]:
        fate = await self._gate("poll", ("refused", "answer lost"))
        records = self._read(limit)
        if fate == "answer lost":
            raise Transient("broker: lost while it answered")
        if not records:
            self.woken.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self.woken.wait()
            except TimeoutError:
                return []
            await self._gate("poll again")
            records = self._read(limit)
        return records

    def _read(self, limit: int) -> list[Received]:
        """Of some partitions, each in order; how many is chance."""
        random = self.broker.scheduler.random
        records: list[Received] = []
        for place in sorted(self.view):
            offset = self.view[place]
            log = self.broker.log[place]
            if offset is None or place in self.paused or offset >= len(log):
                continue
            if records and random.random() < 0.2:
                continue
            count = min(limit - len(records), len(log) - offset, random.choice((1, 2, 3, 50)))
            for number in range(offset, offset + count):
                record = log[number]
                records.append(Received(place, number, record.key, record.headers, record.value))
            self.view[place] = offset + count
        return records

    def assigned(self) -> frozenset[Partition]:
        return frozenset(self.view)

    def unplaced(self) -> frozenset[Partition]:
        return frozenset(place for place, offset in self.view.items() if offset is None)

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self.view:
            self.view[partition] = offset
            self.woken.set()

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)
        self.woken.set()

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        await self._gate("commit offsets")


class SimulatedTransport:
    """The broker as one process sees it (`Transport`)."""

    name = "simulated"
    ends_sql: str | None = None

    def __init__(self, broker: Broker, process: Speaker) -> None:
        self.broker = broker
        self.process = process

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def ensure_topics(self, topics: Mapping[str, int]) -> None:
        for topic in topics:
            assert topic in self.broker.partitions

    async def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        broker, scheduler = self.broker, self.broker.scheduler
        what = f"publish {len(records)}"
        fate = await scheduler.gate(self.process, what, PUBLISH_TROUBLE)
        if fate == "refused" or broker.away:
            raise Transient("broker: away")
        if fate == "done late":
            broker.late.extend(records)
            raise Transient("broker: no answer in time")
        broker.take(self._half(records) if fate == "half done" else records)
        if fate == "die after":
            await scheduler.doom(self.process)
        if fate:
            raise Transient(f"broker: {fate}")

    def _half(self, records: Sequence[Record]) -> list[Record]:
        """The first so many of each partition: what an interrupted producer leaves behind."""
        random = self.broker.scheduler.random
        cuts: dict[int, int] = {}
        taken: list[Record] = []
        for record in records:
            number = partition_of(record.key, self.broker.partitions.get(record.topic, 1))
            left = cuts.setdefault(number, random.randrange(len(records)))
            if left:
                cuts[number] = left - 1
                taken.append(record)
        return taken

    def consumer(self, group: str, topics: Iterable[str], *, pace_s: float = 0.0) -> Member:
        return Member(self.broker, self.process, group, topics)

    async def ends(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        if await self.broker.scheduler.gate(self.process, "ends", ("refused",)) or self.broker.away:
            raise Transient("broker: away")
        wanted = set(topics)
        return {place: (0, len(log)) for place, log in sorted(self.broker.log.items()) if place.topic in wanted}
