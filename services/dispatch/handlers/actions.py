"""What people do with work orders: the actions of api.md, disputes, and decisions on approvals."""

from collections.abc import Sequence
from typing import Any

from services.dispatch import repository
from services.dispatch.book import Book, Trail, present
from services.dispatch.desk import NAMES_AGE_S, RoutingDesk
from services.dispatch.domain.commands import Approve, Dispatch, Reject, ReturnOrder, Split
from services.dispatch.domain.machine import allowed_actions, following, preceding
from services.dispatch.domain.work_order import SYSTEM, Actor, WorkOrder
from services.dispatch.events import view
from services.dispatch.handlers.act import Act, Batch, Ended, actor_of, sees, too_late
from services.dispatch.handlers.action_table import ACTIONS, Setting
from services.dispatch.handlers.disputes import Disputes
from services.dispatch.handlers.registers import yesterday
from services.dispatch.schemas import NoteBody
from shared.db import audit
from shared.errors import Problem, not_found, stale
from shared.ids import is_id, uuid7
from shared.outbox.uow import Uow
from shared.redaction import clean


class Actions:
    """The handler of the queue through which every command on an order goes."""

    def __init__(self, desk: RoutingDesk) -> None:
        self.desk = desk
        self.disputes = Disputes(desk)

    async def act(self, commands: Sequence[Act], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Answers each command with the work order after it, or with the problem that left it as it was."""
        routes = any(command.routes for command in commands)
        await self.desk.refresh(uow.pg, 0.0 if routes else NAMES_AGE_S)
        batch = Batch(Book(uow, self.desk), uow.clock.now())
        orders = await self._targets(commands, uow)
        await batch.book.lock(found for found in orders if found)
        returned = [key for command, key in zip(commands, orders, strict=True) if key and command.action == "return"]
        if returned:
            batch.cases = await repository.cases_of_orders(uow.pg, returned)
        named = [one for command in commands for one in getattr(command.body, "evidence", None) or () if is_id(one)]
        if named:
            batch.files = await repository.appeals_of_files(uow.pg, named)
        answers: list[dict[str, Any] | Problem] = []
        for command, order_id in zip(commands, orders, strict=True):
            try:
                answers.append(self._answer(command, order_id, batch))
            except Problem as problem:
                answers.append(problem)
        await batch.book.save()
        for change in batch.duties:
            if isinstance(change, Ended):
                await repository.end_duties(uow.pg, yesterday(batch.at), source=change.source)
            else:
                await repository.add_duties(uow.pg, [change.duty], change.by, batch.at)
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

    def _answer(self, command: Act, order_id: str | None, batch: Batch) -> dict[str, Any]:
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
            case NoteBody() as body if command.target == "approval":
                self._decide_approval(trail, command, body, actor, batch)
            case _ if command.target == "work order" and command.action in ACTIONS:
                self._step(trail, command, actor, batch)
            case _:
                self.disputes.act(command, trail, actor, batch, self._setting(order, batch))
        after = batch.book.take(trail)
        shown = view(after, self.desk.platform, self.desk.units, lamp=batch.book.lamps[after.id].lamp)
        return shown | {"actions": list(allowed_actions(after, actor, batch.at))}

    def _setting(self, order: WorkOrder, batch: Batch) -> Setting:
        return Setting(order, batch.at, batch.book.lamps[order.id].complete_due_at, self.desk, batch.files)

    def _step(self, trail: Trail, command: Act, actor: Actor, batch: Batch) -> None:
        wanted = ACTIONS[command.action].make(command.body, self._setting(trail.order, batch))
        if (first := preceding(trail.order, wanted)) is not None:
            trail.step(first, actor, batch.at)
        trail.step(wanted, actor, batch.at)
        if isinstance(wanted, Split):
            for part in wanted.into:
                batch.book.open_part(trail.order, part, wanted, actor, batch.at)
        if isinstance(wanted, ReturnOrder):
            then = following(
                trail.order, uuid7(), self.desk.units.name, lambda order: self._dispatch_again(order, batch)
            )
            if then is not None:
                trail.step(then, SYSTEM, batch.at)

    def _dispatch_again(self, order: WorkOrder, batch: Batch) -> Dispatch:
        known = next((case.appeal for case in batch.cases.get(order.id, []) if case.appeal), None)
        case = order.as_case(known.text, known.came_by) if known else order.as_case()
        return self.desk.dispatch(case, batch.at, "return", without=order.returned_by)

    def _decide_approval(self, trail: Trail, command: Act, body: NoteBody, actor: Actor, batch: Batch) -> None:
        order, note = trail.order, clean(body.note)
        if order.approval is None or order.approval.id != command.id:
            raise too_late("This request is decided already.", order, actor, batch.at)
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
