"""What platforms do about their webhooks. Each command is audited: from then on data leave the hub, or no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.journal import repository as journal
from services.journal.sharing import View
from services.journal.webhooks import repository
from services.journal.webhooks.domain import State
from shared.db import audit
from shared.errors import Problem, not_found
from shared.http.commands import Answer
from shared.ids import uuid7
from shared.outbox.uow import Uow

MOST = 50
"""webhooks of one owner"""


@dataclass(frozen=True, slots=True)
class Add:
    """A new receiver. `after`: the position behind which it begins; None: the end of the journal."""

    owner: str
    by: str
    url: str
    types: tuple[str, ...]
    batch: int
    view: View
    give_up_s: int
    after: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """`owner` None: whoever it belongs to."""

    owner: str | None
    by: str
    webhook_id: str


class Pause(Change):
    """Nothing is sent until it is resumed; nothing is lost."""


class Resume(Change):
    """It goes on at once where it was; one that is gone, too."""


class Rotate(Change):
    """A new secret; the old one signs beside it for a day."""


class Remove(Change):
    """The end of it; its log of deliveries stays until it is old."""


@dataclass(frozen=True, slots=True)
class Replay(Change):
    """Send again what stands behind position `after`."""

    after: int


Command = Add | Change


class Webhooks:
    """The registry."""

    async def on_commands(self, commands: Sequence[Command], uow: Uow) -> list[Answer | Problem]:
        """Answers each: the webhook as it is then."""
        return [
            await self._add(command, uow) if isinstance(command, Add) else await self._change(command, uow)
            for command in commands
        ]

    async def _add(self, command: Add, uow: Uow) -> Answer | Problem:
        now = datetime.now(UTC)
        identifier = uuid7()
        row = {
            "id": identifier,
            "owner": command.owner,
            "url": command.url,
            "types": list(command.types),
            "batch": command.batch,
            "regions": None if command.view.regions is None else list(command.view.regions),
            "withheld": list(command.view.withheld),
            "note": command.note,
            "give_up_s": command.give_up_s,
            "position": await journal.last_position(uow.pg) if command.after is None else command.after,
            "created_at": now,
            "created_by": command.by,
        }
        if not await repository.add(uow.pg, row, MOST):
            return Problem(
                409,
                "too_many_webhooks",
                f"{command.owner} has {MOST} webhooks: remove one that is not needed any more.",
            )
        await audit.record(
            uow, actor=command.by, action="webhook.add", subject=identifier, detail={"types": list(command.types)}
        )
        return await self._shown(uow.pg, identifier)

    async def _change(self, command: Change, uow: Uow) -> Answer | Problem:
        found = await repository.one(uow.pg, command.webhook_id, command.owner)
        if found is None:
            return not_found("This webhook")
        detail: dict[str, Any] = {}
        match command:
            case Pause():
                await repository.change(uow.pg, command.webhook_id, state=State.PAUSED.value)
            case Resume():
                await repository.change(
                    uow.pg, command.webhook_id, state=State.ACTIVE.value, retry_at=datetime.now(UTC), failing_since=None
                )
            case Replay():
                detail = {"after": command.after}
                await repository.change(
                    uow.pg,
                    command.webhook_id,
                    position=command.after,
                    tries=0,
                    failing_since=None,
                    retry_at=datetime.now(UTC),
                )
            case Rotate():
                await repository.rotate(uow.pg, command.webhook_id, datetime.now(UTC))
            case Remove():
                await repository.remove(uow.pg, command.webhook_id)
        action = f"webhook.{type(command).__name__.lower()}"
        await audit.record(uow, actor=command.by, action=action, subject=command.webhook_id, detail=detail)
        return (
            {"id": command.webhook_id} if isinstance(command, Remove) else await self._shown(uow.pg, command.webhook_id)
        )

    async def _shown(self, pg: Any, identifier: str) -> Answer:
        found = await repository.one(pg, identifier, None)
        assert found is not None
        return view(found) | {"generation": found["generation"]}


def view(row: dict[str, Any]) -> dict[str, Any]:
    """A webhook as HTTP shows it."""
    instants = ("created_at", "failing_since", "delivered_at")
    return (
        {name: row[name] for name in repository.SHOWN if name not in (*instants, "position")}
        | {name: row[name].isoformat() if row[name] else None for name in instants}
        | {"position": str(row["position"])}
    )
