"""The steps of one clock (domain.md, SLA): each makes a new one from an old one, with the facts that this publishes.

Time is the time of events: a worker that reads late comes to the same clock, and what it had announced too early it
takes back with a `corrected` fact (domain.md: "a stop with time ≤ due wins, however late it is read").
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from services.sla.domain.clock import ZERO, Clock, Fact, FactName, Firing, Former, Lamp
from services.sla.domain.intervals import Suspension, merged, used_up_at
from services.sla.domain.policy import Allowance, ClockName, Counting
from services.sla.domain.relay import Calendar

Change = tuple[Clock, tuple[Fact, ...]]


def start(
    name: ClockName,
    round_: int,
    at: datetime,
    *,
    armed_at: datetime,
    allowance: Allowance,
    ladder: tuple[timedelta, timedelta, timedelta],
    policy: str,
    calendar: Calendar,
    halved: bool = False,
) -> Change:
    """A fresh clock that counts from `at`; `armed_at` ≥ `at` is the time of the event that starts it."""
    clock = Clock(
        name=name,
        round=round_,
        allowance=allowance,
        ladder=ladder,
        policy=policy,
        started_at=at,
        armed_at=armed_at,
        budget=_budget(allowance, at, calendar, halved),
        halved=halved,
    )
    clock = _with_deadline(clock, calendar)
    return clock, (Fact(FactName.STARTED, name, round_, armed_at, due_at=clock.due_at),)


def advance(clock: Clock, to: datetime, *, inclusive: bool) -> Change:
    """Announces lamps and levels in order up to `to`.

    `inclusive` for a timer (what is due at `to` is due); exclusive before an event of time `to`, which wins against
    an instant equal to its own.
    """
    facts: list[Fact] = []
    for instant, step in clock.ahead():
        at = max(instant, clock.armed_at)
        if (at > to) if inclusive else (instant >= to):
            break
        if isinstance(step, Lamp):
            clock = replace(clock, lamp=step)
            name = FactName.TURNED_YELLOW if step is Lamp.YELLOW else FactName.TURNED_RED
            facts.append(Fact(name, clock.name, clock.round, at, due_at=clock.due_at, lamp=step))
        else:
            clock = replace(clock, firings=(*clock.firings, Firing(step, instant, at)))
            facts.append(Fact(FactName.ESCALATED, clock.name, clock.round, at, due_at=clock.due_at, level=step))
    return clock, tuple(facts)


def stop(clock: Clock, at: datetime, reason: str) -> Change:
    """Stops the clock at event time `at`; a stopped clock stays as it is.

    What was due before `at` is announced first; what was announced for `at` or later is withdrawn.
    """
    if not clock.running:
        return clock, ()
    clock, facts = advance(clock, at, inclusive=False)
    in_time = clock.due_at is None or at <= clock.due_at
    lamp = clock.lamp
    if in_time and lamp is Lamp.RED:
        lamp = Lamp.YELLOW
    if clock.yellow_at is not None and at <= clock.yellow_at and in_time:
        lamp = Lamp.GREEN
    withdrawn = tuple(f.level for f in clock.firings if not f.withdrawn and f.due >= at)
    clock, corrected = _correct(clock, at, lamp, withdrawn, reason)
    clock = replace(clock, stopped_at=at, stop_reason=reason)
    stopped = Fact(FactName.STOPPED, clock.name, clock.round, at, due_at=clock.due_at, reason=reason, lamp=lamp)
    return clock, (*facts, *corrected, stopped)


def suspend(clock: Clock, at: datetime, until: datetime | None, calendar: Calendar, reason: str = "") -> Change:
    """Nothing is counted from `at` until `until` (None: until resumed). A suspension with an end ends by itself."""
    if not clock.running:
        return clock, ()
    clock, facts = advance(clock, at, inclusive=False)
    changed = replace(clock, suspensions=merged((*clock.suspensions, Suspension(at, until))))
    clock, corrected = _rearm(clock, changed, at, calendar, reason)
    return clock, (*facts, *corrected, _fact(FactName.SUSPENDED, clock, at, reason))


def resume(clock: Clock, at: datetime, calendar: Calendar, reason: str = "") -> Change:
    """Ends the suspension that covers `at`; without one nothing changes."""
    if not clock.running or not any(_covers(span, at) for span in clock.suspensions):
        return clock, ()
    clock, facts = advance(clock, at, inclusive=False)
    spans = merged(Suspension(s.since, at) if _covers(s, at) else s for s in clock.suspensions)
    clock, corrected = _rearm(clock, replace(clock, suspensions=spans), at, calendar, reason)
    return clock, (*facts, *corrected, _fact(FactName.RESUMED, clock, at, reason))


def extend(clock: Clock, at: datetime, amount: timedelta, calendar: Calendar, reason: str = "") -> Change:
    """Adds `amount` of counted time, of the clock's own kind, to what is allowed."""
    if not clock.running or amount <= ZERO:
        return clock, ()
    clock, facts = advance(clock, at, inclusive=False)
    clock, corrected = _rearm(clock, replace(clock, extension=clock.extension + amount), at, calendar, reason)
    return clock, (*facts, *corrected, _fact(FactName.EXTENDED, clock, at, reason))


