"""What people do with 派单争议: open one, send units to look, rule, appeal against a ruling, decide about that."""

from collections.abc import Sequence
from datetime import datetime

from services.dispatch.book import Trail
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.commands import (
    ChangeRuling,
    ContestRuling,
    DispatchRuled,
    GiveRuling,
    OpenDispute,
    OrderCheck,
    RecordCheck,
    UpholdRuling,
    decided,
)
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.machine import preceding
from services.dispatch.domain.routing import Outcome, RuleAnswer
from services.dispatch.domain.work_order import Actor, Ruling, SiteCheck, Status, WorkOrder
from services.dispatch.handlers.act import Act, Added, Batch, Ended, too_late
from services.dispatch.handlers.action_table import Setting
from services.dispatch.schemas import (
    CheckBody,
    CheckRecordBody,
    ContestBody,
    ContestDecisionBody,
    DisputeBody,
    RulingBody,
)
from shared.clock import ZONE
from shared.errors import invalid
from shared.ids import uuid7
from shared.redaction import clean


class Disputes:
    """Each method takes the order's trail and leaves in `batch` what is to be written beside it."""

    def __init__(self, desk: RoutingDesk) -> None:
        self.desk = desk

    def act(self, command: Act, trail: Trail, actor: Actor, batch: Batch, setting: Setting) -> None:
        """Raises Problem for what is refused."""
        match command.body:
            case DisputeBody() as body:
                units = setting.units(body.units, "/units")
                opened = OpenDispute(dispute_id=uuid7(), reason=clean(body.reason), units=units)
                trail.step(opened, actor, batch.at)
            case CheckBody() as body:
                _of_dispute(command, trail.order, actor, batch.at)
                units = tuple(dict.fromkeys(setting.units(body.units, "/units")))
                order = OrderCheck(check_id=uuid7(), units=units, question=clean(body.question))
                trail.step(order, actor, batch.at)
            case CheckRecordBody() as body:
                _of_dispute(command, trail.order, actor, batch.at)
                trail.step(_record(command.part, body, actor, setting), actor, batch.at)
            case RulingBody() as body:
                _of_dispute(command, trail.order, actor, batch.at)
                self._rule(trail, body, actor, batch, setting)
            case ContestBody() as body:
                _of_ruling(command, trail.order, actor, batch.at)
                contest = ContestRuling(reason=clean(body.reason), evidence=setting.evidence(body.evidence))
                trail.step(contest, actor, batch.at)
                _audit(batch, "ruling_contested", trail.order, actor, contest.reason, {"dispute": command.id})
            case ContestDecisionBody() as body:
                _of_ruling(command, trail.order, actor, batch.at)
                self._decide(trail, body, actor, batch, setting)

    def _rule(self, trail: Trail, body: RulingBody, actor: Actor, batch: Batch, setting: Setting) -> None:
        order, at = trail.order, batch.at
        ruling = Ruling(
            dispute_id=order.dispute_id or "",
            lead=setting.unit(body.lead, "/lead"),
            co_handlers=setting.units(body.co_handlers or (), "/co_handlers"),
            scope=body.scope,
            reason=clean(body.reason),
            by=actor.name,
            at=at,
            contest_until=self.desk.contest_until(order.handling_class, at),
        )
        trail.step(GiveRuling(scope=ruling.scope, reason=ruling.reason), actor, at)
        words = f"经裁定由{self.desk.units.name(ruling.lead)}承办：{ruling.reason}{self._found(order.checks)}"
        self._dispatch(trail, ruling, words, actor, batch, setting)
        detail = {"dispute": ruling.dispute_id, "lead": ruling.lead, "scope": ruling.scope}
        _audit(batch, "ruling", order, actor, ruling.reason, detail)

    def _decide(self, trail: Trail, body: ContestDecisionBody, actor: Actor, batch: Batch, setting: Setting) -> None:
        order, at, reason = trail.order, batch.at, clean(body.reason)
        before = order.ruling
        assert before is not None, "_of_ruling() lets no order without a ruling pass"
        detail = {"dispute": before.dispute_id, "outcome": body.outcome}
        if body.outcome == "upheld":
            trail.step(UpholdRuling(reason=reason), actor, at)
            _audit(batch, "contest_decided", order, actor, reason, detail)
            return
        if body.lead is None or body.scope is None:
            missing = "/lead" if body.lead is None else "/scope"
            raise invalid(missing, "is needed: say who is to do it, and for which cases")
        ruling = Ruling(
            dispute_id=before.dispute_id,
            lead=setting.unit(body.lead, "/lead"),
            co_handlers=setting.units(body.co_handlers or (), "/co_handlers"),
            scope=body.scope,
            reason=reason,
            by=actor.name,
            at=at,
            contest=decided(order, "changed", reason, actor, at).contest if before.contested else None,
        )
        if (ruling.lead, ruling.co_handlers, ruling.scope) == (before.lead, before.co_handlers, before.scope):
            raise invalid("/lead", "is the ruling as it was; to leave it so, send the outcome upheld")
        change = ChangeRuling(ruling=ruling)
        if (first := preceding(order, change)) is not None:
            trail.step(first, actor, at)
        trail.step(change, actor, at)
        batch.duties.append(Ended(_source(ruling)))
        if trail.order.status is Status.PENDING:
            words = f"上一级复核改变裁定，由{self.desk.units.name(ruling.lead)}承办：{reason}"
            self._dispatch(trail, ruling, words, actor, batch, setting)
        else:
            self._from_now_on(order, ruling, actor, batch)
        _audit(batch, "contest_decided", order, actor, reason, detail | {"lead": ruling.lead, "scope": ruling.scope})

    def _dispatch(self, trail: Trail, ruling: Ruling, words: str, actor: Actor, batch: Batch, setting: Setting) -> None:
        answer = RuleAnswer("ruling", Outcome.CHOSEN, words)
        trail.step(DispatchRuled(ruling=ruling, return_until=setting.return_until, answer=answer), actor, batch.at)
        self._from_now_on(trail.order, ruling, actor, batch)

    def _from_now_on(self, order: WorkOrder, ruling: Ruling, actor: Actor, batch: Batch) -> None:
        """A ruling for matter and territory is an entry of the duty list from this day on (domain.md, Ruling)."""
        if ruling.scope != "matter_territory":
            return
        duty = Duty(
            id=uuid7(),
            kind=DutyKind.DUTY,
            matter=order.matter,
            region_code=self._territory(order.region_code),
            lead=ruling.lead,
            co_handlers=ruling.co_handlers,
            valid_from=batch.at.astimezone(ZONE).date(),
            source=_source(ruling),
            note=ruling.reason,
        )
        batch.duties.append(Added(duty, actor.name))

    def _territory(self, region: str) -> str:
        """A ruling holds for the township of the case, not for one community of it."""
        place = self.desk.regions.get(region)
        if place is not None and place.level <= 4:
            return region
        return next(iter(self.desk.regions.ancestors(region)), region)

    def _found(self, checks: Sequence[SiteCheck]) -> str:
        """What was found on the spot, for the reason that a citizen may read."""
        found = [
            f"{check.checked_at.astimezone(ZONE):%Y年%m月%d日}"
            f"{self.desk.units.name(check.unit) if check.unit else '中心'}现场核查：{check.finding}"
            for check in checks
            if check.checked_at is not None
        ]
        return f"（{'；'.join(found)}）" if found else ""


