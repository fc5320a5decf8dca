"""The life of a work order: the table of api.md, and what must hold after any sequence of commands."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatch.domain import (
    SYSTEM,
    Actor,
    Case,
    Changed,
    Decision,
    HandlingClass,
    Outcome,
    Part,
    Refused,
    RuleAnswer,
    Status,
    WorkOrder,
    allowed_actions,
    return_until,
    step,
)
from services.dispatch.domain.command import Command
from services.dispatch.domain.commands import (
    ACTIONS,
    DISPUTE_ACTIONS,
    Accept,
    AddCoHandlers,
    Approve,
    Cancel,
    ChangeRuling,
    Close,
    Complete,
    Contact,
    ContestRuling,
    Dispatch,
    DispatchRuled,
    Extend,
    GiveRuling,
    HandOff,
    JoinAppeal,
    NotePart,
    OpenDispute,
    OrderCheck,
    PartAppeal,
    Progress,
    Recall,
    RecordCheck,
    RefuseHandoff,
    Reject,
    Relabel,
    Reopen,
    Resume,
    ReturnOrder,
    Split,
    Suspend,
    TakeAnswer,
    Transfer,
    UpholdRuling,
    decided,
    open_dispatched,
    open_part,
    open_pending,
    part_of,
)
from services.dispatch.domain.machine import following, preceding
from services.dispatch.domain.work_order import ApprovalKind, Contest, Handoff, ReturnReason, Ruling, SubOrder
from services.dispatch.handlers.action_table import ACTIONS as TABLE_OF_ACTIONS

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CASE = Case("a1", "01010101", HandlingClass.GENERAL, NOW, region_code="460106")
ANSWER = RuleAnswer("matter_territory", Outcome.CHOSEN, "由甲局负责")
UNIT_A = Actor("unit:a", units=frozenset({"a"}))
HEAD_A = Actor("unit:a", units=frozenset({"a"}), head=True)
UNIT_B = Actor("unit:b", units=frozenset({"b"}))
CENTRE = Actor("user:centre", centre=True)
LEADER = Actor("user:leader", centre=True, leads=True)
ADMIN = Actor("user:admin", everywhere=True)


def decision(lead: str, platform: str | None = None) -> Decision:
    return Decision(lead, HandlingClass.GENERAL, (ANSWER,), platform=platform)


def routed(found: Decision, handoff_id: str = "") -> Dispatch:
    return Dispatch(decision=found, cause="routing", return_until=NOW + timedelta(hours=4), handoff_id=handoff_id)


def dispatched(lead: str = "a") -> WorkOrder:
    return open_dispatched("w", CASE, "c", NOW, routed(decision(lead)))[0]


def accepted() -> WorkOrder:
    return done(dispatched(), Accept(), UNIT_A)


def done(order: WorkOrder, command: Command, actor: Actor, at: datetime = LATER) -> WorkOrder:
    outcome = step(order, command, actor, at)
    assert isinstance(outcome, Changed), outcome
    return outcome.order


def refused(order: WorkOrder, command: Command, actor: Actor, at: datetime = LATER) -> Refused:
    outcome = step(order, command, actor, at)
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_a_new_order_is_dispatched_to_its_lead_at_version_one() -> None:
    order, fact = open_dispatched("w", CASE, "c", NOW, routed(decision("a")))
    assert (order.status, order.lead, order.version, order.dispatch_no) == (Status.DISPATCHED, "a", 1, 1)
    assert (fact.name, fact.reason) == ("dispatched", "由甲局负责")


def test_a_case_in_review_is_owned_by_the_centre() -> None:
    order, fact = open_pending("w", CASE, "c", NOW)
    assert (order.status, order.lead, order.in_review, fact.name) == (Status.PENDING, "c", True, "opened")
    assert allowed_actions(order, CENTRE, NOW) == ("transfer",)


def test_accept_contact_progress_complete() -> None:
    order = accepted()
    assert order.accepted_at == LATER
    order = done(order, Contact(note="已联系"), UNIT_A)
    order = done(order, Contact(), UNIT_A, LATER + timedelta(hours=1))
    assert order.contacted_at == LATER, "only the first contact counts"
    order = done(order, Progress(note="已到场"), UNIT_A)
    order = done(order, Complete(result="已清理", solved=True), UNIT_A)
    assert (order.status, order.version) == (Status.COMPLETED, 6)


def test_only_the_lead_handles_and_a_co_handler_may_note_progress() -> None:
    order = done(accepted(), AddCoHandlers(units=("b",)), UNIT_A)
    assert refused(order, Complete(result="好", solved=True), UNIT_B).code == "forbidden"
    done(order, Progress(note="协办到场"), UNIT_B)
    assert allowed_actions(order, UNIT_B, LATER) == ("progress",)
    assert refused(order, Transfer(lead="b", reason="改派", return_until=LATER), UNIT_A).code == "forbidden"


def test_a_return_inside_its_window_gives_the_order_back_to_the_centre() -> None:
    order = done(dispatched(), ReturnOrder(reason=ReturnReason.NOT_MY_DUTY, suggested_unit="b"), UNIT_A)
    assert (order.status, order.lead, order.returned_by) == (Status.PENDING, "c", frozenset({"a"}))
    assert not order.must_be_ruled


def test_a_return_after_its_window_is_refused_and_no_longer_offered() -> None:
    late = NOW + timedelta(hours=4, seconds=1)
    answer = refused(dispatched(), ReturnOrder(reason=ReturnReason.OTHER), UNIT_A, late)
    assert (answer.code, answer.allowed) == ("invalid_transition", ("accept",))


def test_the_second_return_must_be_ruled() -> None:
    order = done(dispatched(), ReturnOrder(reason=ReturnReason.NOT_MY_DUTY), UNIT_A)
    order = done(order, Dispatch(decision=decision("b"), cause="return", return_until=NOW + timedelta(hours=8)), SYSTEM)
    order = done(order, ReturnOrder(reason=ReturnReason.NOT_MY_DUTY), UNIT_B)
    assert order.must_be_ruled


RULING = Ruling("d", "a", ("b",), "case", "归甲局", CENTRE.name, LATER, contest_until=LATER + timedelta(hours=8))
DISPATCH_RULED = DispatchRuled(ruling=RULING, return_until=NOW + timedelta(hours=8), answer=ANSWER)


def disputed() -> WorkOrder:
    order = done(dispatched(), ReturnOrder(reason=ReturnReason.NOT_MY_DUTY), UNIT_A)
    order = done(order, OpenDispute(dispute_id="d", reason="多次退单"), SYSTEM)
    assert (order.status, order.lead, order.dispute_id) == (Status.DISPUTED, "c", "d")
    return order


def _ruled() -> WorkOrder:
    return done(done(disputed(), GiveRuling(scope="case", reason="归甲局"), CENTRE), DISPATCH_RULED, CENTRE)


def test_a_return_after_the_ruling_stays_with_the_unit_and_is_recorded() -> None:
    order = _ruled()
    outcome = step(order, ReturnOrder(reason=ReturnReason.NOT_MY_DUTY), UNIT_A, LATER)
    assert isinstance(outcome, Changed)
    assert outcome.fact.name == "shirked"
    assert (outcome.order.status, outcome.order.lead) == (Status.DISPATCHED, "a")
    assert outcome.order.version == order.version + 1


def contested() -> WorkOrder:
    return done(_ruled(), ContestRuling(reason="非本局职责"), UNIT_A)


def changed(order: WorkOrder, actor: Actor, lead: str = "b") -> ChangeRuling:
    ruling = decided(order, "changed", "改由乙局", actor, LATER)
    return ChangeRuling(ruling=replace(ruling, lead=lead, co_handlers=(), by=actor.name))


def test_the_centre_opens_a_dispute_by_hand_and_the_lead_becomes_a_party() -> None:
    outcome = step(accepted(), OpenDispute(dispute_id="d", reason="多部门争议", units=("b",)), CENTRE, LATER)
    assert isinstance(outcome, Changed)
    assert outcome.fact.fields["units"] == ["a", "b"]
    assert (outcome.order.status, outcome.order.lead) == (Status.DISPUTED, "c")
    assert refused(accepted(), OpenDispute(dispute_id="d", reason="推"), UNIT_A).code == "forbidden"
    pending = open_pending("w", CASE, "c", NOW)[0]
    assert refused(pending, OpenDispute(dispute_id="d", reason="无人"), CENTRE)
    assert done(pending, OpenDispute(dispute_id="d", reason="甲乙", units=("a", "b")), CENTRE)


def test_an_on_site_check_is_recorded_by_a_unit_that_was_sent_once() -> None:
    order = done(disputed(), OrderCheck(check_id="k", units=("b",), question="在谁的辖区"), CENTRE)
    assert order.checking == ("b",)
    record = RecordCheck(check_id="k", unit="b", checked_at=LATER, finding="在甲局辖区")
    assert refused(order, record, UNIT_A).code == "forbidden"
    assert refused(order, replace(record, unit="a"), UNIT_B).code == "invalid_transition"
    assert "ordered" in refused(order, replace(record, checked_at=NOW), UNIT_B).detail
    order = done(order, record, UNIT_B)
    assert (order.checks[0].state, order.checks[0].finding, order.checking) == ("recorded", "在甲局辖区", ())
    assert refused(order, record, UNIT_B)
    assert refused(order, record, CENTRE)


@pytest.mark.parametrize(
    "end",
    [GiveRuling(scope="case", reason="归甲局"), Transfer(lead="d", reason="改派", return_until=LATER)],
    ids=["ruling", "transfer"],
)
def test_a_check_that_nobody_recorded_lapses_with_the_dispute(end: Command) -> None:
    order = done(disputed(), OrderCheck(check_id="k", units=("b",), question="看"), CENTRE)
    order = done(order, end, CENTRE)
    assert (order.checks[0].state, order.checking) == ("lapsed", ())


def test_a_ruling_is_contested_once_in_time_and_stays_binding() -> None:
    late = LATER + timedelta(hours=8, seconds=1)
    assert "ended" in refused(_ruled(), ContestRuling(reason="晚"), UNIT_A, late).detail
    assert refused(_ruled(), ContestRuling(reason="外人"), Actor("unit:x", units=frozenset({"x"}))).code == "forbidden"
    order = contested()
    assert (order.lead, order.ruled_lead) == ("a", "a")
    assert "once" in refused(order, ContestRuling(reason="再来"), UNIT_B).detail
    attempt = step(order, ReturnOrder(reason=ReturnReason.NOT_MY_DUTY), UNIT_A, LATER)
    assert isinstance(attempt, Changed)
    assert attempt.fact.name == "shirked"
    upheld = done(order, UpholdRuling(reason="裁定正确"), LEADER)
    assert (upheld.lead, upheld.status) == ("a", Status.DISPATCHED)
    assert refused(upheld, ContestRuling(reason="再来"), UNIT_A)


def test_a_contested_ruling_is_decided_one_level_up_and_never_by_who_gave_it() -> None:
    order = contested()
    for actor in (UNIT_A, CENTRE):
        assert refused(order, UpholdRuling(reason="对"), actor).code == "forbidden"
    for actor in (LEADER, ADMIN):
        own = replace(order, ruling=replace(RULING, by=actor.name, contest=order.ruling.contest))  # type: ignore[union-attr]
        assert refused(own, UpholdRuling(reason="对"), actor).code == "forbidden"


def test_a_changed_ruling_takes_the_order_and_is_final() -> None:
    for order in (contested(), done(contested(), Accept(), UNIT_A)):
        pending = done(order, changed(order, LEADER), LEADER)
        assert (pending.status, pending.lead, pending.ruled_lead) == (Status.PENDING, "c", None)
        assert pending.ruling is not None
        moved = done(pending, replace(DISPATCH_RULED, ruling=pending.ruling), LEADER)
        assert (moved.status, moved.lead, moved.ruled_lead) == (Status.DISPATCHED, "b", "b")
        assert refused(moved, ContestRuling(reason="再来"), UNIT_B)


def test_a_completed_order_stays_with_who_completed_it_when_its_ruling_is_changed() -> None:
    order = done(done(contested(), Accept(), UNIT_A), Complete(result="好", solved=True), UNIT_A)
    order = done(order, changed(order, LEADER), LEADER)
    assert (order.status, order.lead) == (Status.COMPLETED, "a")


def test_a_suspended_order_is_resumed_before_another_ruling_takes_it() -> None:
    order = done(done(contested(), Accept(), UNIT_A), Suspend(approval_id="p", reason="等", days=3), UNIT_A)
    order = done(order, Approve(), CENTRE)
    change = changed(order, LEADER)
    assert refused(order, change, LEADER)
    first = preceding(order, change)
    assert isinstance(first, Resume)
    assert done(done(order, first, LEADER), change, LEADER).status is Status.PENDING


def test_a_contested_ruling_lapses_when_the_order_goes_another_way() -> None:
    moved = done(contested(), Transfer(lead="b", reason="改派", return_until=LATER), CENTRE)
    assert moved.ruling is not None
    assert moved.ruling.contest is not None
    assert moved.ruling.contest.state == "lapsed"
    assert refused(moved, UpholdRuling(reason="对"), LEADER)


def test_two_units_that_name_each_other_must_be_ruled() -> None:
    order = done(dispatched(), ReturnOrder(reason=ReturnReason.NOT_MY_DUTY, suggested_unit="b"), UNIT_A)
    order = done(order, Dispatch(decision=decision("b"), cause="return", return_until=NOW + timedelta(hours=8)), SYSTEM)
    order = done(order, ReturnOrder(reason=ReturnReason.NOT_MY_DUTY, suggested_unit="a"), UNIT_B)
    assert order.must_be_ruled


def test_a_suspension_needs_the_centre_and_ends_by_itself() -> None:
    asked = done(accepted(), Suspend(approval_id="p", reason="等材料", days=3), UNIT_A)
    assert asked.status is Status.ACCEPTED
    assert refused(asked, Approve(), UNIT_A).code == "forbidden"
    assert refused(asked, Suspend(approval_id="q", reason="再等", days=3), UNIT_A).code == "invalid_transition"
    suspended = done(asked, Approve(), CENTRE)
    assert (suspended.status, suspended.suspended_until) == (Status.SUSPENDED, LATER + timedelta(days=3))
    resumed = done(suspended, Resume(), SYSTEM, LATER + timedelta(days=3))
    assert (resumed.status, resumed.suspended_until) == (Status.ACCEPTED, None)


def test_an_order_is_suspended_at_most_twice_and_for_at_most_90_days() -> None:
    order = accepted()
    assert "90" in refused(order, Suspend(approval_id="p", reason="等", days=91), UNIT_A).detail
    for _ in range(2):
        order = done(order, Suspend(approval_id="p", reason="等", days=90), UNIT_A)
        order = done(done(order, Approve(), CENTRE), Resume(), UNIT_A)
    assert "at most 2" in refused(order, Suspend(approval_id="p", reason="等", days=1), UNIT_A).detail
    assert "suspend" not in allowed_actions(order, UNIT_A, LATER)


def test_an_extension_is_asked_once_before_due_and_at_most_its_original_length() -> None:
    order = accepted()
    week = 7 * 86400
    assert refused(order, Extend(approval_id="p", seconds=week + 1, reason="难"), UNIT_A)
    assert refused(order, Extend(approval_id="p", seconds=week, reason="难", due_at=LATER), UNIT_A)
    order = done(order, Extend(approval_id="p", seconds=week, reason="难", due_at=LATER + timedelta(1)), UNIT_A)
    assert order.approval is not None
    assert order.approval.kind is ApprovalKind.EXTENSION
    assert refused(order, Approve(), HEAD_A).code == "forbidden"
    order = done(order, Approve(), CENTRE)
    assert refused(order, Extend(approval_id="p", seconds=60, reason="难"), UNIT_A)


def test_the_head_of_the_unit_may_extend_a_complex_order() -> None:
    order = replace(accepted(), handling_class=HandlingClass.COMPLEX)
    order = done(order, Extend(approval_id="p", seconds=3600, reason="难"), UNIT_A)
    assert refused(order, Approve(), UNIT_A).code == "forbidden"
    assert done(order, Approve(), HEAD_A).extensions == 1


def test_second_handling_reopens_a_completed_order_with_the_same_lead() -> None:
    order = done(accepted(), Complete(result="已清理", solved=True), UNIT_A)
    order = done(order, Reopen(appeal_id="a1"), SYSTEM)
    assert (order.status, order.lead, order.round, order.completed_at) == (Status.REOPENED, "a", 2, None)
    order = done(order, Complete(result="再次清理", solved=True), UNIT_A)
    assert refused(order, Close(closed_appeals=()), SYSTEM)
    order = done(order, Close(closed_appeals=("a1",)), SYSTEM)
    assert (order.status, allowed_actions(order, ADMIN, LATER)) == (Status.CLOSED, ())


def test_an_order_of_two_appeals_is_cancelled_only_when_both_are_withdrawn() -> None:
    order = done(accepted(), JoinAppeal(appeal_id="a2", relation="repeat"), SYSTEM)
    assert refused(order, Cancel(), SYSTEM)
    order = done(order, PartAppeal(appeal_id="a1"), SYSTEM)
    assert done(order, Cancel(), SYSTEM).status is Status.CANCELLED


def test_an_offered_case_is_handed_off_when_the_other_platform_accepts() -> None:
    order, _ = open_dispatched("w", CASE, "c", NOW, routed(decision("c", "110000"), handoff_id="h"))
    assert order.handoff is not None
    assert (order.status, order.handoff.state) == (Status.DISPATCHED, "offered")
    handed = done(order, HandOff(), SYSTEM)
    assert (handed.status, allowed_actions(handed, ADMIN, NOW)) == (Status.HANDED_OFF, ())
    assert refused(dispatched(), HandOff(), SYSTEM)


def test_what_is_offered_to_another_platform_is_not_split() -> None:
    order, _ = open_dispatched("w", CASE, "c", NOW, routed(decision("c", "110000"), handoff_id="h"))
    order = done(order, Accept(), CENTRE)
    part = Split(into=(SubOrder("s", "a", "路面"),))
    assert refused(order, part, CENTRE)
    assert done(done(order, RefuseHandoff(), SYSTEM), part, CENTRE).sub_orders


def test_a_refused_offer_leaves_the_order_where_it_is() -> None:
    order, _ = open_dispatched("w", CASE, "c", NOW, routed(decision("c", "110000"), handoff_id="h"))
    kept = done(order, RefuseHandoff(reason="不属本市"), SYSTEM)
    assert kept.handoff is not None
    assert (kept.status, kept.lead, kept.handoff.state) == (Status.DISPATCHED, "c", "refused")
    assert refused(kept, HandOff(), SYSTEM)
    assert refused(kept, RefuseHandoff(), SYSTEM)
    assert refused(order, RefuseHandoff(), CENTRE).code == "forbidden"


def asked(order: WorkOrder) -> WorkOrder:
    """A part that another platform is asked for."""
    part = SubOrder("s", "c", "清理下游", platform="110000")
    return open_part(order, part, "甲局", 3600, NOW, LATER, Handoff("h", "110000"), "110101")[0]


def test_a_part_of_another_platform_is_its_leads_until_it_is_answered_there() -> None:
    parent = done(accepted(), Split(into=(SubOrder("s", "c", "清理下游", platform="110000"),)), UNIT_A)
    assert parent.co_handlers == ()
    assert refused(parent, Complete(result="好", solved=True), UNIT_A).detail.endswith("110000.")
    part = asked(parent)
    assert (part.lead, part.region_code, part.allowed_s) == ("c", "110101", 3600)
    taken = done(part, HandOff(), SYSTEM)
    assert (taken.status, part_of(taken).status, part_of(taken).platform) == (Status.HANDED_OFF, "open", "110000")
    answered = done(taken, TakeAnswer(result="已清理"), SYSTEM)
    assert (answered.status, answered.result, part_of(answered).status) == (Status.COMPLETED, "已清理", "completed")
    parent = done(parent, NotePart(part=part_of(answered)), SYSTEM)
    assert "complete" in allowed_actions(parent, UNIT_A, LATER)


def test_a_part_that_another_platform_refuses_is_the_leads_again() -> None:
    part = done(asked(accepted()), RefuseHandoff(reason="不属本市"), SYSTEM)
    assert part_of(done(part, Cancel(reason="不属本市"), SYSTEM)).status == "returned"


@pytest.mark.parametrize("taken", [False, True])
def test_the_lead_recalls_a_part_from_another_platform(taken: bool) -> None:
    part = done(asked(accepted()), HandOff(), SYSTEM) if taken else asked(accepted())
    assert "recall" in allowed_actions(part, UNIT_A, LATER), "the lead of the whole helps with its parts"
    assert refused(part, Recall(reason="不必了"), UNIT_B).code == "forbidden"
    gone = done(part, Recall(reason="不必了"), UNIT_A)
    assert (gone.status, gone.handoff and gone.handoff.state) == (Status.CANCELLED, "withdrawn")
    assert part_of(gone).status == "cancelled"
    assert refused(gone, TakeAnswer(result="已清理"), SYSTEM), "an answer that crosses the recall changes nothing"


def test_a_whole_case_leaves_the_platform_that_took_it_only_when_its_citizen_withdraws() -> None:
    order, _ = open_dispatched("w", CASE, "c", NOW, routed(decision("c", "110000"), handoff_id="h"))
    handed = done(order, HandOff(), SYSTEM)
    assert refused(handed, Recall(reason="一"), ADMIN).code == "forbidden"
    gone = done(handed, Recall(reason="诉求人撤回"), SYSTEM)
    assert (gone.status, gone.handoff and gone.handoff.state) == (Status.CANCELLED, "withdrawn")
    assert refused(order, Recall(reason="一"), SYSTEM), "an offer is left behind by its order"
    assert refused(handed, TakeAnswer(result="一"), SYSTEM)
    assert allowed_actions(order, ADMIN, NOW) == ("accept", "transfer")


@pytest.mark.parametrize(
    "command", [Suspend(approval_id="p", reason="等", days=1), Extend(approval_id="p", seconds=60, reason="等")]
)
def test_a_part_asked_by_another_platform_has_the_wholes_time(command: Command) -> None:
    order = replace(accepted(), task="清理下游", allowed_s=3600)
    assert refused(order, command, UNIT_A)
    assert done(order, Split(into=(SubOrder("s", "b", "路面"),)), UNIT_A).sub_orders
    assert refused(order, Split(into=(SubOrder("s", "c", "路面", platform="120000"),)), UNIT_A)


@pytest.mark.parametrize(
    ("handling_class", "expected"),
    [
        (HandlingClass.URGENT, NOW + timedelta(minutes=10)),
        (HandlingClass.LIVELIHOOD, NOW + timedelta(minutes=30)),
        (HandlingClass.GENERAL, NOW + timedelta(days=1)),
        (HandlingClass.COMPLEX, NOW + timedelta(days=1)),
    ],
)
def test_the_return_window_counts_working_time_for_general_and_complex(
    handling_class: HandlingClass, expected: datetime
) -> None:
    def next_day(start: datetime, worked: timedelta) -> datetime:
        assert worked == timedelta(hours=4)
        return start + timedelta(days=1)

    assert return_until(handling_class, NOW, next_day) == expected


TABLE = {
    "accept": {"dispatched"},
    "contact": {"accepted", "reopened"},
    "progress": {"accepted", "reopened"},
    "complete": {"accepted", "reopened"},
    "return": {"dispatched"},
    "suspend": {"accepted", "reopened"},
    "extend": {"accepted", "reopened"},
    "resume": {"suspended"},
    "co-handlers": {"accepted", "reopened"},
    "split": {"accepted", "reopened"},
    "recall": {"dispatched", "accepted", "handed_off"},
    "transfer": {"pending", "dispatched", "accepted", "disputed"},
}


RULED = {"dispatched", "accepted", "reopened", "suspended"}
DISPUTE_TABLE = {
    "check": {"disputed"},
    "record": {"disputed"},
    "ruling": {"disputed"},
    "contest": RULED,
    "decision": RULED | {"completed"},
}
"""ADR 0023"""


def test_actions_start_from_the_states_of_the_contract() -> None:
    assert {kind.action: {str(status) for status in kind.sources} for kind in ACTIONS} == TABLE
    assert {kind.action: {str(status) for status in kind.sources} for kind in DISPUTE_ACTIONS} == DISPUTE_TABLE


_units = st.sampled_from(["a", "b", "d"])
_text = st.sampled_from(["一", "二"])
_rulings = st.builds(
    Ruling,
    dispute_id=_text,
    lead=_units,
    co_handlers=st.just(()),
    scope=st.sampled_from(["case", "matter_territory"]),
    reason=_text,
    by=st.sampled_from([CENTRE.name, LEADER.name]),
    at=st.just(NOW),
    contest_until=st.sampled_from([NOW, NOW + timedelta(days=9)]),
)


def _decided(ruling: Ruling) -> Ruling:
    return replace(ruling, contest_until=None, contest=Contest("unit:a", NOW, "一", state="changed"))


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Accept),
    st.builds(Contact),
    st.builds(Progress),
    st.builds(Complete, result=st.sampled_from(["", "好"]), solved=st.booleans()),
    st.builds(ReturnOrder, reason=st.sampled_from(ReturnReason), suggested_unit=st.none() | _units),
    st.builds(Suspend, approval_id=_text, reason=_text, days=st.integers(0, 91)),
    st.builds(Extend, approval_id=_text, reason=_text, seconds=st.integers(0, 10**6)),
    st.builds(Resume),
    st.builds(AddCoHandlers, units=st.tuples(_units)),
    st.builds(Transfer, lead=_units, reason=_text, return_until=st.just(LATER)),
    st.builds(
        Dispatch,
        decision=_units.map(decision),
        cause=st.just("return"),
        return_until=st.just(LATER),
    ),
    st.builds(OpenDispute, dispute_id=_text, reason=_text, units=st.sampled_from([(), ("a",), ("a", "b")])),
    st.builds(OrderCheck, check_id=_text, units=st.sampled_from([(), ("a",), ("b", "d")]), question=_text),
    st.builds(
        RecordCheck,
        check_id=_text,
        unit=st.none() | _units,
        checked_at=st.sampled_from([NOW, LATER]),
        finding=st.sampled_from(["", "好"]),
    ),
    st.builds(GiveRuling, scope=st.just("case"), reason=_text),
    st.builds(DispatchRuled, ruling=_rulings, return_until=st.just(LATER), answer=st.just(ANSWER)),
    st.builds(ContestRuling, reason=_text),
    st.builds(UpholdRuling, reason=_text),
    st.builds(ChangeRuling, ruling=_rulings.map(_decided)),
    st.builds(Approve),
    st.builds(Reject),
    st.builds(Relabel, handling_class=st.sampled_from(HandlingClass), matter=st.just("02010101"), kind=st.just("help")),
    st.builds(Reopen, appeal_id=st.just("a1")),
    st.builds(Close, closed_appeals=st.sampled_from([(), ("a1",), ("a1", "a2")])),
    st.builds(Cancel),
    st.builds(JoinAppeal, appeal_id=st.sampled_from(["a1", "a2"]), relation=st.just("repeat")),
    st.builds(PartAppeal, appeal_id=st.sampled_from(["a1", "a2"])),
    st.builds(HandOff),
    st.builds(Split, into=st.tuples(st.builds(SubOrder, _text, _units, _text)), left_s=st.none() | st.just(60)),
    st.builds(NotePart, part=st.builds(SubOrder, _text, _units, _text, st.sampled_from(["open", "completed"]))),
    st.builds(RefuseHandoff),
    st.builds(Recall, reason=_text),
    st.builds(TakeAnswer, result=_text),
)
ACTORS = st.sampled_from([UNIT_A, UNIT_B, HEAD_A, CENTRE, LEADER, ADMIN, SYSTEM, Actor("unit:nobody")])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(COMMANDS, ACTORS, st.integers(0, 3 * 3600)), max_size=40),
    st.sampled_from([lambda: open_pending("w", CASE, "c", NOW)[0], dispatched, accepted, disputed, contested]),
)
def test_any_sequence_keeps_one_owner_and_counts_every_change(
    script: list[tuple[Command, Actor, int]], begin: Callable[[], WorkOrder]
) -> None:
    order, at = begin(), NOW
    for command, actor, seconds in script:
        at += timedelta(seconds=seconds)
        before = replace(order)
        outcome = step(order, command, actor, at)
        assert order == before, "a command never changes the order it is given"
        if isinstance(outcome, Refused):
            assert outcome.detail
            continue
        after = outcome.order
        assert after.version == order.version + 1
        assert after.lead
        assert after.appeal_ids
        assert after.lead not in after.co_handlers or after.lead == after.centre
        assert order.status not in {Status.CLOSED, Status.CANCELLED}, "final states never change"
        if order.status is Status.HANDED_OFF:
            assert outcome.fact.name == "cancelled", "it is another platform's until the citizen withdraws it"
        if after.status in {Status.PENDING, Status.DISPUTED}:
            assert after.lead == "c", "what nobody has belongs to the centre"
        assert (after.status is Status.DISPUTED) == (after.dispute_id is not None)
        assert (after.status is Status.SUSPENDED) == (after.suspended_until is not None)
        if after.status in {Status.COMPLETED, Status.CLOSED, Status.CANCELLED, Status.HANDED_OFF}:
            assert not after.open_parts, "the whole ends after its parts"
        assert not (after.checking and after.status is not Status.DISPUTED), "units look while it is disputed"
        if after.ruling is not None and after.ruling.contested:
            assert after.ruled_lead == after.lead, "a contested ruling binds until it is decided"
        if outcome.fact.name in {"ruling_upheld", "ruling_changed"}:
            assert order.ruling is not None
            assert order.ruling.contested, "only what was contested is decided"
            assert order.ruling.by != actor.name, "nobody decides about his own ruling"
        if outcome.fact.name == "ruling_contested":
            assert order.ruling is not None
            assert order.ruling.contest is None, "once"
        if command.action:
            states = (TABLE | DISPUTE_TABLE)[command.action]
            assert str(order.status) in states, "only what the contract allows"
            offered = allowed_actions(order, actor, at, (*ACTIONS, *DISPUTE_ACTIONS))
            assert command.action in offered, "what succeeds was offered"
        assert type(command).parts_for(order) & order.parts_of(actor)
        order = after


def test_the_parts_of_an_actor_follow_the_order() -> None:
    order = accepted()
    assert order.parts_of(UNIT_A) == {Part.LEAD}
    assert order.parts_of(UNIT_B) == frozenset()
    assert order.parts_of(CENTRE) == {Part.CENTRE}
    assert replace(order, lead="c").parts_of(CENTRE) == {Part.LEAD, Part.CENTRE}


def test_every_action_of_the_contract_has_its_row() -> None:
    assert [action.command for action in TABLE_OF_ACTIONS.values()] == list(ACTIONS)


def test_a_transfer_of_a_disputed_order_is_its_ruling_and_of_any_other_is_not() -> None:
    transfer = Transfer(lead="b", reason="一", return_until=LATER)
    returned = done(dispatched(), ReturnOrder(reason=ReturnReason.OTHER), UNIT_A)
    disputed = done(returned, OpenDispute(dispute_id="d", reason="二"), SYSTEM)
    assert preceding(disputed, transfer) == GiveRuling(scope="case", reason="一")
    assert preceding(returned, transfer) is None


def test_a_returned_order_is_dispatched_again_and_the_second_time_disputed() -> None:
    again = Dispatch(decision=decision("b"), cause="return", return_until=LATER)
    first = done(dispatched(), ReturnOrder(reason=ReturnReason.OTHER), UNIT_A)
    assert following(first, "d", str.upper, lambda order: again) is again
    second = done(done(first, again, SYSTEM), ReturnOrder(reason=ReturnReason.OTHER), UNIT_B)
    dispute = following(second, "d", str.upper, lambda order: again)
    assert dispute == OpenDispute(dispute_id="d", reason="多次退单或相互推荐：A、B")
    kept = done(done(second, dispute, SYSTEM), GiveRuling(scope="case", reason="一"), CENTRE)
    ruled = DISPATCH_RULED
    shirked = done(done(kept, ruled, CENTRE), ReturnOrder(reason=ReturnReason.OTHER), UNIT_A)
    assert following(shirked, "d", str.upper, lambda order: again) is None
