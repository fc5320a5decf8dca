"""What people do with work orders: the actions of api.md, rulings, and decisions on approvals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.dispatch import repository
from services.dispatch.book import Book, Trail, present
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.case import Case
from services.dispatch.domain.command import Command
from services.dispatch.domain.commands import (
    Accept,
    AddCoHandlers,
    Approve,
    Complete,
    Contact,
    Dispatch,
    DispatchRuled,
    Extend,
    OpenDispute,
    Progress,
    Reject,
    Resume,
    ReturnOrder,
    Rule,
    Suspend,
    Transfer,
)
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.machine import allowed_actions
from services.dispatch.domain.routing import Outcome, RuleAnswer
from services.dispatch.domain.work_order import SYSTEM, Actor, ReturnReason, Status, WorkOrder
from services.dispatch.events import view
from services.dispatch.repository import KnownCase
from shared.clock import ZONE
from shared.db import audit
from shared.errors import Problem, invalid, not_found, stale
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.redaction import redact
from shared.security.principal import Principal

ROUTING = frozenset({"return", "transfer", "co-handlers", "ruling"})
"""what needs the units in force now, not only their names"""


@dataclass(frozen=True, slots=True)
class Act:
    """One command through HTTP. `target` is `work order`, `dispute` or `approval`, named by `id`.

    `body` holds the validated fields; `version` is that of `If-Match`, None without one.
    """

    id: str
    action: str
    body: Mapping[str, Any]
    who: Principal
    target: str = "work order"
    version: int | None = None


def actor_of(who: Principal) -> Actor:
    """In which parts a principal may act: handlers and supervisors for their units, people without units or regions for
    the centre, admin everywhere."""
    unlimited = not who.units and not who.regions
    return Actor(
        who.actor,
        units=who.units if who.has("handler", "supervisor") else frozenset(),
        head="supervisor" in who.roles,
        centre=unlimited and not who.roles.isdisjoint({"seat", "supervisor", "leader"}),
        everywhere="admin" in who.roles,
    )


def sees(who: Principal, order: WorkOrder) -> bool:
    """Row scope: region × unit; a handler sees orders that his units lead or help with."""
    return who.sees_region(order.region_code) and who.sees_unit(order.lead, *order.co_handlers)


def clean(words: str | None) -> str | None:
    """What a person typed goes into events: personal data is taken out first."""
    return redact(words).text if words else words


@dataclass(slots=True)
class _Table:
    """What a batch of actions needs beside the orders."""

    book: Book
    at: datetime
    cases: dict[str, list[KnownCase]] = field(default_factory=dict)
    duties: list[tuple[Duty, str]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)


class Actions:
    """The handler of the one queue through which every command on an order goes."""

    def __init__(self, desk: RoutingDesk) -> None:
        self.desk = desk

    async def act(self, commands: Sequence[Act], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Answers each command with the work order after it, or with the problem that left it as it was."""
        routes = any(command.action in ROUTING for command in commands)
        await self.desk.refresh(uow.pg, 0.0 if routes else NAMES_AGE_S)
        table = _Table(Book(uow, self.desk), uow.clock.now())
        orders = await self._targets(commands, uow)
        ids = [found for found in orders if found]
        await table.book.lock(ids)
        if any(command.action == "return" for command in commands):
            table.cases = await repository.cases_of_orders(uow.pg, ids)
        answers: list[dict[str, Any] | Problem] = []
        for command, order_id in zip(commands, orders, strict=True):
            try:
                answers.append(self._answer(command, order_id, table))
            except Problem as problem:
                answers.append(problem)
        await table.book.save()
        for duty, by in table.duties:
            await repository.add_duties(uow.pg, [duty], by, table.at)
        for entry in table.audits:
            await audit.record(uow, **entry)
        return answers

    async def _targets(self, commands: Sequence[Act], uow: Uow) -> list[str | None]:
        """The order of each command; None when its dispute or approval is unknown."""
        named: dict[str, dict[str, tuple[str, str]]] = {}
        for target, name in (("dispute", "disputes"), ("approval", "approvals")):
            ids = [command.id for command in commands if command.target == target]
            named[target] = await repository.orders_of(uow.pg, name, ids) if ids else {}
        return [
            command.id if command.target == "work order" else named[command.target].get(command.id, (None, ""))[0]
            for command in commands
        ]

    def _answer(self, command: Act, order_id: str | None, table: _Table) -> dict[str, Any]:
        order = table.book.orders.get(order_id or "")
        if order is None or not sees(command.who, order):
            raise not_found(f"The {command.target} {command.id}")
        if command.version is not None and command.version != order.version:
            problem = stale(order.version)
            problem.extra["present"] = present(order)
            raise problem
        actor = actor_of(command.who)
        trail = table.book.trail(order.id)
        match command.target:
            case "dispute":
                self._rule(trail, command, actor, table)
            case "approval":
                self._decide_approval(trail, command, actor, table)
            case _:
                self._step(trail, command, actor, table)
        after = table.book.take(trail)
        return view(after, self.desk.units, lamp=table.book.lamps[after.id].lamp) | {
            "actions": list(allowed_actions(after, actor, table.at))
        }

    def _step(self, trail: Trail, command: Act, actor: Actor, table: _Table) -> None:
        order, at, body = trail.order, table.at, command.body
        if command.action == "transfer" and order.status is Status.DISPUTED:
            # the centre's transfer of a disputed order decides the dispute
            trail.step(Rule(scope="case", reason=clean(body["reason"]) or ""), actor, at)
        trail.step(self._command(command, order, table), actor, at)
        if command.action == "return" and trail.order.status is Status.PENDING:
            if trail.order.must_be_ruled:
                units = dict.fromkeys(self.desk.units.name(entry.unit) for entry in trail.order.returns)
                reason = f"多次退单或相互推荐：{'、'.join(units)}"
                trail.step(OpenDispute(dispute_id=uuid7(), reason=reason), SYSTEM, at)
            else:
                self._dispatch_again(trail, table)

    def _dispatch_again(self, trail: Trail, table: _Table) -> None:
        """The chain runs at once without the units that returned the order (domain.md, Return)."""
        order, at = trail.order, table.at
        known = next((case.appeal for case in table.cases.get(order.id, []) if case.appeal), None)
        case = Case(
            appeal_id=order.appeal_ids[0],
            matter=order.matter,
            handling_class=order.handling_class,
            received_at=order.received_at,
            taken_at=order.taken_at,
            kind=order.kind,
            region_code=order.region_code,
            channel=order.channel,
            tags=frozenset(order.tags),
            groups=frozenset(order.reporter_groups),
            text=known.text if known else "",
        )
        decision = self.desk.decide(case, at, order.returned_by)
        dispatch = Dispatch(
            decision=decision,
            cause="return",
            return_until=self.desk.return_until(decision.handling_class, at),
            handoff_id=uuid7() if decision.platform else "",
        )
        trail.step(dispatch, SYSTEM, at)

    def _command(self, command: Act, order: WorkOrder, table: _Table) -> Command:
        body = command.body
        note = clean(body.get("note"))
        match command.action:
            case "accept":
                return Accept(note=note)
            case "contact":
                return Contact(note=note)
            case "progress":
                return Progress(note=note)
            case "complete":
                evidence = tuple(clean(entry) or "" for entry in body.get("evidence") or ())
                return Complete(result=clean(body["result"]) or "", solved=body["solved"], evidence=evidence)
            case "return":
                suggested = body.get("suggested_unit")
                if suggested is not None:
                    self._unit(suggested, "/suggested_unit")
                return ReturnOrder(reason=ReturnReason(body["reason"]), suggested_unit=suggested, note=note)
            case "suspend":
                return Suspend(
                    approval_id=uuid7(),
                    reason=clean(body["reason"]) or "",
                    days=body["days"],
                    evidence=tuple(clean(entry) or "" for entry in body.get("evidence") or ()),
                )
            case "extend":
                due_at = table.book.lamps[order.id].complete_due_at
                reason = clean(body["reason"]) or ""
                return Extend(approval_id=uuid7(), seconds=body["seconds"], reason=reason, due_at=due_at)
            case "resume":
                return Resume(note=note)
            case "co-handlers":
                for index, code in enumerate(body["units"]):
                    self._unit(code, f"/units/{index}")
                return AddCoHandlers(units=tuple(body["units"]))
            case "transfer":
                self._unit(body["lead"], "/lead")
                until = self.desk.return_until(order.handling_class, table.at)
                return Transfer(lead=body["lead"], reason=clean(body["reason"]) or "", return_until=until)
        raise not_found(f"The action {command.action}")

    def _unit(self, code: str, pointer: str) -> None:
        if not self.desk.accountable(code):
            raise invalid(pointer, f"{code!r} is no unit that can handle orders; GET /v1/units lists them")

    def _rule(self, trail: Trail, command: Act, actor: Actor, table: _Table) -> None:
        order, at, body = trail.order, table.at, command.body
        self._unit(body["lead"], "/lead")
        helpers = tuple(body.get("co_handlers") or ())
        for index, code in enumerate(helpers):
            self._unit(code, f"/co_handlers/{index}")
        if order.dispute_id != command.id:
            raise Problem(
                409,
                "invalid_transition",
                "The dispute is settled already.",
                actions=list(allowed_actions(order, actor, at)),
                present=present(order),
            )
        reason = clean(body["reason"]) or ""
        trail.step(Rule(scope=body["scope"], reason=reason), actor, at)
        lead = self.desk.units.name(body["lead"])
        dispatch = DispatchRuled(
            lead=body["lead"],
            co_handlers=helpers,
            reason=reason,
            return_until=self.desk.return_until(order.handling_class, at),
            answer=RuleAnswer("ruling", Outcome.CHOSEN, f"经裁定由{lead}承办：{reason}"),
        )
        trail.step(dispatch, actor, at)
        if body["scope"] == "matter_territory":
            duty = Duty(
                id=uuid7(),
                kind=DutyKind.DUTY,
                matter=order.matter,
                region_code=self._territory(order.region_code),
                lead=body["lead"],
                co_handlers=helpers,
                valid_from=at.astimezone(ZONE).date(),
                source=f"ruling:{command.id}",
                note=reason,
            )
            table.duties.append((duty, actor.name))
        table.audits.append(
            {
                "actor": actor.name,
                "action": "ruling",
                "subject": order.id,
                "reason": reason,
                "detail": {"dispute": command.id, "lead": body["lead"], "scope": body["scope"]},
            }
        )

    def _territory(self, region: str) -> str:
        """A ruling holds for the township of the case, not for one community of it."""
        place = self.desk.regions.get(region)
        if place is not None and place.level <= 4:
            return region
        return next(iter(self.desk.regions.ancestors(region)), region)

    def _decide_approval(self, trail: Trail, command: Act, actor: Actor, table: _Table) -> None:
        order = trail.order
        if order.approval is None or order.approval.id != command.id:
            raise Problem(
                409,
                "invalid_transition",
                "This request is decided already.",
                actions=list(allowed_actions(order, actor, table.at)),
                present=present(order),
            )
        note = clean(command.body.get("note"))
        approving = command.action == "approve"
        trail.step(Approve(note=note) if approving else Reject(note=note), actor, table.at)
        table.audits.append(
            {
                "actor": actor.name,
                "action": f"{order.approval.kind}_{'approved' if approving else 'rejected'}",
                "subject": order.id,
                "reason": note,
                "detail": {"approval": command.id, "seconds": order.approval.seconds},
            }
        )
