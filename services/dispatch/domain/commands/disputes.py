"""派单争议, 现场核查, the ruling, and a party's appeal against it (domain.md, Dispatch 3 and 4; ADR 0023)."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from services.dispatch.domain.command import Command, Fact
from services.dispatch.domain.commands.dispatching import with_lead
from services.dispatch.domain.routing import RuleAnswer
from services.dispatch.domain.work_order import (
    CENTRE,
    UNFINISHED,
    Actor,
    Contest,
    Part,
    Ruling,
    SiteCheck,
    Status,
    WorkOrder,
)

MOST_CHECKS = 10
"""on-site checks of one dispute"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDispute(Command):
    """派单争议: the centre owns the order until its ruling. It opens by itself after returns (`following`), or by hand;
    `units` are parties beside those that returned it."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING, Status.DISPATCHED, Status.ACCEPTED})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.SYSTEM, Part.CENTRE})
    dispute_id: str
    reason: str
    units: tuple[str, ...] = ()

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return "A part of an order is arranged by its parent's lead." if order.parent_id is not None else None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return None if self._parties(order) else "Nobody has it or returned it: name the units that dispute it."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order,
            status=Status.DISPUTED,
            lead=order.centre,
            dispute_id=self.dispute_id,
            disputed_at=at,
            return_until=None,
            approval=None,
            checks=(),
            ruled_lead=None,
            ruling=order.ruling_left,
        )
        return after, Fact("disputed", {"dispute_id": self.dispute_id, "units": self._parties(order)}, self.reason)

    def _parties(self, order: WorkOrder) -> list[str]:
        lead = () if order.lead == order.centre else (order.lead,)
        return list(dict.fromkeys((*(entry.unit for entry in order.returns), *lead, *self.units)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCheck(Command):
    """The centre sends units to look at the place; the ruling clock runs on."""

    action: ClassVar[str] = "check"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPUTED})
    parts: ClassVar[frozenset[Part]] = CENTRE
    check_id: str
    units: tuple[str, ...]
    question: str

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return f"A dispute has at most {MOST_CHECKS} on-site checks." if len(order.checks) >= MOST_CHECKS else None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        return None if self.units else "Name the units that are to look."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        check = SiteCheck(self.check_id, self.units, self.question, actor.name, at)
        fields = {"dispute_id": order.dispute_id, "check_id": self.check_id, "units": [*self.units]}
        return replace(order, checks=(*order.checks, check)), Fact("check_ordered", fields, self.question)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCheck(Command):
    """What was found, by a unit that was sent (`unit`), or written down by the centre (None)."""

    action: ClassVar[str] = "record"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPUTED})
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHECKER, Part.CENTRE})
    check_id: str
    unit: str | None
    checked_at: datetime
    finding: str
    evidence: tuple[str, ...] = ()

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return None if order.checking else "No on-site check is open."

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        check = next((check for check in order.checks if check.id == self.check_id), None)
        if check is None or check.state != "open":
            return "This on-site check is recorded already, or the dispute has none of this id."
        if self.unit is not None and self.unit not in check.units:
            return f"{self.unit} was not sent to this on-site check."
        if not check.ordered_at <= self.checked_at <= at:
            return f"checked_at must lie between {check.ordered_at.isoformat()}, when it was ordered, and now."
        return None if self.finding.strip() else "A check says what was found; finding is empty."

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        checks = tuple(
            replace(
                check,
                state="recorded",
                unit=self.unit,
                recorded_by=actor.name,
                checked_at=self.checked_at,
                finding=self.finding,
                evidence=self.evidence,
            )
            if check.id == self.check_id
            else check
            for check in order.checks
        )
        fields = {
            "dispute_id": order.dispute_id,
            "check_id": self.check_id,
            "unit": self.unit,
            "checked_at": self.checked_at,
            "evidence": [*self.evidence],
        }
        return replace(order, checks=checks), Fact("check_recorded", fields, self.finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveRuling(Command):
    """The centre's binding decision. The order is pending for the `DispatchRuled` that follows at once."""

    action: ClassVar[str] = "ruling"
    sources: ClassVar[frozenset[Status]] = frozenset({Status.DISPUTED})
    parts: ClassVar[frozenset[Part]] = CENTRE
    scope: str
    reason: str

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        after = replace(
            order, status=Status.PENDING, dispute_id=None, disputed_at=None, checks=order.checks_ended, ruling=None
        )
        return after, Fact("ruled", {"dispute_id": order.dispute_id, "scope": self.scope}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRuled(Command):
    """The order goes to whom the ruling names."""

    sources: ClassVar[frozenset[Status]] = frozenset({Status.PENDING})
    parts: ClassVar[frozenset[Part]] = CENTRE
    ruling: Ruling
    return_until: datetime
    answer: RuleAnswer

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        ruling = self.ruling
        after = replace(
            with_lead(order, "ruling", ruling.lead, ruling.co_handlers, self.return_until, at),
            ruled_lead=ruling.lead,
            ruling=ruling,
            decision=(*order.decision, self.answer),
        )
        return after, Fact("dispatched", {"cause": "ruling"}, ruling.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestRuling(Command):
    """A unit that the ruling gave work to appeals against it, once, in time; it stays binding until the decision."""

    action: ClassVar[str] = "contest"
    sources: ClassVar[frozenset[Status]] = frozenset(
        {Status.DISPATCHED, Status.ACCEPTED, Status.REOPENED, Status.SUSPENDED}
    )
    parts: ClassVar[frozenset[Part]] = frozenset({Part.LEAD, Part.HELPER})
    reason: str
    evidence: tuple[str, ...] = ()

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        ruling = order.ruling
        if ruling is None or order.ruled_lead is None:
            return "No ruling is in force."
        if ruling.lead == order.centre:
            return "The ruling gave it to the centre itself."
        if ruling.contest is not None:
            return "The ruling was contested before; that is possible once."
        if ruling.contest_until is None or at > ruling.contest_until:
            until = f" on {ruling.contest_until.isoformat()}" if ruling.contest_until else ""
            return f"The time for contesting the ruling ended{until}."
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        assert order.ruling is not None, "obstacle() lets no order without a ruling pass"
        contest = Contest(actor.name, at, self.reason, self.evidence)
        fields = {"dispute_id": order.ruling.dispute_id, "evidence": [*self.evidence]}
        return replace(order, ruling=replace(order.ruling, contest=contest)), Fact(
            "ruling_contested", fields, self.reason
        )


class _DecidingContest(Command):
    """One level above the ruling; also when the order was completed meanwhile."""

    __slots__ = ()
    sources: ClassVar[frozenset[Status]] = ContestRuling.sources | {Status.COMPLETED}
    parts: ClassVar[frozenset[Part]] = frozenset({Part.ABOVE})

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        return None if order.ruling is not None and order.ruling.contested else "No contested ruling waits here."


@dataclass(frozen=True, slots=True, kw_only=True)
class UpholdRuling(_DecidingContest):
    action: ClassVar[str] = "decision"
    reason: str

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        ruling = decided(order, "upheld", self.reason, actor, at)
        return replace(order, ruling=ruling), Fact("ruling_upheld", {"dispute_id": ruling.dispute_id}, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRuling(_DecidingContest):
    """Another ruling takes its place and is final. An order that is not completed is pending for the `DispatchRuled`
    that follows at once (a suspended one is resumed before); of a completed one only what holds "from now on"
    changes."""

    sources: ClassVar[frozenset[Status]] = _DecidingContest.sources - {Status.SUSPENDED}
    ruling: Ruling
    """the new one, with the contest that it decides"""

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        fact = Fact(
            "ruling_changed",
            {"dispute_id": self.ruling.dispute_id, "scope": self.ruling.scope, "lead": self.ruling.lead},
            self.ruling.reason,
        )
        if order.status not in UNFINISHED:
            return replace(order, ruling=self.ruling), fact
        after = replace(
            order,
            status=Status.PENDING,
            lead=order.centre,
            approval=None,
            ruled_lead=None,
            ruling=self.ruling,
        )
        return after, fact


def decided(order: WorkOrder, state: str, reason: str, actor: Actor, at: datetime) -> Ruling:
    """The ruling of an order with its contest decided."""
    assert order.ruling is not None, "only a contested ruling is decided about"
    assert order.ruling.contest is not None, "only a contested ruling is decided about"
    contest = replace(order.ruling.contest, state=state, decided_by=actor.name, decided_at=at, decision=reason)
    return replace(order.ruling, contest=contest, contest_until=None)
