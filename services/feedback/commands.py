"""What people do about one appeal through HTTP: calls, answers, decisions. Each is a rule over the case under its lock.

The rules themselves are in `domain/`; here they get the caller, the working days and redaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from services.feedback.domain import (
    EXCLUSION_WORKING_DAYS,
    REVIEW_WORKING_DAYS,
    Answer,
    AttemptOutcome,
    CallingHours,
    Change,
    Exclusion,
    FalseCompletion,
    Refusal,
    Review,
    Verdict,
    attempt,
    decide,
    decide_exclusion,
    decide_false_completion,
    decide_review,
    rate,
    request_exclusion,
    request_review,
    suspicion,
    working_days_after,
)
from services.feedback.repository import Case
from shared.errors import Problem, not_found
from shared.ids import uuid7
from shared.redaction import clean
from shared.security.principal import Principal

Rule = Callable[[Case, int, datetime], Change]
"""what a command does to a locked case: (case, round of its token or 0, business time); raises Refusal or Problem"""


JudgedOf = Callable[[Case], Exclusion | FalseCompletion]
"""what of a case a command is about; raises Refusal or Problem"""


@dataclass(frozen=True, slots=True)
class Command:
    """A write through HTTP about one appeal, named by its id or by a rating token."""

    rule: Rule
    answer: Callable[[Case], dict[str, Any]]
    appeal_id: str = ""
    token: str | None = None
    device: str | None = None
    """address and browser of a citizen who answers by link; a digest of it is kept (signs.py)"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A seat wants the next call-backs: at most `limit`, by these media, its own until `until` (real time)."""

    who: Principal
    limit: int
    media: tuple[str, ...]
    real_now: datetime
    until: datetime
    answer: Callable[[Case], dict[str, Any]]


class Acts:
    """Makes the rule of each act."""

    def __init__(self, hours: CallingHours, is_working_day: Callable[[date], bool]) -> None:
        self.hours = hours
        self.is_working_day = is_working_day

    def attempt(self, seat: str, outcome: AttemptOutcome, answer: Answer, real_now: datetime) -> Rule:
        """A seat called; `real_now` judges the lease of another seat."""

        def rule(case: Case, _: int, now: datetime) -> Change:
            if case.leased_by not in (None, seat) and case.leased_until is not None and case.leased_until > real_now:
                raise Problem(409, "leased", "Another seat is calling this citizen; take another call-back.")
            return attempt(case.feedback, self.hours, outcome, _clean(answer), now, seat)

        return rule

    def rate(self, answer: Answer) -> Rule:
        """The citizen answers through a link."""
        return lambda case, number, now: rate(case.feedback, number, _clean(answer), now)

    def decide(self, actor: str, reason: str) -> Rule:
        """The centre closes a case rated badly twice."""
        return lambda case, _, now: decide(case.feedback, now, actor, clean(reason))

    def request_exclusion(self, principal: Principal, reason: str, evidence: str | None) -> Rule:
        """The scored unit asks to leave the rating that counts out."""

        def rule(case: Case, _: int, now: datetime) -> Change:
            current = case.feedback.current
            if current is None:
                raise not_found("A rating of this appeal")
            asked = Exclusion(uuid7(), current.completion.unit, clean(reason), clean(evidence), now)
            deadline = self._working_days_after(case.feedback.closed_at or now, EXCLUSION_WORKING_DAYS)
            return request_exclusion(case.feedback, asked, deadline, principal.actor)

        return rule

    def decide_exclusion(self, exclusion_id: str, actor: str, granted: bool, reason: str) -> Rule:
        """The centre decides about an exclusion."""

        def rule(case: Case, _: int, now: datetime) -> Change:
            exclusion_of(exclusion_id)(case)
            return decide_exclusion(case.feedback, granted, now, actor, clean(reason))

        return rule

    def decide_false_completion(self, number: int, actor: str, confirmed: bool, reason: str) -> Rule:
        """The centre confirms or denies that the completion of a round was false."""
        return lambda case, _, now: decide_false_completion(case.feedback, number, confirmed, now, actor, clean(reason))

    def request_review(self, of: JudgedOf, who: Principal, reason: str, evidence: str | None) -> Rule:
        """Who lost asks for a review: a handler for the unit, a seat for the citizen; admin for either."""

        def rule(case: Case, _: int, now: datetime) -> Change:
            judged = of(case)
            asked = Review(who.actor, now, clean(reason), clean(evidence), judged.granted is True)
            deadline = self._working_days_after(judged.decided_at or now, REVIEW_WORKING_DAYS)
            sides = [unit for unit, role in ((True, "handler"), (False, "seat")) if who.has(role)]
            return request_review(case.feedback, judged, asked, for_unit=sides, deadline=deadline)

        return rule

    def decide_review(self, of: JudgedOf, actor: str, granted: bool, reason: str) -> Rule:
        """Another leader has the last word."""
        return lambda case, _, now: decide_review(case.feedback, of(case), Verdict(granted, actor, now, clean(reason)))

    def _working_days_after(self, start: datetime, days: int) -> datetime:
        return working_days_after(start, days, self.is_working_day, self.hours.zone)


def visible_to(who: Principal, rule: Rule, of: JudgedOf | None = None) -> Rule:
    """`rule`, for cases in the row scope of `who` only; 404 for others. `of`: what of the case is judged, so that its
    unit counts and not the one that led last."""

    def scoped(case: Case, number: int, now: datetime) -> Change:
        current = case.feedback.current
        if current is None or not who.sees_region(current.completion.region_code):
            raise not_found("This appeal")
        unit = current.completion.unit
        if of is not None:
            with suppress(Problem, Refusal):  # the rule says it, to who may hear it
                unit = unit_of(case, of(case))
        if not who.sees_unit(unit):
            raise not_found("This appeal")
        return rule(case, number, now)

    return scoped


def exclusion_of(exclusion_id: str) -> JudgedOf:
    """The exclusion of that id, while it is the present one of its case."""

    def find(case: Case) -> Exclusion:
        exclusion = case.feedback.exclusion
        if exclusion is None or exclusion.id != exclusion_id:
            raise Problem(409, "no_exclusion_open", "The citizen was asked again since; this request is history.")
        return exclusion

    return find


def false_completion_of(number: int) -> JudgedOf:
    """The suspected false completion of a round."""
    return lambda case: suspicion(case.feedback, number)


def unit_of(case: Case, judged: Exclusion | FalseCompletion) -> str:
    """The unit that is judged."""
    if isinstance(judged, Exclusion):
        return judged.unit
    return next(r.completion.unit for r in case.feedback.rounds if r.number == judged.round)


def _clean(answer: Answer) -> Answer:
    return replace(answer, words=clean(answer.words))
