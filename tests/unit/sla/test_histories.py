"""Random histories of one order: used + remaining = budget at every step, whatever happens to it."""

from dataclasses import replace
from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.calendars import published_calendar
from services.sla.domain import lifecycle
from services.sla.domain.calendar import ZONE, WorkingCalendar
from services.sla.domain.clock_set import ClockSet, Terms
from services.sla.domain.layers import Layer
from services.sla.domain.policy import Case, ClockName, HandlingClass, Policy
from services.sla.terms import default_policy

T0 = datetime(2026, 9, 23, 10, 0, tzinfo=ZONE)  # a Wednesday before 中秋 and 国庆
H = timedelta(hours=1)
ZERO = timedelta(0)
POLICY = default_policy()
DAYS = tuple(date(2026, 9, 20) + timedelta(days=n) for n in range(60))


def _local(version: str, at: datetime, free: set[date], base: WorkingCalendar) -> WorkingCalendar:
    return WorkingCalendar(Layer(version, at, free=dict.fromkeys(free, "停办")).over(base.data))


UNITS = {
    "u-closed": _local("closed", T0 - 30 * 24 * H, set(DAYS[3:12]), published_calendar()),
    "u-busy": WorkingCalendar(
        Layer("busy", T0 - 30 * 24 * H, worked=dict.fromkeys((d for d in DAYS if d.weekday() > 4), "加班")).over(
            published_calendar().data
        )
    ),
}


def _stricter(policy: Policy) -> Policy:
    data = policy.as_data()
    for row in data["classes"].values():  # type: ignore[attr-defined]
        row["complete"] = {"working": "P3D"}
    return Policy.from_data(data | {"version": "stricter"})


STEP = st.one_of(
    st.sampled_from(["resume", "extend", "complete", "reopen", "return", "dispute", "rule", "stricter", "contact"]),
    st.sampled_from(["offer", "refused", "handed_off"]),
    st.tuples(st.just("suspend"), st.integers(1, 90)),
    st.tuples(st.just("lead"), st.sampled_from(["u-closed", "u-busy", "u-plain"])),
    st.tuples(st.just("class"), st.sampled_from(list(HandlingClass))),
    st.tuples(st.just("close"), st.sets(st.sampled_from(DAYS), min_size=1, max_size=10)),
)
HISTORIES = st.lists(st.tuples(st.integers(1, 60 * 24 * 4), STEP), min_size=1, max_size=10)


AFTER_HAND_OVER = ("resume", "extend", "complete", "contact", "stricter", "suspend", "class", "close")
"""what may still be read of an order that another platform has"""


def _apply(clock_set: ClockSet, step: object, at: datetime, terms: Terms) -> tuple[ClockSet, Terms]:
    complete = clock_set.latest(ClockName.COMPLETE)
    assert complete is not None
    match step:
        case "offer":  # the order stays with the own centre as lead until the other platform accepts
            clock_set = lifecycle.led_by(clock_set, "u-centre", at, terms)[0]
            return lifecycle.dispatched(clock_set, at, terms, round_=_next(clock_set))[0], terms
        case "refused":  # no named event of a clock: it leaves the order with the centre
            return clock_set, terms
        case "handed_off":
            return lifecycle.ended(clock_set, at, "handed_off")[0], terms
        case "dispute":
            return lifecycle.disputed(clock_set, at, terms)[0], terms
        case "rule":
            clock_set = lifecycle.ruled(clock_set, at)[0]
            return lifecycle.dispatched(clock_set, at, terms, round_=_next(clock_set))[0], terms
        case ("suspend", int(days)):
            return lifecycle.suspended(clock_set, at, at + days * 24 * H, terms, "挂账")[0], terms
        case ("lead", str(unit)):
            clock_set = lifecycle.led_by(clock_set, unit, at, terms)[0]
            return lifecycle.dispatched(clock_set, at, terms, round_=_next(clock_set))[0], terms
        case ("class", HandlingClass() as handling_class):
            return lifecycle.reclassed(clock_set, at, terms, replace(clock_set.case, handling_class=handling_class))[
                0
            ], terms
        case ("close", set(days)):
            number = terms.number + 1
            terms = replace(
                terms,
                calendar=_local(f"v{number}", at, days, terms.calendar),
                units={unit: _local(f"{unit}-v{number}", at, days, own) for unit, own in terms.units.items()},
                since=at,
                number=number,
            )
            return lifecycle.retimed(clock_set, at, terms)[0], terms
        case "stricter":
            terms = replace(terms, policy=_stricter(terms.policy), since=at, number=terms.number + 1)
            return lifecycle.retimed(clock_set, at, terms)[0], terms
        case "resume":
            return lifecycle.resumed(clock_set, at, terms)[0], terms
        case "extend":
            return lifecycle.extended(clock_set, at, 7 * H, terms, "延期")[0], terms
        case "complete":
            return lifecycle.completed(clock_set, at)[0], terms
        case "contact":
            return lifecycle.contacted(clock_set, at)[0], terms
        case "return":
            clock_set = lifecycle.returned(clock_set, at)[0]
            return lifecycle.dispatched(clock_set, at, terms, round_=_next(clock_set))[0], terms
        case "reopen" if not complete.running:
            return lifecycle.reopened(clock_set, at, terms, round_=complete.round + 1)[0], terms
        case _:
            return clock_set, terms


