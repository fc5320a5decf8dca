"""The clocks of one order under the named events (domain.md, SLA)."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import services.sla
from services.sla.calendars import published_calendar
from services.sla.domain import lifecycle
from services.sla.domain.calendar import ZONE
from services.sla.domain.clock import Clock, Fact, FactName, Lamp
from services.sla.domain.clock_set import ClockSet, Terms
from services.sla.domain.explanation import explain
from services.sla.domain.policy import Case, ClockName, HandlingClass, Policy, PolicyError

DEFAULT = Path(services.sla.__file__).parent / "policies" / "default.yaml"
TERMS = Terms(Policy.from_data(yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))), published_calendar())
T0 = datetime(2026, 9, 23, 10, 0, tzinfo=ZONE)  # a Wednesday before 中秋 and 国庆
H = timedelta(hours=1)
MS = timedelta(milliseconds=1)


def opened(
    handling_class: str = "livelihood",
    *,
    kind: str = "help",
    groups: frozenset[str] = frozenset(),
    at: datetime = T0,
    taken_at: datetime | None = None,
) -> ClockSet:
    clock_set, _ = lifecycle.open_set(
        "order",
        case=Case(HandlingClass(handling_class), kind, groups),
        received_at=at,
        emergency_taken_at=taken_at,
        at=at,
        terms=TERMS,
    )
    clock_set, _ = lifecycle.dispatched(clock_set, at, TERMS, round_=1)
    return clock_set


def the(clock_set: ClockSet, name: str) -> Clock:
    clock = clock_set.latest(ClockName(name))
    assert clock is not None
    return clock


def reclassed(clock_set: ClockSet, at: datetime, handling_class: HandlingClass) -> tuple[ClockSet, tuple[Fact, ...]]:
    return lifecycle.reclassed(clock_set, at, TERMS, replace(clock_set.case, handling_class=handling_class))


def names(facts: tuple[Fact, ...], clock: str) -> list[str]:
    return [f.name.value + (str(f.level) if f.level else "") for f in facts if f.clock == clock]


@pytest.mark.parametrize(
    ("handling_class", "kind", "accept", "contact", "complete"),
    [
        ("urgent", "help", T0 + H / 6, T0 + H / 4, T0 + 2 * H),
        ("livelihood", "help", T0 + H / 2, T0 + 2 * H, T0 + 24 * H),
        ("general", "help", T0 + 5.5 * H, T0 + 24 * H, T0 + 168 * H),
        # five working days after 09-23: 24, 28, 29, 30 September, 8 October
        ("general", "consult", T0 + 5.5 * H, T0 + 24 * H, datetime(2026, 10, 8, 17, 30, tzinfo=ZONE)),
        ("complex", "help", T0 + 5.5 * H, T0 + 24 * H, datetime(2026, 10, 21, 17, 30, tzinfo=ZONE)),
    ],
)
def test_each_class_has_its_deadlines(
    handling_class: str, kind: str, accept: datetime, contact: datetime, complete: datetime
) -> None:
    clock_set = opened(handling_class, kind=kind)
    assert the(clock_set, "accept").due_at == accept
    assert the(clock_set, "first_contact").due_at == contact
    assert the(clock_set, "complete").due_at == complete


def test_an_elderly_reporter_is_contacted_within_a_day_whatever_the_city_allows() -> None:
    data = TERMS.policy.as_data()
    data["classes"]["complex"]["first_contact"] = {"working": "P3D"}  # type: ignore[index]
    terms = Terms(Policy.from_data(data), TERMS.calendar)
    for groups, due in (
        (frozenset({"elderly"}), T0 + 24 * H),
        (frozenset({"veteran"}), datetime(2026, 9, 29, 17, 30, tzinfo=ZONE)),
    ):
        clock_set, _ = lifecycle.open_set(
            "order",
            case=Case(HandlingClass.COMPLEX, "help", groups),
            received_at=T0,
            emergency_taken_at=None,
            at=T0,
            terms=terms,
        )
        assert the(clock_set, "first_contact").due_at == due


def test_after_an_emergency_action_clocks_count_from_it_and_first_contact_is_met() -> None:
    clock_set = opened("urgent", taken_at=T0 - 2.5 * H)
    contact = the(clock_set, "first_contact")
    assert (contact.stopped_at, contact.lamp) == (T0 - 2.5 * H, Lamp.GREEN)
    assert the(clock_set, "complete").due_at == T0 - 0.5 * H
    clock_set, facts = lifecycle.fire(clock_set, T0)
    assert names(facts, "first_contact") == []
    # due before the paperwork: announced with the paperwork, not before it existed
    assert [(f.name, f.level, f.at) for f in facts if f.clock == "complete"] == [
        (FactName.TURNED_RED, None, T0),
        (FactName.ESCALATED, 1, T0),
    ]


def test_the_whole_ladder_is_climbed_once_and_in_order() -> None:
    clock_set = opened("livelihood")
    seen: list[tuple[str, timedelta]] = []
    for hours in range(24 * 6):
        clock_set, facts = lifecycle.fire(clock_set, T0 + hours * H)
        seen += [(f.name.value + str(f.level or ""), f.at - T0) for f in facts if f.clock == "complete"]
    assert seen == [
        ("turned_yellow", 18 * H),
        ("turned_red", 24 * H),
        ("escalated1", 24 * H),
        ("escalated2", 48 * H),
        ("escalated3", 96 * H),
    ]
    assert clock_set.next_instant() is None


def test_urgent_levels_follow_after_one_and_four_hours() -> None:
    _, facts = lifecycle.fire(opened("urgent"), T0 + 7 * H)
    assert [(f.level, f.at - T0) for f in facts if f.clock == "complete" and f.level] == [
        (1, 2 * H),
        (2, 3 * H),
        (3, 6 * H),
    ]


@pytest.mark.parametrize("read_late", [False, True])
@pytest.mark.parametrize("offset_ms", [-50, -1, 0, 1, 50])
def test_a_stop_is_judged_by_its_own_time(offset_ms: int, read_late: bool) -> None:
    clock_set, stop_at = opened("urgent"), T0 + 2 * H + offset_ms * MS
    before: tuple[Fact, ...] = ()
    if read_late:
        clock_set, before = lifecycle.fire(clock_set, T0 + 2.5 * H)
    clock_set, facts = lifecycle.completed(clock_set, stop_at)
    clock = the(clock_set, "complete")
    announced = names(before + facts, "complete")
    if offset_ms <= 0:
        assert (clock.lamp, clock.levels) == (Lamp.YELLOW, ())
        assert ("corrected" in announced) == read_late
    else:
        assert (clock.lamp, clock.levels) == (Lamp.RED, (1,))
        assert "corrected" not in announced
    assert clock_set.next_instant() is None


def test_only_the_levels_after_a_late_stop_are_taken_back() -> None:
    clock_set, _ = lifecycle.fire(opened("urgent"), T0 + 7 * H)
    clock_set, facts = lifecycle.completed(clock_set, T0 + 2.5 * H)
    [corrected] = [f for f in facts if f.name is FactName.CORRECTED and f.clock == "complete"]
    assert corrected.withdrawn == (2, 3)
    assert the(clock_set, "complete").levels == (1,)
    assert [f.level for f in the(clock_set, "complete").firings] == [1, 2, 3]  # what was announced stays on record


def test_suspension_stops_only_complete_and_gives_the_time_back() -> None:
    clock_set = opened("livelihood")
    clock_set, _ = lifecycle.suspended(clock_set, T0 + 4 * H, T0 + 100 * H, TERMS, "等材料")
    assert the(clock_set, "complete").due_at == T0 + 120 * H  # ends by itself
    assert the(clock_set, "first_contact").due_at == T0 + 2 * H
    clock_set, _ = lifecycle.resumed(clock_set, T0 + 10 * H, TERMS)
    clock = the(clock_set, "complete")
    assert clock.due_at == T0 + 30 * H
    assert clock.used(T0 + 12 * H, TERMS.calendar) == 6 * H


def test_an_open_suspension_has_no_deadline_until_it_is_resumed() -> None:
    clock_set, _ = lifecycle.suspended(opened("livelihood"), T0 + 4 * H, None, TERMS, "等材料")
    assert the(clock_set, "complete").due_at is None
    clock_set, facts = lifecycle.fire(clock_set, T0 + 1000 * H)
    assert names(facts, "complete") == []
    clock_set, _ = lifecycle.resumed(clock_set, T0 + 1000 * H, TERMS)
    assert the(clock_set, "complete").due_at == T0 + 1020 * H


def test_extension_lengthens_only_complete() -> None:
    clock_set, facts = lifecycle.extended(opened("livelihood"), T0 + H, 24 * H, TERMS, "跨部门")
    assert the(clock_set, "complete").due_at == T0 + 48 * H
    assert the(clock_set, "complete").yellow_at == T0 + 36 * H
    assert {f.clock for f in facts} == {ClockName.COMPLETE}


def test_a_class_change_applies_the_new_rule_from_the_original_start_minus_suspensions() -> None:
    clock_set = opened("general")
    clock_set, _ = lifecycle.suspended(clock_set, T0 + H, T0 + 5 * H, TERMS, "等材料")
    clock_set, _ = reclassed(clock_set, T0 + 6 * H, HandlingClass.LIVELIHOOD)
    assert the(clock_set, "complete").due_at == T0 + 28 * H
    assert the(clock_set, "complete").used(T0 + 6 * H, TERMS.calendar) == 2 * H


def test_a_class_change_into_the_past_is_due_now_and_levels_count_from_now() -> None:
    clock_set, _ = reclassed(opened("general"), T0 + 50 * H, HandlingClass.URGENT)
    clock_set, facts = lifecycle.fire(clock_set, T0 + 60 * H)
    assert [(f.level, f.at - T0) for f in facts if f.clock == "complete" and f.level] == [
        (1, 50 * H),
        (2, 51 * H),
        (3, 54 * H),
    ]
    # the accept clock was already due under the old rule: its first level is not repeated
    accept = [f for f in the(clock_set, "accept").firings if f.level == 1]
    assert len(accept) == 1


def test_second_handling_has_half_the_class_budget_and_level_one() -> None:
    clock_set = opened("livelihood")
    clock_set, _ = lifecycle.completed(clock_set, T0 + 5 * H)
    clock_set, _ = lifecycle.call_owed(clock_set, T0 + 5 * H, TERMS)
    assert the(clock_set, "callback").due_at == T0 + 29 * H
    clock_set, _ = lifecycle.call_attempted(clock_set, T0 + 6 * H, TERMS)
    clock_set, facts = lifecycle.reopened(clock_set, T0 + 7 * H, TERMS, round_=2)
    assert names(facts, "rating") == ["escalated1"]
    clock = the(clock_set, "complete")
    assert (clock.round, clock.started_at, clock.due_at) == (2, T0 + 7 * H, T0 + 19 * H)
    clock_set, facts = lifecycle.rated_badly(clock_set, T0 + 9 * H, level=3, round_=2)
    assert names(facts, "rating") == ["escalated3"]
    assert lifecycle.rated_badly(clock_set, T0 + 9 * H, level=3, round_=2) == (clock_set, ())


@pytest.mark.parametrize("attempt_first", [True, False])
def test_a_call_and_the_reopening_that_follows_from_it_at_one_instant_are_the_same_in_both_orders(
    attempt_first: bool,
) -> None:
    clock_set, _ = lifecycle.completed(opened("livelihood"), T0 + 5 * H)
    clock_set, _ = lifecycle.call_owed(clock_set, T0 + 5 * H, TERMS)
    at = T0 + 6 * H
    if attempt_first:
        clock_set, _ = lifecycle.call_attempted(clock_set, at, TERMS)
    clock_set, _ = lifecycle.reopened(clock_set, at, TERMS, round_=2)
    if not attempt_first:
        clock_set, _ = lifecycle.call_attempted(clock_set, at, TERMS)
    assert (the(clock_set, "callback").stop_reason, the(clock_set, "callback").stopped_at) == ("attempted", at)
    assert lifecycle.call_attempted(clock_set, at, TERMS) == (clock_set, ())


def test_a_return_starts_a_new_round_of_accept_and_nothing_else_moves() -> None:
    clock_set = opened("livelihood")
    citizen = the(clock_set, "complete"), the(clock_set, "first_contact")
    clock_set, _ = lifecycle.returned(clock_set, T0 + H / 4)
    clock_set, _ = lifecycle.dispatched(clock_set, T0 + H / 4, TERMS, round_=2)
    assert (the(clock_set, "complete"), the(clock_set, "first_contact")) == citizen
    accept = the(clock_set, "accept")
    assert (accept.round, accept.due_at) == (2, T0 + 0.75 * H)


def test_a_dispute_is_timed_until_its_ruling() -> None:
    clock_set = opened("general")
    clock_set, _ = lifecycle.disputed(clock_set, T0 + H, TERMS)
    assert the(clock_set, "ruling").due_at == datetime(
        2026, 9, 23, 16, 30, tzinfo=ZONE
    )  # four working hours from 11:00
    clock_set, _ = lifecycle.ruled(clock_set, T0 + 2 * H)
    assert the(clock_set, "ruling").stopped_at == T0 + 2 * H


def test_an_explanation_names_every_reason_for_not_counting() -> None:
    start = datetime(2026, 9, 30, 16, 10, tzinfo=ZONE)
    words = "，".join(s.words for s in explain(the(opened("complex", at=start), "complete"), TERMS.calendar))
    for part in (
        "周三 09-30 16:10 起计",
        "15 个工作日",
        "国庆 10-01 至 10-07 不计",
        "10-10 周六补班计入",
        "周末不计",
        "10-27 17:30 到期",
    ):
        assert part in words
    segments = explain(the(opened("complex", at=start), "complete"), TERMS.calendar)
    assert sum(s.seconds for s in segments) == the(opened("complex", at=start), "complete").allowed.total_seconds()


def test_explained_spans_follow_each_other_without_a_gap() -> None:
    clock_set, _ = lifecycle.suspended(opened("complex"), T0 + 30 * H, T0 + 80 * H, TERMS, "等材料")
    segments = explain(the(clock_set, "complete"), TERMS.calendar)
    for earlier, later in pairwise(segments):
        assert earlier.until == later.since
    assert segments[-1].until == the(clock_set, "complete").due_at


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("classes", "urgent", "complete"), None, "/classes/urgent/complete"),
        (("classes", "urgent", "complete"), {"natural": "-PT2H"}, "/classes/urgent/complete/natural"),
        (("classes", "urgent", "complete"), {"natural": "PT0S"}, "/classes/urgent/complete"),
        (("classes", "urgent", "complete"), {"working": "P3000D"}, "/classes/urgent/complete/working"),
        (("classes", "urgent", "complete"), {"working": "P2D", "natural": "P2D"}, "/classes/urgent/complete"),
        (("classes", "urgent", "levels"), ["PT4H", "PT1H", "PT0S"], "/classes/urgent/levels"),
        (("classes", "urgent", "supper"), {"natural": "PT2H"}, "/classes/urgent/supper"),
        (("version",), "", "/version"),
        (("rules",), [{"when": {"moon": "full"}}], "/rules/0/when/moon"),
    ],
)
def test_a_policy_with_a_fault_is_refused_with_its_place(path: tuple[str, ...], value: object, pointer: str) -> None:
    data = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(PolicyError) as refused:
        Policy.from_data(data)
    assert refused.value.pointer == pointer


def test_a_policy_survives_its_data_form() -> None:
    assert Policy.from_data(TERMS.policy.as_data()) == TERMS.policy


EVENTS = st.sampled_from(
    ["suspend", "resume", "extend", "urgent", "livelihood", "general", "complex", "complete", "reopen", "return"]
)
HISTORIES = st.lists(st.tuples(st.integers(1, 60 * 24 * 4), EVENTS), min_size=1, max_size=8)


def _apply(clock_set: ClockSet, event: str, at: datetime) -> tuple[ClockSet, tuple[Fact, ...]]:
    complete = the(clock_set, "complete")
    match event:
        case "suspend":
            return lifecycle.suspended(clock_set, at, at + 30 * H, TERMS, "挂账")
        case "resume":
            return lifecycle.resumed(clock_set, at, TERMS)
        case "extend":
            return lifecycle.extended(clock_set, at, 7 * H, TERMS, "延期")
        case "complete":
            return lifecycle.completed(clock_set, at)
        case "reopen":
            if complete.running:
                return clock_set, ()
            return lifecycle.reopened(clock_set, at, TERMS, round_=complete.round + 1)
        case "return":
            clock_set, first = lifecycle.returned(clock_set, at)
            clock_set, second = lifecycle.dispatched(clock_set, at, TERMS, round_=the(clock_set, "accept").round + 1)
            return clock_set, first + second
        case _:
            return reclassed(clock_set, at, HandlingClass(event))


def _state(clock_set: ClockSet) -> list[tuple[object, ...]]:
    return [(c.name, c.round, c.due_at, c.stopped_at, c.lamp, c.levels) for c in clock_set.clocks]


@settings(max_examples=300, deadline=None)
@given(history=HISTORIES, first=st.sampled_from(list(HandlingClass)))
def test_a_worker_that_reads_late_or_fires_early_ends_in_the_same_state(
    history: list[tuple[int, str]], first: HandlingClass
) -> None:
    times, at = [], T0
    for minutes, event in history:
        at += timedelta(minutes=minutes)
        times.append((at, event))
    end = at + 2000 * H
    ends: list[list[tuple[object, ...]]] = []
    for lead in (timedelta(0), -1000 * H, 50 * H):  # timers in time; only at the end; ahead of the input
        clock_set = opened(first)
        facts: tuple[Fact, ...] = ()
        for event_at, event in times:
            clock_set, fired = lifecycle.fire(clock_set, event_at + lead - MS)
            clock_set, more = _apply(clock_set, event, event_at)
            facts += fired + more
        clock_set, fired = lifecycle.fire(clock_set, end)
        facts += fired
        ends.append(_state(clock_set))
        balance: Counter[tuple[str, int, int]] = Counter()
        for fact in facts:
            if fact.level:
                balance[fact.clock, fact.round, fact.level] += 1
                assert fact.level == 1 or balance[fact.clock, fact.round, fact.level - 1] or fact.clock == "rating"
            for level in fact.withdrawn:
                balance[fact.clock, fact.round, level] -= 1
        assert set(balance.values()) <= {0, 1}
        assert {key for key, n in balance.items() if n} == {
            (c.name, c.round, level) for c in clock_set.clocks for level in c.levels
        }
    assert ends[0] == ends[1] == ends[2]


@settings(max_examples=200, deadline=None)
@given(history=HISTORIES, first=st.sampled_from(list(HandlingClass)))
def test_used_time_grows_only_outside_suspensions_and_never_jumps(
    history: list[tuple[int, str]], first: HandlingClass
) -> None:
    clock_set, at = opened(first), T0
    for minutes, event in history:
        before = the(clock_set, "complete")
        used = before.used(at, TERMS.calendar)
        step = timedelta(minutes=minutes)
        grown = before.used(at + step, TERMS.calendar) - used
        assert timedelta(0) <= grown <= step
        at += step
        used_now = before.used(at, TERMS.calendar)
        clock_set, _ = _apply(clock_set, event, at)
        after = the(clock_set, "complete")
        if event in ("suspend", "resume", "extend", "complete"):
            assert after.used(at, TERMS.calendar) == used_now
        if after.due_at is not None and after.not_before is None:
            assert after.used(after.due_at, TERMS.calendar) == after.allowed or not after.running
