"""What people do with work orders: the actions of api.md, rulings, and decisions on approvals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.dispatch import repository
from services.dispatch.book import Book, Trail, present
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.commands import Approve, Dispatch, DispatchRuled, GiveRuling, Reject, ReturnOrder, Split
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.machine import allowed_actions, following, preceding
from services.dispatch.domain.routing import Outcome, RuleAnswer
from services.dispatch.domain.work_order import SYSTEM, Actor, WorkOrder
from services.dispatch.events import view
from services.dispatch.handlers.action_table import ACTIONS, Setting
from services.dispatch.known import KnownCase
from services.dispatch.schemas import NoteBody, RulingBody
from shared.clock import ZONE
from shared.db import audit
from shared.errors import Problem, not_found, stale
from shared.http.bodies import Body
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.redaction import clean
from shared.security.principal import Principal


@dataclass(frozen=True, slots=True)
class Act:
    """One command through HTTP. `target` is `work order`, `dispute` or `approval`, named by `id`.

    `action` is a name of `ACTIONS`, `ruling`, `approve` or `reject`; `version` that of `If-Match`, None without one.
    """

    id: str
    action: str
    body: Body
    who: Principal
    target: str = "work order"
    version: int | None = None

    @property
    def routes(self) -> bool:
        """Whether it needs the units in force at this moment, not only their names."""
        return self.target == "dispute" or (self.target == "work order" and ACTIONS[self.action].routes)


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


@dataclass(slots=True)
class _Batch:
    """What a batch of acts needs beside the orders, and what it leaves to be written."""

    book: Book
    at: datetime
    cases: dict[str, list[KnownCase]] = field(default_factory=dict)
    duties: list[tuple[Duty, str]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)


class Actions:
    """The handler of the queue through which every command on an order goes."""

    def __init__(self, desk: RoutingDesk) -> None:
        self.desk = desk

    async def act(self, commands: Sequence[Act], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Answers each command with the work order after it, or with the problem that left it as it was."""
        routes = any(command.routes for command in commands)
        await self.desk.refresh(uow.pg, 0.0 if routes else NAMES_AGE_S)
        batch = _Batch(Book(uow, self.desk), uow.clock.now())
        orders = await self._targets(commands, uow)
        await batch.book.lock(found for found in orders if found)
        returned = [key for command, key in zip(commands, orders, strict=True) if key and command.action == "return"]
        if returned:
            batch.cases = await repository.cases_of_orders(uow.pg, returned)
        answers: list[dict[str, Any] | Problem] = []
        for command, order_id in zip(commands, orders, strict=True):
            try:
                answers.append(self._answer(command, order_id, batch))
            except Problem as problem:
                answers.append(problem)
        await batch.book.save()
        for duty, by in batch.duties:
            await repository.add_duties(uow.pg, [duty], by, batch.at)
        for entry in batch.audits:
            await audit.record(uow, **entry)
        return answers

    async def _targets(self, commands: Sequence[Act], uow: Uow) -> list[str | None]:
        """The order of each command; None when its dispute or approval is unknown."""
        named: dict[str, dict[str, str]] = {}
        for target in ("dispute", "approval"):
            ids = [command.id for command in commands if command.target == target]
            named[target] = await repository.orders_of(uow.pg, target, ids) if ids else {}
        return [
            command.id if command.target == "work order" else named[command.target].get(command.id)
            for command in commands
        ]

    def _answer(self, command: Act, order_id: str | None, batch: _Batch) -> dict[str, Any]:
        order = batch.book.orders.get(order_id or "")
        if order is None or not sees(command.who, order):
            raise not_found(f"The {command.target} {command.id}")
        if command.version is not None and command.version != order.version:
            problem = stale(order.version)
            problem.extra["present"] = present(order)
            raise problem
        actor = actor_of(command.who)
        trail = batch.book.trail(order.id)
        match command.body:
            case RulingBody() as body:
                self._rule(trail, command.id, body, actor, batch)
            case NoteBody() as body if command.target == "approval":
                self._decide_approval(trail, command, body, actor, batch)
            case _:
                self._step(trail, command, actor, batch)
        after = batch.book.take(trail)
        shown = view(after, self.desk.platform, self.desk.units, lamp=batch.book.lamps[after.id].lamp)
        return shown | {"actions": list(allowed_actions(after, actor, batch.at))}

    def _setting(self, order: WorkOrder, batch: _Batch) -> Setting:
        return Setting(order, batch.at, batch.book.lamps[order.id].complete_due_at, self.desk)

    def _step(self, trail: Trail, command: Act, actor: Actor, batch: _Batch) -> None:
        wanted = ACTIONS[command.action].make(command.body, self._setting(trail.order, batch))
        if (first := preceding(trail.order, wanted)) is not None:
            trail.step(first, actor, batch.at)
        trail.step(wanted, actor, batch.at)
        if isinstance(wanted, Split):
            for part in wanted.into:
                batch.book.open_part(trail.order, part, wanted.allowed_s.get(part.id), actor, batch.at)
        if isinstance(wanted, ReturnOrder):
            then = following(
                trail.order, uuid7(), self.desk.units.name, lambda order: self._dispatch_again(order, batch)
            )
            if then is not None:
                trail.step(then, SYSTEM, batch.at)

    def _dispatch_again(self, order: WorkOrder, batch: _Batch) -> Dispatch:
        known = next((case.appeal for case in batch.cases.get(order.id, []) if case.appeal), None)
        case = order.as_case(known.text, known.came_by) if known else order.as_case()
        return self.desk.dispatch(case, batch.at, "return", without=order.returned_by)

    def _rule(self, trail: Trail, dispute_id: str, body: RulingBody, actor: Actor, batch: _Batch) -> None:
        order, at, reason = trail.order, batch.at, clean(body.reason)
        setting = self._setting(order, batch)
        lead = setting.unit(body.lead, "/lead")
        helpers = setting.units(body.co_handlers or (), "/co_handlers")
        if order.dispute_id != dispute_id:
            raise _too_late("The dispute is settled already.", order, actor, at)
        trail.step(GiveRuling(scope=body.scope, reason=reason), actor, at)
        words = f"经裁定由{self.desk.units.name(lead)}承办：{reason}"
        dispatch = DispatchRuled(
            lead=lead,
            co_handlers=helpers,
            reason=reason,
            return_until=setting.return_until,
            answer=RuleAnswer("ruling", Outcome.CHOSEN, words),
        )
        trail.step(dispatch, actor, at)
        if body.scope == "matter_territory":
            duty = Duty(
                id=uuid7(),
                kind=DutyKind.DUTY,
                matter=order.matter,
                region_code=self._territory(order.region_code),
                lead=lead,
                co_handlers=helpers,
                valid_from=at.astimezone(ZONE).date(),
                source=f"ruling:{dispute_id}",
                note=reason,
            )
            batch.duties.append((duty, actor.name))
        detail = {"dispute": dispute_id, "lead": lead, "scope": body.scope}
        batch.audits.append(
            {"actor": actor.name, "action": "ruling", "subject": order.id, "reason": reason, "detail": detail}
        )

    def _territory(self, region: str) -> str:
        """A ruling holds for the township of the case, not for one community of it."""
        place = self.desk.regions.get(region)
        if place is not None and place.level <= 4:
            return region
        return next(iter(self.desk.regions.ancestors(region)), region)

    def _decide_approval(self, trail: Trail, command: Act, body: NoteBody, actor: Actor, batch: _Batch) -> None:
        order, note = trail.order, clean(body.note)
        if order.approval is None or order.approval.id != command.id:
            raise _too_late("This request is decided already.", order, actor, batch.at)
        approving = command.action == "approve"
        trail.step(Approve(note=note) if approving else Reject(note=note), actor, batch.at)
        batch.audits.append(
            {
                "actor": actor.name,
                "action": f"{order.approval.kind}_{'approved' if approving else 'rejected'}",
                "subject": order.id,
                "reason": note,
                "detail": {"approval": command.id, "seconds": order.approval.seconds},
            }
        )


def _too_late(detail: str, order: WorkOrder, actor: Actor, at: datetime) -> Problem:
    allowed = list(allowed_actions(order, actor, at))
    return Problem(409, "invalid_transition", detail, actions=allowed, present=present(order))
