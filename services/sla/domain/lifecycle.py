"""What the named events do to the clocks of one work order; nothing else moves a clock (domain.md, Start and stop).

Every function takes the present set and the event's own time and gives the next set with the facts to publish.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from services.sla.domain import steps
from services.sla.domain.clock import Clock, Fact, FactName, Firing
from services.sla.domain.clock_set import ClockSet, Earlier, Leg, Terms
from services.sla.domain.policy import Allowance, Case, ClockName, Counting

Change = tuple[ClockSet, tuple[Fact, ...]]

RULES_CHANGED = "rules_changed"
ATTEMPTED = "attempted"


def open_set(
    work_order_id: str,
    *,
    case: Case,
    unit: str = "",
    received_at: datetime,
    emergency_taken_at: datetime | None,
    at: datetime,
    terms: Terms,
) -> Change:
    """The set of a new order: first_contact and complete run from `received_at`.

    After an emergency action (先处置后补单) they count from `taken_at`, and first contact is met by it.
    """
    begin = received_at if emergency_taken_at is None else emergency_taken_at
    clock_set = ClockSet(
        work_order_id,
        case.handling_class,
        case.kind,
        case.groups,
        begin,
        matter=case.matter,
        region_code=case.region_code,
        unit=unit,
        rules=terms.number,
        allowed=case.allowed,
    )
    contact: tuple[Fact, ...] = ()
    if case.allowed is None:  # the citizen is spoken to by the lead of the whole, not by each part
        clock_set, contact = _start(clock_set, ClockName.FIRST_CONTACT, 1, begin, at, terms)
    if emergency_taken_at is not None:
        clock_set, met = _stop(clock_set, ClockName.FIRST_CONTACT, emergency_taken_at, "emergency_action")
        contact += met
    clock_set, complete = _start(clock_set, ClockName.COMPLETE, 1, begin, at, terms)
    return clock_set, contact + complete


def dispatched(clock_set: ClockSet, at: datetime, terms: Terms, *, round_: int) -> Change:
    """A lead got the order: a new round of accept (`round_` counts dispatches); an open dispute is over."""
    clock_set, ended = _stop_each(clock_set, (ClockName.ACCEPT, ClockName.RULING), at, "dispatched")
    clock_set, started = _start(clock_set, ClockName.ACCEPT, round_, at, at, terms)
    return clock_set, ended + started


def offered(clock_set: ClockSet, at: datetime, terms: Terms, *, round_: int) -> Change:
    """Another platform is asked to take the order: it has half an hour to say anything."""
    clock_set, ended = _stop(clock_set, ClockName.HANDOFF, at, "dispatched")
    clock_set, started = _start(clock_set, ClockName.HANDOFF, round_, at, at, terms)
    return clock_set, ended + started


def answered(clock_set: ClockSet, at: datetime) -> Change:
    """The other platform said something, or is asked no longer."""
    return _stop(clock_set, ClockName.HANDOFF, at, "answered")


def accepted(clock_set: ClockSet, at: datetime) -> Change:
    return _stop(clock_set, ClockName.ACCEPT, at, "accepted")


def returned(clock_set: ClockSet, at: datetime) -> Change:
    """The citizen's clocks keep running; only accept ends."""
    return _stop(clock_set, ClockName.ACCEPT, at, "returned")


def disputed(clock_set: ClockSet, at: datetime, terms: Terms) -> Change:
    clock_set, ended = _stop_each(clock_set, (ClockName.ACCEPT, ClockName.RULING), at, "disputed")
    clock_set, started = contested(clock_set, at, terms)
    return clock_set, ended + started


def contested(clock_set: ClockSet, at: datetime, terms: Terms) -> Change:
    """Somebody has to decide: a new round of ruling (of a contested ruling: ADR 0023)."""
    return _start(clock_set, ClockName.RULING, _next_round(clock_set, ClockName.RULING), at, at, terms)