def rebase(
    clock: Clock,
    at: datetime,
    *,
    allowance: Allowance,
    ladder: tuple[timedelta, timedelta, timedelta],
    policy: str,
    calendar: Calendar,
    reason: str = "",
) -> Change:
    """Applies a new rule from the original start, minus the recorded suspensions; due in the past becomes `at`.

    Under the same rule another calendar counts again: nothing happens when the deadline stays, or when it had passed
    and would have passed by the other calendar too.
    """
    same_rule = (allowance, ladder) == (clock.allowance, clock.ladder)
    if not clock.running or (same_rule and clock.calendar == _version(allowance, calendar)):
        return clock, ()
    budget = _budget(allowance, clock.started_at, calendar, clock.halved)
    not_before = clock.not_before if same_rule else None
    times = _times(clock, allowance, budget + clock.extension, not_before, calendar)
    due = times[0]
    past = due is not None and due < at
    if same_rule:
        if times == (clock.due_at, clock.yellow_at, clock.provisional):
            return clock, ()
        if past and clock.due_at is not None and clock.due_at <= at:
            return clock, ()
    announced, facts = advance(clock, at, inclusive=False)
    changed = replace(
        announced,
        allowance=allowance,
        ladder=ladder,
        policy=clock.policy if same_rule else policy,
        budget=budget,
        not_before=at if past else not_before,
    )
    clock, corrected = _rearm(announced, changed, at, calendar, reason)
    return clock, (*facts, *corrected, _fact(FactName.REBASED, clock, at, reason))


def remember(clock: Clock, before: Clock, until: datetime) -> Clock:
    """The clock with the rule of `before` kept, by which it was timed until other rules came into force."""
    rule = Former(until, before.allowance, before.ladder, before.policy, before.budget, before.not_before)
    return replace(clock, former=(*clock.former, rule))


def restore(clock: Clock, at: datetime, calendar: Calendar, reason: str = "") -> Change:
    """Timed again by the rule that held at `at`, for an event of that time; without such a rule nothing happens."""
    kept = tuple(rule for rule in clock.former if rule.until <= at)
    if not clock.running or len(kept) == len(clock.former):
        return clock, ()
    rule = clock.former[len(kept)]
    changed = replace(
        clock,
        allowance=rule.allowance,
        ladder=rule.ladder,
        policy=rule.policy,
        budget=rule.budget,
        not_before=rule.not_before,
        former=kept,
    )
    clock, corrected = _rearm(clock, changed, at, calendar, reason)
    return clock, (*corrected, _fact(FactName.REBASED, clock, at, reason))