def _of_dispute(command: Act, order: WorkOrder, actor: Actor, at: datetime) -> None:
    if order.dispute_id != command.id:
        raise too_late("The dispute is settled already.", order, actor, at)


def _of_ruling(command: Act, order: WorkOrder, actor: Actor, at: datetime) -> None:
    if order.ruling is None or order.ruling.dispute_id != command.id:
        raise too_late("The dispute has no ruling in force.", order, actor, at)


def _source(ruling: Ruling) -> str:
    """Of the entries of the duty list that it leaves."""
    return f"ruling:{ruling.dispute_id}"


def _record(check_id: str, body: CheckRecordBody, actor: Actor, setting: Setting) -> RecordCheck:
    sent = next((check.units for check in setting.order.checks if check.id == check_id), ())
    own = sorted(actor.units.intersection(sent)) or sorted(actor.units)
    return RecordCheck(
        check_id=check_id,
        unit=None if actor.centre or actor.everywhere else next(iter(own), None),
        checked_at=body.checked_at or setting.at,
        finding=clean(body.finding),
        evidence=setting.evidence(body.evidence),
    )


def _audit(batch: Batch, action: str, order: WorkOrder, actor: Actor, reason: str, detail: dict[str, str]) -> None:
    batch.audits.append(
        {"actor": actor.name, "action": action, "subject": order.id, "reason": reason, "detail": detail}
    )