def ruled(clock_set: ClockSet, at: datetime) -> Change:
    return _stop(clock_set, ClockName.RULING, at, "ruled")


def review_started(clock_set: ClockSet, labelled_at: datetime, at: datetime, terms: Terms) -> Change:
    """A person has to decide on the label; counts from the label."""
    round_ = _next_round(clock_set, ClockName.REVIEW)
    return _start(clock_set, ClockName.REVIEW, round_, labelled_at, at, terms)


def review_decided(clock_set: ClockSet, at: datetime) -> Change:
    return _stop(clock_set, ClockName.REVIEW, at, "decided")


def contacted(clock_set: ClockSet, at: datetime) -> Change:
    return _stop(clock_set, ClockName.FIRST_CONTACT, at, "contacted")


def completed(clock_set: ClockSet, at: datetime) -> Change:
    """The order is answered: whatever waited for the unit ends."""
    names = (ClockName.ACCEPT, ClockName.FIRST_CONTACT, ClockName.COMPLETE, ClockName.RULING)
    return _stop_each(clock_set, names, at, "completed")


def call_owed(clock_set: ClockSet, completed_at: datetime, terms: Terms) -> Change:
    """A citizen is to be called about the completion at `completed_at`; class changes and a reopening that came after
    it may have been read before."""
    handled = clock_set.completed_by(completed_at)
    if handled is None:
        return clock_set, ()
    again = next((c for c in clock_set.clocks if c.name is ClockName.COMPLETE and c.round > handled.round), None)
    present, then = clock_set.case, [change for change in clock_set.earlier if change.until >= completed_at]
    cases = [*(change.case for change in then), present]
    clock_set, facts = _start(
        clock_set.of_case(cases[0]), ClockName.CALLBACK, handled.round, completed_at, completed_at, terms
    )
    if not facts:
        return clock_set.of_case(present), ()
    for change, case in zip(then, cases[1:], strict=True):
        if again is None or change.until < again.started_at:
            clock_set, more = _rebased(
                clock_set.of_case(case), change.until, terms, "class_changed", (ClockName.CALLBACK,)
            )
            facts += more
    if again is not None:
        clock_set, more = _stop(clock_set, ClockName.CALLBACK, again.started_at, "reopened")
        facts += more
    return clock_set.of_case(present), facts


def call_attempted(clock_set: ClockSet, at: datetime, terms: Terms) -> Change:
    """The first attempt meets the call-back clock, whether anybody answered or not; also when a reopening or a class
    change that came after it, or at the same instant as what followed from it, was read before it."""
    clock = clock_set.latest(ClockName.CALLBACK)
    if clock is not None and clock.stopped_at is not None and clock.started_at <= at <= clock.stopped_at:
        if (at, clock.stop_reason) == (clock.stopped_at, ATTEMPTED):
            return clock_set, ()
        clock_set = _put(clock_set, replace(clock, stopped_at=None, stop_reason=""))
    calendar = terms.calendar_for(clock_set)
    clock_set, facts = _change(
        clock_set, ClockName.CALLBACK, lambda running: steps.restore(running, at, calendar, "class_changed")
    )
    clock_set, stopped = _stop(clock_set, ClockName.CALLBACK, at, ATTEMPTED)
    return clock_set, facts + stopped


def reopened(clock_set: ClockSet, at: datetime, terms: Terms, *, round_: int) -> Change:
    """Second handling: level-1 supervision and a fresh complete clock of half the class budget."""
    clock_set, ended = _stop_each(clock_set, (ClockName.COMPLETE, ClockName.CALLBACK), at, "reopened")
    clock_set, rated = rated_badly(clock_set, at, level=1, round_=round_)
    clock_set, started = _start(clock_set, ClockName.COMPLETE, round_, at, at, terms, halved=True)
    return clock_set, ended + rated + started


