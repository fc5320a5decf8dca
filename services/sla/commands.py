"""What people write to sla: acknowledgements of supervisions, new versions of policies and calendars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from services.sla.domain.calendar import CalendarError
from services.sla.domain.policy import Policy, PolicyError
from services.sla.repository import supervision_answer
from services.sla.tables import calendars, policies, supervisions
from services.sla.terms import TermsBook, calendar_with
from shared.clock import rfc3339
from shared.db import audit
from shared.errors import Problem, invalid, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Uow
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
        """Store new versions; clocks that start or are re-based from then on follow them."""
        answers: list[Answer | Problem] = []
        for command in commands:
            try:
                answers.append(await self._add(command, uow))
            except Problem as problem:
                answers.append(problem)
        return answers

    async def _add(self, command: AddRules, uow: Uow) -> Answer:
        now = uow.clock.now()
        effective_from = command.effective_from or now
        if effective_from < now:
            raise invalid("/effective_from", "lies in the past; rules hold from now on or later")
        version = str(command.data["version"])
        if any(version == known.version for known in (*self.terms.policies, *self.terms.calendars)):
            raise _exists(version)
        try:
            if command.what == "policy":
                Policy.from_data(command.data)
            else:
                calendar_with(command.data, self.terms.at(effective_from).calendar)
        except PolicyError as error:
            raise invalid(error.pointer or "/", error.detail) from error
        except CalendarError as error:
            raise invalid("/holidays", str(error)) from error
        table = policies if command.what == "policy" else calendars
        added = await uow.pg.fetchval(
            f"INSERT INTO {table.fullname} (version, data, effective_from, created_by, created_at)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING version",
            version,
            orjson.dumps(command.data).decode(),
            effective_from,
            command.who.actor,
            now,
        )
        if added is None:
            raise _exists(version)
        await audit.record(
            uow,
            actor=command.who.actor,
            action=f"{command.what}.added",
            subject=version,
            detail={"effective_from": rfc3339(effective_from)},
        )
        uow.after_commit(self.terms.forget)
        return {"version": version, "effective_from": rfc3339(effective_from)}


def _exists(version: str) -> Problem:
    return Problem(409, "version_exists", f"Version {version} exists; versions are never changed, choose another name.")
