"""Invents months: first what happened, as plain rows; then the events that tell of it.

The rows are the truth. They are never read from events, and nothing of services.evaluate is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from shared.clock import ZONE
from shared.events.catalog.clocks import ClockCorrected, ClockSet, ClockStarted, ClockState, ClockTurnedRed
from shared.events.catalog.labels import Label, LabelClassified, LabelReviewed, Matter, Tag
from shared.events.catalog.ratings import (
    Answer,
    FalseCompletion,
    Feedback,
    FeedbackAnswered,
    FeedbackClosed,
    FeedbackExclusionDecided,
    FeedbackExclusionRequested,
    FeedbackFalseCompletionDecided,
    FeedbackOpened,
)
from shared.events.catalog.work_orders import (
    WorkOrder,
    WorkOrderAccepted,
    WorkOrderCompleted,
    WorkOrderDispatched,
    WorkOrderOpened,
    WorkOrderReturned,
    WorkOrderShirked,
)
from shared.events.event import Event

PLATFORM = "460100"
DAY = timedelta(days=1)
TAGS = ["night", "elderly", "school", "noise", "repeated", "overlap"]


@dataclass
class Told:
    """One event: what, of which aggregate, as which of its facts, when."""

    event: Event
    key: str
    sequence: int
    time: datetime
    id: str


@dataclass
class Truth:
    """What happened, as rows of plain values; `month` is YYYY-MM in Asia/Shanghai."""

    appeals: list[tuple[Any, ...]] = field(default_factory=list)
    """(appeal, order, unit, closed_month | None, closed_second, reached, contacted, solved, satisfaction, bad_before,
    excluded, suspected)"""
    orders: list[tuple[Any, ...]] = field(default_factory=list)
    """(order, late)"""
    moves: list[tuple[Any, ...]] = field(default_factory=list)
    """(unit, month, what)"""
    repeats: list[tuple[Any, ...]] = field(default_factory=list)
    """(new appeal, closed appeal, month)"""
    units: list[tuple[Any, ...]] = field(default_factory=list)
    """(unit, region)"""
    false_ones: list[tuple[Any, ...]] = field(default_factory=list)
    """(order, round of the order, appeal, unit, second of the centre's first word, its month, whether it was confirmed
    at last)"""
    labels: list[tuple[Any, ...]] = field(default_factory=list)
    """(appeal, tags that the machine set, those that a person meant | None, those that stand at last), each list a text
    with commas"""


@dataclass
class World:
    """Invents `cases` appeals that close in the `months` (first days of months, in their order)."""

    seed: int
    cases: int
    months: tuple[str, ...]
    units: int = 60
    truth: Truth = field(default_factory=Truth)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.judging = Random(self.seed + 1)
        streets = [f"4601{district:02d}{street:03d}" for district in (5, 6, 7, 8) for street in range(1, 6)]
        self.regions = {
            f"{PLATFORM}-u{number:03d}": self.chance.choice([PLATFORM, *streets, "460105", "460107"])
            for number in range(self.units)
        }
        # some units are good, some are not, some have few cases
        self.skill = {unit: self.chance.uniform(0.45, 0.98) for unit in self.regions}
        self.share = {unit: self.chance.choice([0.02, 0.5, 1, 1, 1, 2, 6]) for unit in self.regions}
        self.truth.units = list(self.regions.items())
        self.closed: list[tuple[str, datetime]] = []
        self._ids = 0

    def new_id(self, at: datetime) -> str:
        """A UUIDv7 of an instant, the next in a row."""
        self._ids += 1
        stamp = int(at.timestamp() * 1000)
        value = (stamp << 80) | (7 << 76) | (self.seed % 4096 << 64) | (2 << 62) | self._ids
        return str(UUID(int=value))

    def events(self) -> Iterator[Told]:
        """Every event of every life, life by life; `truth` is complete at the end."""
        names, weights = list(self.share), list(self.share.values())
        done = 0
        while done < self.cases:
            month = self.months[done * len(self.months) // self.cases]
            life = _Life(self, month, self.chance.choices(names, weights)[0])
            yield from life.told()
            done += len(life.appeals)


def month_of(at: datetime) -> str:
    """YYYY-MM in the platform's zone."""
    return at.astimezone(ZONE).strftime("%Y-%m")