def rated_badly(clock_set: ClockSet, at: datetime, *, level: int, round_: int) -> Change:
    """Level 1 by the first, level 3 by the second bad rating of one appeal; once per round, on the clock `rating`."""
    clock = next((c for c in clock_set.clocks if c.name is ClockName.RATING and c.round == round_), None)
    if clock is None:
        clock = Clock(
            name=ClockName.RATING,
            round=round_,
            allowance=_NO_ALLOWANCE,
            ladder=(_ZERO, _ZERO, _ZERO),
            policy="",
            started_at=at,
            armed_at=at,
            budget=_ZERO,
            stopped_at=at,
            stop_reason="rated",
        )
    elif level <= max(clock.levels, default=0):
        return clock_set, ()
    clock = replace(clock, firings=(*clock.firings, Firing(level, at, at)))
    fact = Fact(FactName.ESCALATED, ClockName.RATING, round_, at, level=level, reason="bad_rating")
    return _put(clock_set, clock), (fact,)


def suspended(clock_set: ClockSet, at: datetime, until: datetime | None, terms: Terms, reason: str) -> Change:
    return _change(
        clock_set, ClockName.COMPLETE, lambda c: steps.suspend(c, at, until, terms.calendar_for(clock_set), reason)
    )


def resumed(clock_set: ClockSet, at: datetime, terms: Terms, reason: str = "") -> Change:
    return _change(clock_set, ClockName.COMPLETE, lambda c: steps.resume(c, at, terms.calendar_for(clock_set), reason))


def extended(clock_set: ClockSet, at: datetime, amount: timedelta, terms: Terms, reason: str) -> Change:
    return _change(
        clock_set, ClockName.COMPLETE, lambda c: steps.extend(c, at, amount, terms.calendar_for(clock_set), reason)
    )


def reclassed(clock_set: ClockSet, at: datetime, terms: Terms, case: Case, *, reason: str = "class_changed") -> Change:
    """Another class, kind, group, matter or region: every running clock gets the new rule from its original start."""
    if clock_set.was_completed:
        clock_set = replace(clock_set, earlier=(*clock_set.earlier, Earlier(at, clock_set.case)))
    return _rebased(clock_set.of_case(case), at, terms, reason)


def led_by(clock_set: ClockSet, unit: str, at: datetime, terms: Terms) -> Change:
    """Another unit leads from `at` on; where it has other office days, they count from then on."""
    before, last = terms.of_unit(clock_set.unit), terms.of_unit(unit)
    legs = clock_set.legs if before is last else (*clock_set.legs, Leg(at, clock_set.unit))
    clock_set = replace(clock_set, unit=unit, legs=legs)
    return (clock_set, ()) if before is last else _rebased(clock_set, at, terms, "lead_changed")


def retimed(clock_set: ClockSet, at: datetime, terms: Terms) -> Change:
    """Other rules hold from `at` on, for open orders too: every running clock is counted by them from its start."""
    return _rebased(replace(clock_set, rules=terms.number), at, terms, RULES_CHANGED)


def restored(clock_set: ClockSet, at: datetime, terms: Terms) -> Change:
    """An event from before the rules by which the order is timed is about to be applied: back to those of its time."""
    clock_set = replace(clock_set, rules=terms.number)
    calendar = terms.calendar_for(clock_set)
    facts: tuple[Fact, ...] = ()
    for clock in clock_set.clocks:
        changed, more = steps.restore(clock, at, calendar, RULES_CHANGED)
        if changed is not clock:
            clock_set, facts = _put(clock_set, changed), facts + more
    return clock_set, facts