def _next(clock_set: ClockSet) -> int:
    accept = clock_set.latest(ClockName.ACCEPT)
    return 1 if accept is None else accept.round + 1


def _remaining(clock_set: ClockSet, name: ClockName, at: datetime, terms: Terms) -> timedelta | None:
    """What is counted from `at` to the deadline, by the explanation's own parts; None without a deadline ahead."""
    clock = clock_set.latest(name)
    if clock is None or not clock.running or clock.due_at is None or clock.due_at < at or clock.not_before is not None:
        return None
    calendar = terms.calendar_for(clock_set)
    holes = [(since, until) for since, until in clock.suspensions if until is not None and until > at]
    total, position = ZERO, at
    for since, until in [*holes, (clock.due_at, clock.due_at)]:
        since = min(max(since, position), clock.due_at)
        if clock.allowance.counting == "natural":
            total += since - position
        else:
            total += sum((own.between(a, b) for a, b, own in calendar.legs(position, since)), ZERO)
        position = max(position, min(until, clock.due_at))
    return total


@settings(max_examples=200, deadline=None)
@given(
    history=HISTORIES,
    first=st.sampled_from(list(HandlingClass)),
    unit=st.sampled_from(["u-closed", "u-plain"]),
    emergency=st.one_of(st.none(), st.integers(0, 3 * 24 * 60)),
)
def test_used_and_remaining_time_are_the_budget_at_every_step(
    history: list[tuple[int, object]], first: HandlingClass, unit: str, emergency: int | None
) -> None:
    terms = Terms(POLICY, published_calendar(), UNITS)
    taken_at = None if emergency is None else T0 - timedelta(minutes=emergency)
    clock_set, _ = lifecycle.open_set(
        "order", case=Case(first, "help"), unit=unit, received_at=T0, emergency_taken_at=taken_at, at=T0, terms=terms
    )
    clock_set, _ = lifecycle.dispatched(clock_set, T0, terms, round_=1)
    if taken_at is not None:  # 先处置后补单: counted from the action, and first contact was met by it
        contact, complete = clock_set.latest(ClockName.FIRST_CONTACT), clock_set.latest(ClockName.COMPLETE)
        assert contact is not None
        assert complete is not None
        assert (contact.stopped_at, contact.used(T0, terms.calendar)) == (taken_at, ZERO)
        assert complete.started_at == taken_at
    at, handed_off = T0, False
    for minutes, step in history:
        name = step[0] if isinstance(step, tuple) else step
        if handed_off and name not in AFTER_HAND_OVER:
            continue
        at += timedelta(minutes=minutes)
        before = {(c.name, c.round): c.used(at, terms.calendar_for(clock_set)) for c in clock_set.clocks}
        clock_set, terms = _apply(clock_set, step, at, terms)
        handed_off = handed_off or name == "handed_off"
        calendar = terms.calendar_for(clock_set)
        assert not (handed_off and clock_set.running)
        for clock in clock_set.clocks:
            used = clock.used(at, calendar)
            known = before.get((clock.name, clock.round))
            new_rule = name in ("stricter", "class") and clock.running
            if known is not None and not new_rule:
                assert used == known, (clock.name, step)  # neither lost nor gained
            if clock is clock_set.latest(clock.name):
                remaining = _remaining(clock_set, clock.name, at, terms)
                if remaining is not None:
                    assert used + remaining == clock.allowed, (clock.name, step)