class _Life:
    """One order with one or two appeals, from its dispatch to the last word about it."""

    def __init__(self, world: World, month: str, unit: str) -> None:
        self.world, self.chance, self.unit = world, world.chance, unit
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=ZONE)
        length = ((first + 32 * DAY).replace(day=1) - first).total_seconds()
        moment = self.chance.uniform(0, length - 1)
        if self.chance.random() < 0.02:  # the very first and the very last second of a month
            moment = self.chance.choice([0.0, length - 1])
        self.end = (first + timedelta(seconds=int(moment))).astimezone(UTC)
        self.began = self.end - timedelta(hours=self.chance.randrange(60, 400))
        self.order = world.new_id(self.began)
        self.appeals = [world.new_id(self.began) for _ in range(2 if self.chance.random() < 0.06 else 1)]
        self.lead = unit
        self.repeat_of: str | None = None
        self.round = 1
        self._sequences: dict[tuple[str, str], int] = {}
        self._state: dict[str, Any] = {"status": "dispatched"}

    def told(self) -> Iterator[Told]:
        for appeal in self.appeals:
            yield from self._labelled(appeal)
        yield from self._dispatched()
        late = self.chance.random() < 0.15 * (1.6 - self.world.skill[self.unit])
        yield from self._clock(late)
        yield from self._handled()
        open_ones = 1 if len(self.appeals) == 2 and self.chance.random() < 0.2 else 0
        for number, appeal in enumerate(self.appeals):
            yield from self._asked(appeal, stays_open=number < open_ones)

    def _tell(self, event: Event, key: str, at: datetime) -> Told:
        sequence = self._sequences[event.topic, key] = self._sequences.get((event.topic, key), 0) + 1
        return Told(event, key, sequence, at, self.world.new_id(at))

    def _snapshot(self, **changed: Any) -> WorkOrder:
        self._state |= changed
        values: dict[str, Any] = {
            "id": self.order,
            "platform": PLATFORM,
            "appeal_ids": self.appeals[:1],
            "lead": self.lead,
            "lead_name": f"单位{self.lead[-4:]}",
            "lead_region": self.world.regions[self.lead],
            "handling_class": "general",
            "matter": "urban.lamp",
            "matter_path": ["城市管理", "路灯"],
            "kind": "complaint",
            "region_code": "460105001",
            "channel": "phone",
            "version": 1,
            "received_at": self.began,
            "opened_at": self.began,
            "repeat_of": self.repeat_of,
        }
        return WorkOrder(**(values | self._state))

    def _labelled(self, appeal: str) -> Iterator[Told]:
        """The machine's tags; those of a person in one of four cases, who is looked over in one of five."""
        chance, skill = self.world.judging, self.world.skill[self.unit]
        said = [chance.sample(TAGS, chance.choice([0, 1, 1, 2, 3]))]
        while len(said) < 3 and chance.random() < (0.25 if len(said) == 1 else 0.2):
            meant = [tag for tag in said[-1] if chance.random() < skill]
            if chance.random() > skill:
                meant.append(chance.choice([tag for tag in TAGS if tag not in meant]))
            said.append(meant)
        for number, tags in enumerate(said):
            at = self.began + timedelta(minutes=number)
            after = _label(appeal, tags)
            event: Event = LabelClassified(actor="system:classify", after=after)
            if number:
                event = LabelReviewed(actor="seat:1", before_matter="urban.lamp", after=after)
            yield self._tell(event, appeal, at)
        meant_by_a_person = ",".join(said[1]) if len(said) > 1 else None
        self.world.truth.labels.append((appeal, ",".join(said[0]), meant_by_a_person, ",".join(said[-1])))

    def _dispatched(self) -> Iterator[Told]:
        at = self.began
        closed = self.world.closed
        if closed and self.chance.random() < 0.05:
            before, when = self.chance.choice(closed)
            if when < at:
                self.repeat_of = before
                self.world.truth.repeats.append((self.appeals[0], before, month_of(at)))
        if self.chance.random() < 0.3:
            self.lead = f"{PLATFORM}-centre"
            self.world.regions.setdefault(self.lead, PLATFORM)
            yield self._tell(
                WorkOrderOpened(actor="system:dispatch", after=self._snapshot(status="pending")), self.order, at
            )
        tries = 1 + (self.chance.random() < 0.08) + (self.chance.random() < 0.02)
        for number in range(tries, 0, -1):
            self.lead = self.unit if number == 1 else self.chance.choice(list(self.world.share))
            at += timedelta(minutes=self.chance.randrange(1, 40))
            after = self._snapshot(status="dispatched", dispatch_no=tries - number + 1)
            yield self._tell(WorkOrderDispatched(actor="system:dispatch", cause="routing", after=after), self.order, at)
            self.world.truth.moves.append((self.lead, month_of(at), "dispatched"))
            if number == 1:
                break
            at += timedelta(minutes=self.chance.randrange(1, 200))
            facts: dict[str, Any] = {
                "actor": f"unit:{self.lead}",
                "unit": self.lead,
                "after": self._snapshot(status="pending"),
            }
            yield self._tell(WorkOrderReturned(reason_code="not_my_duty", **facts), self.order, at)
            self.world.truth.moves.append((self.lead, month_of(at), "returned"))
            if self.chance.random() < 0.3:
                yield self._tell(WorkOrderShirked(**facts), self.order, at)
                self.world.truth.moves.append((self.lead, month_of(at), "shirked"))

    def _clocks(self, lamp: str, number: int) -> ClockSet:
        due = self.began + 3 * DAY
        state = ClockState(
            clock="complete",
            round=number,
            started_at=self.began,
            due_at=due,
            yellow_at=due - DAY,
            lamp=lamp,
            used_s=10,
            allowed_s=10,
            unit_of_time="natural",
        )
        return ClockSet(
            work_order_id=self.order,
            appeal_ids=self.appeals,
            unit=self.unit,
            region_code="460105001",
            handling_class="general",
            lamp=lamp,
            level=0,
            clocks=[state],
        )

    def _clock(self, late: bool) -> Iterator[Told]:
        """Red clocks, of which some are taken back, some turn red again, and some are of another kind."""
        at = self.began + timedelta(minutes=3)
        yield self._tell(
            ClockStarted(actor="system:sla", clocks=["complete"], after=self._clocks("green", 1)), self.order, at
        )
        due = at + DAY
        if self.chance.random() < 0.1:  # the accept clock: no lateness
            yield self._tell(
                ClockTurnedRed(actor="system:sla", clock="accept", round=1, due_at=due, after=self._clocks("green", 1)),
                self.order,
                due,
            )
        number = 2 if late and self.chance.random() < 0.2 else 1
        said: list[str] = []
        if late:
            said = self.chance.choice([["red"], ["red", "level"], ["red", "back", "red"]])
        elif self.chance.random() < 0.05:
            said = self.chance.choice([["red", "back"], ["red", "back", "red", "back"]])
        for step, word in enumerate(said):
            when = due + timedelta(minutes=step)
            if word == "red":
                event: Event = ClockTurnedRed(
                    actor="system:sla", clock="complete", round=number, due_at=due, after=self._clocks("red", number)
                )
            else:
                lamp = "red" if word == "level" else self.chance.choice(["yellow", "green"])
                event = ClockCorrected(
                    actor="system:sla", clock="complete", round=number, levels=[1], after=self._clocks(lamp, number)
                )
            yield self._tell(event, self.order, when)
        self.world.truth.orders.append((self.order, late))

    def _handled(self) -> Iterator[Told]:
        at = self.end - timedelta(hours=30)
        yield self._tell(
            WorkOrderAccepted(actor=f"unit:{self.unit}", after=self._snapshot(status="accepted")), self.order, at
        )
        done = self._snapshot(status="completed", result="已处理", solved=True)
        yield self._tell(WorkOrderCompleted(actor=f"unit:{self.unit}", after=done), self.order, at + timedelta(hours=1))

    def _asked(self, appeal: str, *, stays_open: bool) -> Iterator[Told]:
        opened = self.end - timedelta(hours=28)
        state: dict[str, Any] = {
            "appeal_id": appeal,
            "work_order_id": self.order,
            "unit": self.unit,
            "region_code": "460105001",
            "matter": "urban.lamp",
            "round": 1,
            "method": "callback",
            "status": "open",
            "opened_at": opened,
        }
        yield self._tell(FeedbackOpened(actor="system:feedback", after=Feedback(**state)), appeal, opened)
        if stays_open:
            self.world.truth.appeals.append((appeal, self.order, self.unit, None, None, *(None,) * 4, 0, False, False))
            return
        skill = self.world.skill[self.unit]
        answers: list[Answer] = []
        suspected = False
        reached = self.chance.random() < 0.85
        if reached and self.chance.random() < 0.94:  # else: he refused to answer
            answers.append(self._answer(1, opened + timedelta(hours=2), skill))
            if _bad(answers[0]):
                suspected = answers[0].solved is False
                state |= {"status": "second_handling", "bad_ratings": 1, "reached": True}
                told = Feedback(**state, answers=answers, false_completion_suspected=suspected)
                event = FeedbackAnswered(actor="citizen", answer=answers[0], bad=True, after=told)
                yield self._tell(event, appeal, answers[0].at)
                again = {"status": "open", "round": 2}
                yield self._tell(
                    FeedbackOpened(actor="system:feedback", after=Feedback(**(state | again), answers=answers)),
                    appeal,
                    answers[0].at + timedelta(hours=4),
                )
                state |= again
                answers = [*answers, self._answer(2, opened + timedelta(hours=9), skill)]
                state["bad_ratings"] += _bad(answers[1])
                suspected = suspected or answers[1].solved is False
        state |= {
            "status": "closed",
            "outcome": "answered" if answers else "refused" if reached else "unreachable",
            "reached": reached,
            "answers": answers,
            "closed_at": self.end,
            "false_completion_suspected": suspected,
        }
        yield self._tell(FeedbackClosed(actor="system:feedback", after=Feedback(**state)), appeal, self.end)
        excluded = False
        if answers and self.chance.random() < 0.05:
            asked = self.end + timedelta(hours=20)
            facts: dict[str, Any] = {"actor": f"unit:{self.unit}", "exclusion_id": self.world.new_id(asked)}
            wished = Feedback(**(state | {"exclusion": "requested"}))
            yield self._tell(FeedbackExclusionRequested(after=wished, **facts), appeal, asked)
            excluded = self.chance.random() < 0.6
            decided = Feedback(**(state | {"exclusion": "granted" if excluded else "refused"}))
            yield self._tell(
                FeedbackExclusionDecided(after=decided, granted=excluded, **facts), appeal, asked + timedelta(hours=30)
            )
            state |= {"exclusion": decided.exclusion}
        yield from self._judged(appeal, state)
        last = answers[-1] if answers else None
        self.world.closed.append((appeal, self.end))
        self.world.truth.appeals.append(
            (
                appeal,
                self.order,
                self.unit,
                month_of(self.end),
                int(self.end.timestamp()),
                reached,
                last.contacted if last else None,
                last.solved if last else None,
                last.satisfaction if last else None,
                state.get("bad_ratings", 0),
                excluded,
                suspected,
            )
        )

    def _judged(self, appeal: str, state: dict[str, Any]) -> Iterator[Told]:
        """Some of what looks like a false completion is judged, oftener what two citizens may contradict; of that a
        review turns one in five around."""
        chance = self.world.judging
        contradicted = next((answer for answer in state["answers"] if answer.solved is False), None)
        if contradicted is None or chance.random() < (0.9 if len(self.appeals) == 1 else 0.2):
            return
        first = self.end + timedelta(hours=60)
        confirmed = chance.random() < 0.6
        words = [confirmed] if chance.random() < 0.8 else [confirmed, not confirmed]
        for number, word in enumerate(words):
            one = FalseCompletion(
                round=contradicted.round,
                work_order_id=self.order,
                order_round=contradicted.round,
                unit=self.unit,
                state="confirmed" if word else "denied",
                suspected_at=contradicted.at,
                decided_at=first,
            )
            event = FeedbackFalseCompletionDecided(
                actor="user:1",
                round=one.round,
                confirmed=word,
                review=number > 0,
                after=Feedback(**state, false_completions=[one]),
            )
            yield self._tell(event, appeal, first + timedelta(hours=number))
        self.world.truth.false_ones.append(
            (self.order, one.order_round, appeal, self.unit, int(first.timestamp()), month_of(first), words[-1])
        )

    def _answer(self, number: int, at: datetime, skill: float) -> Answer:
        maybe = self.chance.random
        return Answer(
            round=number,
            contacted=None if maybe() < 0.03 else maybe() < skill + 0.02,
            solved=None if maybe() < 0.03 else maybe() < skill,
            satisfaction=None
            if maybe() < 0.05
            else self.chance.choices(range(1, 6), [2, 1, 3, 6 * skill, 10 * skill])[0],
            at=at,
        )


def _label(appeal: str, tags: list[str]) -> Label:
    matter = Matter(code="urban.lamp", path=["城市管理", "路灯"], probability=0.9)
    return Label(
        appeal_id=appeal,
        matter=matter,
        candidates=[matter],
        tags=[Tag(code=tag, name=f"标签{tag}", family="nature", confidence=0.9, source="model") for tag in tags],
        handling_class="general",
        kind="complaint",
        region_code="460105001",
        model="m",
        catalogue_version="1",
        needs_review=False,
    )


def _bad(answer: Answer) -> bool:
    return answer.solved is False or (answer.satisfaction is not None and answer.satisfaction <= 2)