def _rebased(
    clock_set: ClockSet, at: datetime, terms: Terms, reason: str, names: tuple[ClockName, ...] = tuple(ClockName)
) -> Change:
    facts: tuple[Fact, ...] = ()
    case, calendar = clock_set.case, terms.calendar_for(clock_set)
    for clock in clock_set.clocks:
        present, stopped_at = clock, clock.stopped_at
        if clock.name is ClockName.CALLBACK and stopped_at is not None and clock.started_at <= at < stopped_at:
            # its stop is feedback's and was read before this: it happened to a clock of the new rule
            present = replace(clock, stopped_at=None, stop_reason="")
        if not present.running or clock.name not in names:
            continue
        changed, more = steps.rebase(
            present,
            at,
            allowance=terms.policy.choose(clock.name, case, clock.started_at, calendar),
            ladder=terms.policy.ladders[case.handling_class],
            policy=terms.policy.version,
            calendar=calendar,
            reason=reason,
        )
        if changed is present:
            continue
        if reason == RULES_CHANGED or clock.name is ClockName.CALLBACK:
            # what stops it may be read later and have come before
            changed = steps.remember(changed, present, at)
        if stopped_at is not None:
            changed, stopped = steps.stop(changed, stopped_at, clock.stop_reason)
            more += stopped
        clock_set, facts = _put(clock_set, changed), facts + more
    return clock_set, facts


def ended(clock_set: ClockSet, at: datetime, reason: str) -> Change:
    """The order is closed, cancelled or another platform's: no clock runs on."""
    return _stop_each(clock_set, tuple(ClockName), at, reason)


def fire(clock_set: ClockSet, now: datetime) -> Change:
    """Announces everything due at or before `now`, oldest first."""
    facts: list[Fact] = []
    for clock in clock_set.clocks:
        changed, more = steps.advance(clock, now, inclusive=True)
        if more:
            clock_set = _put(clock_set, changed)
            facts.extend(more)
    facts.sort(key=lambda fact: fact.at)
    return clock_set, tuple(facts)


_ZERO = timedelta(0)
_NO_ALLOWANCE = Allowance(Counting.NATURAL)


def _next_round(clock_set: ClockSet, name: ClockName) -> int:
    latest = clock_set.latest(name)
    return 1 if latest is None else latest.round + 1


def _start(
    clock_set: ClockSet,
    name: ClockName,
    round_: int,
    begin: datetime,
    at: datetime,
    terms: Terms,
    *,
    halved: bool = False,
) -> Change:
    if any(clock.name is name and clock.round == round_ for clock in clock_set.clocks):
        return clock_set, ()
    calendar = terms.calendar_for(clock_set)
    clock, facts = steps.start(
        name,
        round_,
        begin,
        armed_at=max(begin, at),
        allowance=terms.policy.choose(name, clock_set.case, begin, calendar),
        ladder=terms.policy.ladders[clock_set.handling_class],
        policy=terms.policy.version,
        calendar=calendar,
        halved=halved,
    )
    return replace(clock_set, clocks=(*clock_set.clocks, clock)), facts


def _stop(clock_set: ClockSet, name: ClockName, at: datetime, reason: str) -> Change:
    return _change(clock_set, name, lambda clock: steps.stop(clock, at, reason))


def _stop_each(clock_set: ClockSet, names: tuple[ClockName, ...], at: datetime, reason: str) -> Change:
    facts: tuple[Fact, ...] = ()
    for name in names:
        clock_set, more = _stop(clock_set, name, at, reason)
        facts += more
    return clock_set, facts


def _change(clock_set: ClockSet, name: ClockName, step: Callable[[Clock], steps.Change]) -> Change:
    clock = clock_set.latest(name)
    if clock is None or not clock.running:
        return clock_set, ()
    changed, facts = step(clock)
    return _put(clock_set, changed), facts


def _put(clock_set: ClockSet, clock: Clock) -> ClockSet:
    key = (clock.name, clock.round)
    if any((c.name, c.round) == key for c in clock_set.clocks):
        return replace(clock_set, clocks=tuple(clock if (c.name, c.round) == key else c for c in clock_set.clocks))
    return replace(clock_set, clocks=(*clock_set.clocks, clock))
