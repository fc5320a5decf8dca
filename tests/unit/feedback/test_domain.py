"""The rules of domain.md, "Feedback", told one by one and then walked at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.domain import (
    Answer,
    Asking,
    AttemptOutcome,
    CallingHours,
    Change,
    Completion,
    Exclusion,
    Fact,
    FactKind,
    FalseCompletion,
    Feedback,
    Medium,
    Method,
    Outcome,
    Refusal,
    Review,
    Status,
    Verdict,
    attempt,
    decide,
    decide_exclusion,
    decide_false_completion,
    decide_review,
    expire,
    open_round,
    rate,
    request_exclusion,
    request_review,
    stop,
    working_days_after,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOURS = CallingHours()
MORNING = datetime(2026, 11, 2, 10, 0, tzinfo=SHANGHAI)
GOOD = Answer(True, True, 5)
BAD = Answer(True, False, 1)
WEB = Asking("web")
PHONE = Asking("phone")


def completion(order_round: int = 1, at: datetime = MORNING, *, order: str = "o1", solved: bool = True) -> Completion:
    return Completion(order, order_round, "u1", solved, "460105001", "0101", at)


def opened(asking: Asking = WEB, at: datetime = MORNING) -> Feedback:
    return open_round(Feedback("a1"), asking, completion(at=at)).feedback


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(Refusal) as caught:
        yield
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("channel", "groups", "method"),
    [
        ("phone", set(), Method.CALLBACK),
        ("phone", {"elderly"}, Method.CALLBACK),
        ("phone", {"deaf"}, Method.LINK),
        ("web", set(), Method.LINK),
        ("sign_video", {"deaf"}, Method.LINK),
    ],
)
def test_phone_reporters_are_called_and_all_others_get_a_link(channel: str, groups: set[str], method: Method) -> None:
    feedback = opened(Asking(channel, frozenset(groups)))
    assert feedback.current is not None
    assert feedback.current.method is method
    assert feedback.current.expires_at == (MORNING + timedelta(days=15) if method is Method.LINK else None)


def test_a_good_answer_closes() -> None:
    change = rate(opened(), 1, GOOD, MORNING)
    assert [f.kind for f in change.facts] == [FactKind.ANSWERED, FactKind.CLOSED]
    assert change.feedback.outcome is Outcome.ANSWERED
    assert change.feedback.answer == GOOD


@pytest.mark.parametrize("answer", [Answer(True, False, 5), Answer(False, True, 2), Answer(None, False, None)])
def test_not_solved_or_satisfaction_of_two_is_bad(answer: Answer) -> None:
    assert rate(opened(), 1, answer, MORNING).feedback.status is Status.SECOND_HANDLING


def test_satisfaction_of_three_is_not_bad() -> None:
    assert rate(opened(), 1, Answer(False, True, 3), MORNING).feedback.status is Status.CLOSED


def test_first_bad_answer_waits_for_second_handling_and_the_next_completion_asks_again() -> None:
    bad = rate(opened(), 1, BAD, MORNING)
    assert [f.kind for f in bad.facts] == [FactKind.ANSWERED]
    again = open_round(bad.feedback, WEB, completion(2)).feedback
    assert (again.status, again.current.number if again.current else 0) == (Status.OPEN, 2)
    closed = rate(again, 2, GOOD, MORNING).feedback
    assert closed.status is Status.CLOSED
    assert closed.answer == GOOD, "the last answer counts"
    assert closed.bad_ratings == 1


def test_second_handling_is_answered_by_a_completion_after_the_bad_answer() -> None:
    late = opened()
    again = open_round(late, WEB, completion(2, MORNING + timedelta(hours=2))).feedback
    assert again.rounds == late.rounds, "the first link keeps working"
    bad = rate(late, 1, BAD, MORNING + timedelta(hours=3)).feedback
    assert open_round(bad, WEB, completion(2, MORNING + timedelta(hours=2))).facts == ()
    assert open_round(bad, WEB, completion(2, MORNING + timedelta(hours=4))).facts != ()


def test_an_answer_is_not_older_than_what_it_answers_to_by_the_clock_of_another_machine() -> None:
    done = MORNING + timedelta(seconds=2)
    again = open_round(opened(), WEB, completion(2, done)).feedback
    assert rate(again, 1, BAD, MORNING).facts[0].at == done
    bad = rate(again, 1, BAD, MORNING).feedback
    assert bad.rounds[-1].closed_at == done


def test_second_bad_answer_is_closed_by_the_centre_alone() -> None:
    again = open_round(rate(opened(), 1, BAD, MORNING).feedback, WEB, completion(2)).feedback
    waiting = rate(again, 2, BAD, MORNING).feedback
    assert waiting.status is Status.AWAITING_DECISION
    assert open_round(waiting, WEB, completion(3)).facts == ()
    closed = decide(waiting, MORNING, "user:centre", "现场核实已办结").feedback
    assert (closed.status, closed.outcome) == (Status.CLOSED, Outcome.ANSWERED)
    with refused("no_decision_open"):
        decide(closed, MORNING, "user:centre", "again")


def test_unit_said_solved_and_citizen_said_not_is_suspected_false_completion() -> None:
    assert rate(opened(), 1, BAD, MORNING).feedback.false_completion_suspected
    honest = open_round(Feedback("a1"), WEB, completion(solved=False)).feedback
    assert not rate(honest, 1, BAD, MORNING).feedback.false_completion_suspected


def test_a_link_is_used_once_and_not_after_fifteen_days() -> None:
    feedback = opened()
    with refused("rating_closed"):
        rate(feedback, 1, GOOD, MORNING + timedelta(days=15))
    used = rate(feedback, 1, GOOD, MORNING + timedelta(days=15, seconds=-1)).feedback
    with refused("rating_used"):
        rate(used, 1, GOOD, MORNING)
    with refused("rating_unknown"):
        rate(used, 2, GOOD, MORNING)
    with refused("rating_unknown"):
        rate(opened(PHONE), 1, GOOD, MORNING)


def test_expiry_closes_an_open_link_and_nothing_else() -> None:
    feedback = opened()
    expired = expire(feedback, 1, MORNING + timedelta(days=15))
    assert expired.feedback.outcome is Outcome.EXPIRED
    assert not expired.feedback.reached
    assert expire(rate(feedback, 1, GOOD, MORNING).feedback, 1, MORNING).facts == ()
    again = open_round(rate(feedback, 1, BAD, MORNING).feedback, WEB, completion(2)).feedback
    assert expire(again, 1, MORNING).facts == (), "the timer of round 1 must not close round 2"


def test_three_missed_calls_on_different_half_days_make_unreachable() -> None:
    feedback = opened(PHONE)
    at = MORNING
    for number in (1, 2, 3):
        assert feedback.status is Status.OPEN
        assert feedback.current is not None
        ready = HOURS.next_attempt(feedback.current)
        assert ready is not None
        at = ready
        feedback = attempt(feedback, HOURS, AttemptOutcome.NO_ANSWER, None, at, "s1").feedback
        assert len(feedback.rounds[-1].attempts) == number
    assert feedback.outcome is Outcome.UNREACHABLE
    assert not feedback.reached
    assert at == datetime(2026, 11, 3, 9, 0, tzinfo=SHANGHAI), "10:00, 13:30, next day 09:00"


def test_missed_calls_of_one_half_day_or_outside_hours_do_not_count() -> None:
    once = attempt(opened(PHONE), HOURS, AttemptOutcome.NO_ANSWER, None, MORNING, "s1").feedback
    with refused("half_day_already_tried"):
        attempt(once, HOURS, AttemptOutcome.NO_ANSWER, None, MORNING + timedelta(hours=2), "s1")
    with refused("outside_calling_hours"):
        attempt(once, HOURS, AttemptOutcome.NO_ANSWER, None, MORNING.replace(hour=21), "s1")


def test_a_conversation_is_recorded_at_any_hour() -> None:
    night = MORNING.replace(hour=23)
    assert attempt(opened(PHONE), HOURS, AttemptOutcome.REACHED, GOOD, night, "s1").feedback.answer == GOOD


def test_who_refuses_was_asked_but_gave_no_answer() -> None:
    feedback = attempt(opened(PHONE), HOURS, AttemptOutcome.REFUSED, None, MORNING, "s1").feedback
    assert (feedback.outcome, feedback.reached, feedback.answer) == (Outcome.REFUSED, True, None)


def test_a_bad_answer_counts_when_the_second_round_stays_silent() -> None:
    again = open_round(rate(opened(), 1, BAD, MORNING).feedback, WEB, completion(2)).feedback
    expired = expire(again, 2, MORNING).feedback
    assert (expired.outcome, expired.reached, expired.answer) == (Outcome.EXPIRED, True, BAD)


def test_one_completion_is_asked_about_once() -> None:
    feedback = opened()
    assert open_round(feedback, WEB, completion()).facts == ()
    closed = rate(feedback, 1, GOOD, MORNING).feedback
    assert open_round(closed, WEB, completion()).facts == ()
    assert open_round(closed, WEB, completion(2)).facts == (), (
        "another citizen's second handling asks only that citizen"
    )


def test_an_unlinked_appeal_is_asked_again_about_its_own_order() -> None:
    closed = rate(opened(), 1, GOOD, MORNING).feedback
    again = open_round(closed, WEB, completion(order="o2")).feedback
    assert (again.status, len(again.rounds), again.outcome) == (Status.OPEN, 2, None)


def test_a_withdrawn_appeal_is_asked_no_more() -> None:
    gone = stop(Feedback("a1"), Outcome.WITHDRAWN, MORNING, "citizen")
    assert gone.facts == (), "nothing was asked yet, so there is nothing to tell"
    assert open_round(gone.feedback, WEB, completion()).facts == ()
    told = stop(opened(), Outcome.WITHDRAWN, MORNING, "citizen", "已解决")
    assert [f.kind for f in told.facts] == [FactKind.CLOSED]
    with refused("rating_closed"):
        rate(told.feedback, 1, GOOD, MORNING)


def test_exclusion_is_asked_by_the_scored_unit_within_five_working_days() -> None:
    closed = rate(opened(), 1, Answer(True, True, 3), MORNING).feedback
    deadline = working_days_after(MORNING, 5, lambda day: day.weekday() < 5, SHANGHAI)
    assert deadline == datetime(2026, 11, 9, 17, 30, tzinfo=SHANGHAI)
    wish = Exclusion("x1", "u1", "恶意评价", None, MORNING)
    with refused("too_late"):
        request_exclusion(closed, replace(wish, asked_at=deadline + timedelta(seconds=1)), deadline, "unit:u1")
    with refused("not_your_rating"):
        request_exclusion(closed, replace(wish, unit="u2"), deadline, "unit:u2")
    with refused("nothing_rated"):
        request_exclusion(opened(), wish, deadline, "unit:u1")
    asked = request_exclusion(closed, wish, deadline, "unit:u1").feedback
    with refused("exclusion_exists"):
        request_exclusion(asked, wish, deadline, "unit:u1")
    granted = decide_exclusion(asked, True, MORNING, "user:centre", "属实").feedback
    assert granted.exclusion is not None
    assert granted.exclusion.granted is True
    with refused("no_exclusion_open"):
        decide_exclusion(granted, False, MORNING, "user:centre", "again")


def test_a_contradicted_completion_is_confirmed_or_denied_once_and_reviewed_once_by_somebody_else() -> None:
    bad = rate(opened(), 1, BAD, MORNING)
    assert bad.facts[0].about == FalseCompletion(1, MORNING)
    with refused("nothing_suspected"):
        decide_false_completion(bad.feedback, 2, True, MORNING, "user:s", "核实")
    confirmed = decide_false_completion(bad.feedback, 1, True, MORNING, "user:s", "核实").feedback
    with refused("decided_already"):
        decide_false_completion(confirmed, 1, False, MORNING, "user:s", "核实")
    one = confirmed.false_completions[0]
    wish = Review("unit:u1", MORNING, "当日已修复", "照片", against=True)
    later = MORNING + timedelta(days=7)
    with refused("not_against_you"):
        request_review(confirmed, one, wish, for_unit=[False], deadline=later)
    with refused("too_late"):
        request_review(confirmed, one, replace(wish, asked_at=later), for_unit=[True], deadline=MORNING)
    asked = request_review(confirmed, one, wish, for_unit=[True], deadline=later).feedback
    with refused("review_exists"):
        request_review(asked, asked.false_completions[0], wish, for_unit=[True], deadline=later)
    with refused("same_person"):
        decide_review(asked, asked.false_completions[0], Verdict(False, "user:s", later, "复核"))
    change = decide_review(asked, asked.false_completions[0], Verdict(False, "user:l", later, "复核"))
    assert [f.kind for f in change.facts] == [FactKind.FALSE_COMPLETION_DECIDED]
    last = change.feedback.false_completions[0]
    assert (last.state, last.review and last.review.state, last.decided_at) == ("denied", "overturned", MORNING)
    with refused("no_review_open"):
        decide_review(change.feedback, last, Verdict(True, "user:l", later, "复核"))


@pytest.mark.parametrize(("granted", "side"), [(True, False), (False, True)])
def test_only_the_side_that_lost_an_exclusion_has_it_reviewed(granted: bool, side: bool) -> None:
    closed = rate(opened(), 1, Answer(True, True, 3), MORNING).feedback
    asked = request_exclusion(closed, Exclusion("x1", "u1", "恶意", None, MORNING), MORNING, "unit:u1").feedback
    assert asked.exclusion is not None
    wish = Review("user:x", MORNING, "不服", None, against=granted)
    with refused("not_decided"):
        request_review(asked, asked.exclusion, wish, for_unit=[True, False], deadline=MORNING)
    decided = decide_exclusion(asked, granted, MORNING, "user:s", "核实").feedback
    assert decided.exclusion is not None
    with refused("not_against_you"):
        request_review(decided, decided.exclusion, wish, for_unit=[not side], deadline=MORNING)
    reviewed = request_review(decided, decided.exclusion, wish, for_unit=[side], deadline=MORNING).feedback
    assert reviewed.exclusion is not None
    upheld = decide_review(reviewed, reviewed.exclusion, Verdict(granted, "user:l", MORNING, "维持")).feedback
    assert upheld.exclusion is not None
    assert (upheld.exclusion.granted, upheld.exclusion.review and upheld.exclusion.review.state) == (granted, "upheld")


@pytest.mark.parametrize(
    ("channel", "groups", "medium"),
    [("phone", {"deaf"}, Medium.TEXT), ("sign_video", set(), Medium.SIGN_VIDEO), ("web", {"deaf"}, None)],
)
def test_who_cannot_be_phoned_has_a_seat_beside_the_link(channel: str, groups: set[str], medium: Medium | None) -> None:
    feedback = opened(Asking(channel, frozenset(groups)))
    assert feedback.current is not None
    assert (feedback.current.method, feedback.current.seat_medium) == (Method.LINK, medium)


def test_three_attempts_beside_a_link_leave_the_link_open() -> None:
    feedback = opened(Asking("sign_video"))
    for _ in range(3):
        assert feedback.current is not None
        at = HOURS.next_attempt(feedback.current)
        assert at is not None
        feedback = attempt(feedback, HOURS, AttemptOutcome.NO_ANSWER, None, at, "s1").feedback
    assert feedback.current is not None
    assert HOURS.next_attempt(feedback.current) is None
    with refused("attempts_used_up"):
        attempt(feedback, HOURS, AttemptOutcome.NO_ANSWER, None, MORNING + timedelta(days=3), "s1")
    assert rate(feedback, 1, GOOD, MORNING + timedelta(days=3)).feedback.status is Status.CLOSED
    refusal = attempt(feedback, HOURS, AttemptOutcome.REFUSED, None, MORNING + timedelta(days=3), "s1").feedback
    assert refusal.outcome is Outcome.REFUSED


@given(
    since=st.integers(0, 365 * 86_400).map(lambda s: MORNING + timedelta(seconds=s)),
    tries=st.integers(0, 3),
)
def test_next_attempt_is_the_earliest_untried_minute_in_the_hours(since: datetime, tries: int) -> None:
    tried: list[tuple[date, bool]] = []
    at = since
    for _ in range(tries + 1):
        found = HOURS.next_start(at, [h for h in map(HOURS.half_day, _instants(tried)) if h])
        walk = at  # the oracle: walk minute by minute
        while not _callable(walk, tried):
            walk = (walk + timedelta(minutes=1)).replace(second=0, microsecond=0)
        assert found == walk
        local = found.astimezone(SHANGHAI)
        tried.append((local.date(), (local.hour, local.minute) >= (13, 30)))
        at = found


def _instants(tried: list[tuple[date, bool]]) -> list[datetime]:
    return [datetime(d.year, d.month, d.day, 15 if afternoon else 10, tzinfo=SHANGHAI) for d, afternoon in tried]


def _callable(at: datetime, tried: list[tuple[date, bool]]) -> bool:
    local = at.astimezone(SHANGHAI)
    minute = local.hour * 60 + local.minute
    return 540 <= minute < 1260 and (local.date(), minute >= 810) not in tried


ANSWERS = st.builds(Answer, st.none() | st.booleans(), st.none() | st.booleans(), st.none() | st.integers(1, 5))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("complete"), st.sampled_from(["o1", "o2"]), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("rate"), st.integers(1, 4), ANSWERS),
        st.tuples(st.just("call"), st.sampled_from(list(AttemptOutcome)), ANSWERS),
        st.tuples(st.just("expire"), st.integers(1, 4)),
        st.tuples(st.just("stop"), st.sampled_from([Outcome.WITHDRAWN, Outcome.CANCELLED])),
        st.tuples(st.just("decide")),
    ),
    max_size=25,
)


def _step(feedback: Feedback, asking: Asking, step: tuple[object, ...], at: datetime) -> Change:
    match step:
        case ("complete", str(order), int(number), bool(solved)):
            return open_round(feedback, asking, completion(number, at, order=order, solved=solved))
        case ("rate", int(number), Answer() as answer):
            return rate(feedback, number, answer, at)
        case ("call", AttemptOutcome() as outcome, Answer() as answer):
            return attempt(feedback, HOURS, outcome, answer, at, "s1")
        case ("expire", int(number)):
            return expire(feedback, number, at)
        case ("stop", Outcome() as outcome):
            return stop(feedback, outcome, at, "citizen")
        case _:
            return decide(feedback, at, "user:centre", "定案")


@settings(max_examples=400)
@given(steps=STEPS, channel=st.sampled_from(["phone", "web"]), hours=st.lists(st.integers(0, 30), max_size=25))
def test_every_walk_keeps_the_rules(steps: list[tuple[object, ...]], channel: str, hours: list[int]) -> None:
    feedback, asking, at = Feedback("a1"), Asking(channel), MORNING
    facts: list[Fact] = []
    for step, pause in zip(steps, hours + [5] * len(steps), strict=False):
        at += timedelta(hours=pause)
        try:
            change = _step(feedback, asking, step, at)
        except Refusal:
            continue
        feedback = change.feedback
        facts += change.facts
    assert [f.after.sequence for f in facts] == list(range(1, len(facts) + 1))
    asked = [(r.completion.work_order_id, r.completion.order_round) for r in feedback.rounds]
    assert len(set(asked)) == len(asked), "one completion, one round"
    assert sum(r.open for r in feedback.rounds) == (feedback.status is Status.OPEN)
    second = [f for f in facts if f.kind is FactKind.ANSWERED and f.after.status is Status.SECOND_HANDLING]
    assert len(second) <= 1, "one appeal opens second handling once"
    assert bool(second) == (feedback.bad_ratings > 0)
    assert (feedback.status is Status.CLOSED) == (feedback.closed_at is not None)
    for asked_round in feedback.rounds:
        missed = [HOURS.half_day(a.at) for a in asked_round.attempts if a.outcome is AttemptOutcome.NO_ANSWER]
        assert None not in missed
        assert len(set(missed)) == len(missed) <= 3
