"""What people write to sla: acknowledgements of supervisions, new versions of policies and calendars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.sla.domain.calendar import CalendarError
from services.sla.domain.clock_set import Terms
from services.sla.domain.layers import Layer
from services.sla.domain.policy import Policy, PolicyError
from services.sla.handlers import RULES_TIMER
from services.sla.repository import supervision_answer
from services.sla.supervision import UNNOTICED_TIMER
from services.sla.tables import calendars, policies, supervisions
from services.sla.terms import TermsBook, layer_of
from shared.clock import rfc3339
from shared.db import audit, bulk
from shared.errors import Problem, invalid, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Timer, Uow
from shared.security.principal import Principal


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody took notice of a supervision."""

    who: Principal
    supervision_id: str
    note: str | None


@dataclass(frozen=True, slots=True)
class AddRules:
    """A new version of a policy or a calendar, in force from `effective_from` (None: now)."""

    who: Principal
    what: str
    """policy or calendar"""
    data: dict[str, Any]
    effective_from: datetime | None
    unit: str = ""


class Commands:
    """Handlers of the two command queues."""

    def __init__(self, terms: TermsBook) -> None:
        self.terms = terms

    async def acknowledge(self, commands: Sequence[Acknowledge], uow: Uow) -> list[Answer | Problem]:
        """The first acknowledgement counts; repeating it answers the same."""
        rows = {
            row["id"]: dict(row)
            for row in await uow.pg.fetch(
                f"SELECT * FROM {supervisions.fullname} WHERE id = ANY($1) ORDER BY id FOR UPDATE",
                [command.supervision_id for command in commands],
            )
        }
        answers: list[Answer | Problem] = []
        changed: dict[str, dict[str, Any]] = {}
        for command in commands:
            row = rows.get(command.supervision_id)
            if row is None or not command.who.sees_unit(row["unit"]) or not command.who.sees_region(row["region_code"]):
                answers.append(not_found("This supervision"))
                continue
            if row["acknowledged_at"] is None:
                row.update(acknowledged_at=uow.clock.now(), acknowledged_by=command.who.actor, note=command.note)
                changed[row["id"]] = row
                uow.disarm(UNNOTICED_TIMER, row["id"])
            answers.append(supervision_answer(row))
        if changed:
            await uow.pg.execute(
                f"UPDATE {supervisions.fullname} t SET acknowledged_at = r.at, acknowledged_by = r.by, note = r.note"
                " FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[]) AS r(id, at, by, note)"
                " WHERE t.id = r.id",
                list(changed),
                [row["acknowledged_at"] for row in changed.values()],
                [row["acknowledged_by"] for row in changed.values()],
                [row["note"] for row in changed.values()],
            )
        return answers

    async def add_rules(self, commands: Sequence[AddRules], uow: Uow) -> list[Answer | Problem]:
        """Store new versions; open orders and those to come follow them from their instant on."""
        answers: list[Answer | Problem] = []
        for command in commands:
            try:
                answers.append(await self._add(command, uow))
            except Problem as problem:
                answers.append(problem)
        return answers

    async def _add(self, command: AddRules, uow: Uow) -> Answer:
        now = uow.clock.now()
        effective_from = (command.effective_from or now).astimezone(UTC)
        if effective_from < now:
            raise invalid("/effective_from", "lies in the past; rules hold from now on or later")
        version = str(command.data["version"])
        if any(version == known.version for known in (*self.terms.policies, *self.terms.calendars)):
            raise _exists(version)
        _, layer = rules_of(
            self.terms,
            effective_from,
            policy=command.data if command.what == "policy" else None,
            calendar=command.data if command.what == "calendar" else None,
            unit=command.unit,
        )
        row = {
            "version": version,
            "data": command.data,
            "effective_from": effective_from,
            "created_by": command.who.actor,
            "created_at": now,
        } | ({"unit": command.unit} if layer else {})
        table = policies if command.what == "policy" else calendars
        if not await bulk.insert(uow.pg, table, [row], conflict=("version",), returning="version"):
            raise _exists(version)
        await audit.record(
            uow,
            actor=command.who.actor,
            action=f"{command.what}.added",
            subject=version,
            detail={"effective_from": rfc3339(effective_from)} | ({"unit": command.unit} if command.unit else {}),
        )
        uow.arm(Timer(RULES_TIMER, rfc3339(effective_from), effective_from))
        uow.after_commit(self.terms.forget)
        answer: Answer = {"version": version, "effective_from": rfc3339(effective_from)}
        if layer is not None:
            base = self.terms.at(effective_from).of_unit(command.unit).data
            answer["already_counted"] = [day.isoformat() for day in layer.already_counted(base)]
        return answer


def rules_of(
    book: TermsBook, at: datetime, *, policy: dict[str, Any] | None, calendar: dict[str, Any] | None, unit: str = ""
) -> tuple[Terms, Layer | None]:
    """The rules that would hold at `at` with these on top. Raises `Problem` 422 with the place of a fault."""
    layer = None
    try:
        new_policy = None if policy is None else Policy.from_data(policy)
        if calendar is not None:
            layer = layer_of(calendar, at)
        return book.with_version(book.at(at), new_policy, layer, unit), layer
    except PolicyError as error:
        raise invalid(error.pointer or "/", error.detail) from error
    except CalendarError as error:
        raise invalid("/years" if layer is not None and layer.years else "/holidays", str(error)) from error


def _exists(version: str) -> Problem:
    return Problem(409, "version_exists", f"Version {version} exists; versions are never changed, choose another name.")