def _with_deadline(clock: Clock, calendar: Calendar) -> Clock:
    due, yellow, provisional = _times(clock, clock.allowance, clock.allowed, clock.not_before, calendar)
    return replace(
        clock,
        due_at=due,
        yellow_at=yellow,
        provisional=provisional,
        calendar=_version(clock.allowance, calendar),
    )


def _times(
    clock: Clock, allowance: Allowance, allowed: timedelta, not_before: datetime | None, calendar: Calendar
) -> tuple[datetime | None, datetime | None, bool]:
    """(due, yellow, provisional) of the clock, were it allowed this."""
    measure = allowance.measure(calendar)
    due = used_up_at(measure, clock.started_at, allowed, clock.suspensions)
    yellow = used_up_at(measure, clock.started_at, allowed - allowed // 4, clock.suspensions)
    if due is not None and not_before is not None:
        due = max(due, not_before)
    provisional = measure is calendar and calendar.is_provisional(clock.started_at, due or clock.started_at)
    return due, yellow, provisional


def _version(allowance: Allowance, calendar: Calendar) -> str:
    return calendar.version if allowance.counting is Counting.WORKING else ""


def _rearm(before: Clock, changed: Clock, at: datetime, calendar: Calendar, reason: str) -> Change:
    """Sets the new deadline at event time `at` and withdraws what was announced without knowing of the event."""
    clock = _with_deadline(replace(changed, armed_at=at), calendar)
    lamp = clock.lamp
    if lamp is Lamp.RED and not _reached(clock.due_at, at, before.due_at):
        lamp = Lamp.YELLOW
    if lamp is Lamp.YELLOW and not _reached(clock.yellow_at, at, before.yellow_at):
        lamp = Lamp.GREEN
    # announced ahead of this event: by the new deadline they are either right, due at another instant, or too early
    ahead = {f.level for f in clock.firings if not f.withdrawn and f.due >= at}
    due = {f.level: None if clock.due_at is None else clock.due_at + clock.ladder[f.level - 1] for f in clock.firings}
    early = [f.level for f in clock.firings if f.level in ahead and ((d := due[f.level]) is None or d > f.due)]
    withdrawn = tuple(level for level in clock.levels if early and level >= min(early))
    clock = replace(
        clock,
        firings=tuple(
            replace(f, due=d) if f.level in ahead and not f.withdrawn and (d := due[f.level]) is not None else f
            for f in clock.firings
        ),
    )
    foreseen = before.due_at is not None and before.due_at >= at
    if withdrawn or (foreseen and before.lamp is Lamp.RED and lamp is not Lamp.RED):
        return _correct(clock, at, lamp, withdrawn, reason)
    return replace(clock, lamp=lamp), ()


def _reached(instant: datetime | None, at: datetime, before: datetime | None) -> bool:
    """Whether a lamp that is on stays on: its new instant is not later than the event or than the old instant."""
    return instant is not None and instant <= (at if before is None else max(at, before))


def _correct(clock: Clock, at: datetime, lamp: Lamp, withdrawn: tuple[int, ...], reason: str) -> Change:
    if not withdrawn and lamp is clock.lamp:
        return clock, ()
    firings = tuple(replace(f, withdrawn=True) if f.level in withdrawn else f for f in clock.firings)
    clock = replace(clock, lamp=lamp, firings=firings)
    fact = _fact(FactName.CORRECTED, clock, at, reason)
    return clock, (replace(fact, withdrawn=withdrawn, lamp=lamp),)


def _fact(name: FactName, clock: Clock, at: datetime, reason: str) -> Fact:
    return Fact(name, clock.name, clock.round, at, due_at=clock.due_at, reason=reason)


def _budget(allowance: Allowance, start_at: datetime, calendar: Calendar, halved: bool) -> timedelta:
    budget = allowance.budget(start_at, calendar)
    return budget // 2 if halved else budget


def _covers(span: Suspension, at: datetime) -> bool:
    return span.since <= at and (span.until is None or at < span.until)
