"""Facts of the domain as events of `sla.clocks.v1`, with the words that a timeline shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from services.sla.domain.calendar import ZONE
from services.sla.domain.clock import Clock, Fact, FactName, Lamp
from services.sla.domain.clock_set import ClockSet
from services.sla.domain.explanation import CLOCK_WORDS
from services.sla.domain.policy import ClockName
from services.sla.domain.relay import Calendar
from shared.events.catalog import clocks as catalog

ACTOR = "system:sla"

LATE_AFTER = timedelta(minutes=1)
"""an escalation announced this long after its instant is marked late"""

LEVEL_WORDS = {1: "一级", 2: "二级", 3: "三级"}

_CAUSES = {
    FactName.REBASED: ("rule", "按新的类别或规则重算时限"),
    FactName.SUSPENDED: ("suspension", "挂账，办结时限暂停"),
    FactName.RESUMED: ("resumption", "挂账结束，办结时限继续"),
    FactName.EXTENDED: ("extension", "延期获批，办结时限延长"),
}

_RULE_CHANGES = {
    "class_changed": "",
    "rules_changed": "时限规则或工作日历更新",
    "lead_changed": "承办单位变更，按其工作日历计算",
}

_WORST = {Lamp.GREEN: 0, Lamp.YELLOW: 1, Lamp.RED: 2}


@dataclass(frozen=True, slots=True)
class Owner:
    """What the events say of the order beside its clocks."""

    appeal_ids: Sequence[str]
    unit: str
    region_code: str


def worst_lamp(clock_set: ClockSet) -> Lamp:
    """The worst lamp of the running clocks; green when none runs."""
    return max((c.lamp for c in clock_set.clocks if c.running), key=_WORST.__getitem__, default=Lamp.GREEN)


def whole_seconds(amount: timedelta) -> int:
    """Whole seconds, cut off."""
    return amount // timedelta(seconds=1)


def _state(clock: Clock, now: datetime, calendar: Calendar) -> catalog.ClockState:
    # an open suspension has no deadline yet: what was allowed from its start on is the earliest it can be
    due = clock.due_at or max(now, clock.started_at) + clock.allowed
    return catalog.ClockState(
        clock=clock.name.value,
        round=clock.round,
        started_at=clock.started_at,
        due_at=due,
        yellow_at=clock.yellow_at or due,
        stopped_at=clock.stopped_at,
        lamp=clock.lamp.value,
        level=max(clock.levels, default=0),
        used_s=whole_seconds(clock.used(now, calendar)),
        allowed_s=whole_seconds(clock.allowed),
        unit_of_time=clock.allowance.counting.value,
        provisional=clock.provisional,
    )


def snapshot(clock_set: ClockSet, owner: Owner, now: datetime, calendar: Calendar) -> catalog.ClockSet:
    """The public state of a clock set at `now`."""
    return catalog.ClockSet(
        work_order_id=clock_set.work_order_id,
        appeal_ids=list(owner.appeal_ids),
        unit=owner.unit,
        region_code=owner.region_code,
        handling_class=clock_set.handling_class.value,
        lamp=worst_lamp(clock_set).value,
        level=max((level for clock in clock_set.clocks for level in clock.levels), default=0),
        clocks=[_state(clock, now, calendar) for clock in clock_set.clocks],
    )


def events_of(
    facts: Sequence[Fact],
    clock_set: ClockSet,
    owner: Owner,
    now: datetime,
    calendar: Calendar,
    supervision_id: "dict[Fact, str]",
) -> Iterator[tuple[catalog.ClockEvent, datetime]]:
    """The events of one transition, each with its business time; starts and stops that go together are one event.

    `supervision_id` names the row of each escalation; `now` decides what is late.
    """
    for (name, at, in_time), group in groupby(facts, key=lambda f: (f.name, f.at, f.lamp is not Lamp.RED)):
        together = list(group)
        after = snapshot(clock_set, owner, at, calendar)
        names = [fact.clock.value for fact in together]
        words = "、".join(CLOCK_WORDS[fact.clock] for fact in together)
        match name:
            case FactName.STARTED:
                yield catalog.ClockStarted(actor=ACTOR, reason=f"{words}开始计时", after=after, clocks=names), at
            case FactName.STOPPED:
                reason = f"{words}停止计时，{'在时限内' if in_time else '已超时限'}"
                yield (
                    catalog.ClockStopped(actor=ACTOR, reason=reason, after=after, clocks=names, in_time=in_time),
                    at,
                )
            case FactName.REBASED | FactName.SUSPENDED | FactName.RESUMED | FactName.EXTENDED:
                cause, reason = _CAUSES[name]
                given = next((fact.reason for fact in together if fact.reason), "")
                if name is FactName.REBASED:
                    given = _RULE_CHANGES[given]
                reason = f"{words}：{reason}" + (f"（{given}）" if given else "")
                yield catalog.ClockRebased(actor=ACTOR, reason=reason, after=after, clocks=names, cause=cause), at
            case _:
                for fact in together:
                    yield _single(fact, after, now, supervision_id), at


def _single(
    fact: Fact, after: catalog.ClockSet, now: datetime, supervision_id: "dict[Fact, str]"
) -> catalog.ClockEvent:
    clock, round_, due = fact.clock.value, fact.round, fact.due_at or fact.at
    word, moment = CLOCK_WORDS[fact.clock], f"{due.astimezone(ZONE):%m-%d %H:%M}"
    match fact.name:
        case FactName.TURNED_YELLOW:
            reason = f"{word}时限已用 75%，{moment} 到期"
            return catalog.ClockTurnedYellow(
                actor=ACTOR, reason=reason, after=after, clock=clock, round=round_, due_at=due
            )
        case FactName.TURNED_RED:
            reason = f"{word}时限 {moment} 已到"
            return catalog.ClockTurnedRed(
                actor=ACTOR, reason=reason, after=after, clock=clock, round=round_, due_at=due
            )
        case FactName.ESCALATED:
            assert fact.level is not None
            why = "评价差评" if fact.clock is ClockName.RATING else f"{word}超时"
            return catalog.ClockEscalated(
                actor=ACTOR,
                reason=f"{LEVEL_WORDS[fact.level]}督办：{why}",
                after=after,
                supervision_id=supervision_id[fact],
                clock=clock,
                round=round_,
                level=fact.level,
                due_at=due,
                late=now - fact.at > LATE_AFTER,
            )
        case _:
            taken_back = "、".join(LEVEL_WORDS[level] for level in fact.withdrawn)
            if fact.lamp is Lamp.RED:
                reason = f"{word}：停止或调整不晚于督办时刻，撤回{taken_back}督办，超时限不变"
            else:
                reason = f"{word}：事件迟到，实际未超时限" + (f"，撤回{taken_back}督办" if taken_back else "")
            return catalog.ClockCorrected(
                actor=ACTOR, reason=reason, after=after, clock=clock, round=round_, levels=list(fact.withdrawn)
            )
