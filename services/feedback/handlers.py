"""What feedback does: reacts to appeals and orders, to seats, citizens, units and the centre, and to its own timers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from services.feedback import judgements, repository
from services.feedback.commands import Command, Lease
from services.feedback.domain import (
    CallingHours,
    Change,
    Completion,
    Exclusion,
    Fact,
    FactKind,
    FalseCompletion,
    Method,
    Outcome,
    Refusal,
    Round,
    expire,
    open_round,
    rateable,
    stop,
)
from services.feedback.events import completion_of, event_of
from services.feedback.repository import Case
from services.feedback.signs import Signs
from shared.clock import rfc3339
from shared.db import audit
from shared.errors import Problem, not_found
from shared.events.catalog import appeals, work_orders
from shared.events.event import Message
from shared.outbox.uow import Timer, Uow
from shared.telemetry.tracing import current_traceparent

EXPIRY = "rating-expiry"

Step = Callable[[Case], Sequence[Fact]]
"""changes a locked case and says what happened"""


class Handlers:
    """The service's reactions and commands. All of them write in the caller's unit of work."""

    def __init__(self, hours: CallingHours) -> None:
        self.hours = hours
        self.signs = Signs(hours)

    async def on_appeals(self, batch: Sequence[Message[appeals.AppealEvent]], uow: Uow) -> None:
        """Remember how to ask each reporter; a withdrawn or declined appeal is asked no more."""
        known = {m.key: m.data.after for m in batch}
        rows = [
            (a.id, a.channel, a.reporter.groups, a.rating_token_sha256, a.reporter.pseudonym) for a in known.values()
        ]
        steps: list[tuple[str, Step]] = [(a, _ask_early) for a in await repository.remember_appeals(uow.pg, rows)]
        for message in batch:
            if isinstance(message.data, appeals.AppealWithdrawn):
                steps.append((message.key, _stopping(Outcome.WITHDRAWN, message)))
            elif isinstance(message.data, appeals.AppealDeclined):
                steps.append((message.key, _stopping(Outcome.DECLINED, message)))
        await self._apply(uow, steps)

    async def on_orders(self, batch: Sequence[Message[work_orders.WorkOrderEvent]], uow: Uow) -> None:
        """A completed order is asked about; a closed or cancelled one no more. Citizens know no parts of joint work:
        the lead of the whole gives them one answer, also when that is another platform's."""
        steps: list[tuple[str, Step]] = []
        for message in batch:
            order = message.data.after
            if order.task is not None:
                continue
            completed = _asking(completion_of(order, message.time))
            match message.data:
                case work_orders.WorkOrderCompleted():
                    steps += [(a, completed) for a in order.appeal_ids]
                case work_orders.WorkOrderAppealJoined(appeal_id=joined) if order.status == "completed":
                    steps.append((joined, completed))
                case work_orders.WorkOrderAppealParted(appeal_id=parted):
                    steps.append((parted, _stopping(Outcome.CANCELLED, message, order.id)))
                case work_orders.WorkOrderCancelled():
                    steps += [(a, _stopping(Outcome.CANCELLED, message, order.id)) for a in order.appeal_ids]
                case work_orders.WorkOrderClosed():
                    steps += [(a, _stopping(Outcome.ORDER_CLOSED, message, order.id)) for a in order.appeal_ids]
        await self._apply(uow, steps, create=True)

    async def on_expiry(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Links whose 15 days are over."""
        await self._apply(uow, [(t.payload["appeal_id"], _expiring(int(t.payload["round"]), t.due_at)) for t in timers])

    async def on_commands(self, commands: Sequence[Command], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Calls, ratings and decisions that arrived together: one lock, one write, each with its own answer."""
        tokens = [c.token for c in commands if c.token is not None]
        links = await repository.find_links(uow.pg, [hash_of(t) for t in tokens]) if tokens else {}
        places = [(c.appeal_id, 0) if c.token is None else links.get(hash_of(c.token), ("", 0)) for c in commands]
        found = await repository.lock(uow.pg, (appeal_id for appeal_id, _ in places if appeal_id))
        answers: list[dict[str, Any] | Problem] = []
        changed: dict[str, Case] = {}
        told: list[Fact] = []
        traces: list[str | None] = []
        devices: dict[str, str] = {}
        for command, (appeal_id, number) in zip(commands, places, strict=True):
            case = found.get(appeal_id)
            if case is None:
                answers.append(not_found("This appeal" if command.token is None else "This rating link"))
                continue
            try:
                told += _kept(case, command.rule(case, number, uow.clock.now()))
            except Problem as problem:
                answers.append(problem)
            except Refusal as refusal:
                answers.append(problem_of(refusal))
            else:
                changed[appeal_id] = case
                if command.device is not None:
                    devices[appeal_id] = command.device
                answers.append(command.answer(case))
            traces += [current_traceparent()] * (len(told) - len(traces))
        await self._write(uow, list(changed.values()), told, traces, devices)
        return answers

    async def on_leases(self, leases: Sequence[Lease], uow: Uow) -> list[dict[str, Any] | Problem]:
        """Seats that take call-backs together get different ones."""
        answers: list[dict[str, Any] | Problem] = []
        for wish in leases:
            taken = await repository.lease(
                uow.pg,
                wish.who,
                media=wish.media,
                due_by=uow.clock.now(),
                until=wish.until,
                now=wish.real_now,
                limit=wish.limit,
            )
            answers.append({"items": [wish.answer(case) for case in taken]})
        return answers

    async def open_rating(self, pg: Any, token: str, now: datetime) -> Round:
        """The round that a link opens now. Raises `Problem` as rating would."""
        hashed = hash_of(token)
        found = (await repository.find_links(pg, [hashed])).get(hashed)
        case = await repository.read(pg, found[0]) if found else None
        if found is None or case is None:
            raise not_found("This rating link")
        try:
            return rateable(case.feedback, found[1], now)
        except Refusal as refusal:
            raise problem_of(refusal) from refusal

    async def _apply(self, uow: Uow, steps: Sequence[tuple[str, Step]], *, create: bool = False) -> None:
        """Run the steps over their cases, in order, and write every changed case once."""
        if not steps:
            return
        found = await repository.lock(uow.pg, (appeal_id for appeal_id, _ in steps), create=create)
        before = {appeal_id: (case.feedback, list(case.early)) for appeal_id, case in found.items()}
        told: list[Fact] = []
        for appeal_id, step in steps:
            if appeal_id in found:
                told += step(found[appeal_id])
        changed = [case for key, case in found.items() if before[key] != (case.feedback, case.early)]
        await self._write(uow, changed, told)

    async def _write(
        self,
        uow: Uow,
        changed: Sequence[Case],
        told: Sequence[Fact],
        traces: Sequence[str | None] = (),
        devices: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Save the cases and tell the facts; `traces`: the trace context of each fact, none for that at hand;
        `devices`: by what device an appeal was rated."""
        if not changed:
            return
        reporters = {case.appeal_id: case.reporter for case in changed}
        answered = await self.signs.rows(uow, told, devices, reporters)
        await repository.save(uow.pg, changed, self.hours, answered)
        await judgements.save(uow.pg, told)
        for case in changed:
            for asked in case.feedback.rounds[-1:]:
                if asked.method is not Method.LINK:
                    continue
                key = f"{case.appeal_id}:{asked.number}"
                if asked.open and asked.expires_at is not None:
                    uow.arm(Timer(EXPIRY, key, asked.expires_at, {"appeal_id": case.appeal_id, "round": asked.number}))
                else:
                    uow.disarm(EXPIRY, key)
        for fact, traceparent in zip_longest(told, traces):
            last = fact.after.current
            if fact.about is not None and fact.kind is not FactKind.ANSWERED:
                await audit.record(
                    uow,
                    actor=fact.actor,
                    action=f"feedback.{fact.kind.value}",
                    subject=fact.after.appeal_id,
                    reason=fact.reason,
                    detail=_audited(fact.about),
                )
            uow.emit(
                event_of(fact),
                key=fact.after.appeal_id,
                sequence=fact.after.sequence,
                time=fact.at,
                traceparent=traceparent
                or uow.trace_of(fact.after.appeal_id, last.completion.work_order_id if last else ""),
            )


def _audited(judged: Exclusion | FalseCompletion) -> dict[str, Any]:
    if isinstance(judged, Exclusion):
        detail: dict[str, Any] = {"exclusion_id": judged.id, "unit": judged.unit}
    else:
        detail = {"round": judged.round}
    return detail | {"granted": judged.granted, "review": judged.review.state if judged.review else None}


def hash_of(token: str) -> str:
    """What is known of a token: its SHA-256 in hex (domain.md, "Feedback")."""
    return hashlib.sha256(token.encode()).hexdigest()


def problem_of(refusal: Refusal) -> Problem:
    """What a caller hears when the rules refuse."""
    status = {"rating_unknown": 404, "rating_closed": 410}.get(refusal.code, 409)
    if refusal.retry_at is None:
        return Problem(status, refusal.code, refusal.detail)
    return Problem(status, refusal.code, refusal.detail, retry_at=rfc3339(refusal.retry_at))


def _kept(case: Case, change: Change) -> Sequence[Fact]:
    case.feedback = change.feedback
    return change.facts


def _asking(completion: Completion) -> Step:
    def step(case: Case) -> Sequence[Fact]:
        if case.asking is None:  # the order overtook the appeal: ask as soon as we know how
            case.early.append(completion)
            return ()
        return _kept(case, open_round(case.feedback, case.asking, completion))

    return step


def _ask_early(case: Case) -> Sequence[Fact]:
    early, case.early = case.early, []
    return [fact for completion in early for fact in _asking(completion)(case)]


def _stopping(outcome: Outcome, message: Message[Any], order_id: str | None = None) -> Step:
    """`order_id`: only a round of this order is stopped; None: the appeal itself is over."""

    def step(case: Case) -> Sequence[Fact]:
        case.early = [c for c in case.early if order_id is not None and c.work_order_id != order_id]
        current = case.feedback.current
        if order_id is not None and (current is None or current.completion.work_order_id != order_id):
            return ()
        return _kept(case, stop(case.feedback, outcome, message.time, message.data.actor, message.data.reason))

    return step


def _expiring(number: int, due: datetime) -> Step:
    return lambda case: _kept(case, expire(case.feedback, number, due))
