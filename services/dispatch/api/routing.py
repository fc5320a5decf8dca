"""The chain itself: its rules, which of them are off, and past cases decided again by a changed chain."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from services.dispatch import repository
from services.dispatch.api.parameters import Id, Keeper, Staff, uuid_of
from services.dispatch.desk import RoutingDesk
from services.dispatch.replay import LISTED, Change, Replays, rules_named
from services.dispatch.repository import replays as store
from services.dispatch.schemas import ReplayBody
from shared.clock import in_zone
from shared.db import audit
from shared.db.database import Database
from shared.errors import invalid, not_found
from shared.http.auth import Idempotency
from shared.http.commands import CommandQueue, Job
from shared.http.pages import Paged, after_of, page_of
from shared.outbox.uow import Uow
from shared.plugins.registry import PluginMissing

RuleName = Annotated[str, Path(min_length=1, max_length=100)]


def add_routes(
    routes: APIRouter, desk: RoutingDesk, replays: Replays, jobs: CommandQueue[Job], database: Database
) -> None:
    """Add the routes of `routing/rules` and `routing/replay`."""

    @routes.get("/v1/routing/rules")
    async def list_rules(who: Staff) -> dict[str, Any]:
        """The chain in its order: which rules are off, why and since when; how each has done in this process."""
        async with database.read() as pg:
            await desk.refresh(pg)
            off = await repository.rules_off(pg)
        items = []
        for rule in desk.rules:
            figures = desk.guard.figures.get(rule.name)
            asked = figures.asked if figures else 0
            items.append(
                {
                    "rule": rule.name,
                    "state": "off" if rule.name in desk.guard.off else "on",
                    "reason": desk.guard.off.get(rule.name),
                    "off_since": off[rule.name][1] if rule.name in off else None,
                    "asked": asked,
                    "failed": figures.failed if figures else 0,
                    "slow": figures.slow if figures else 0,
                    "mean_us": round(figures.seconds / asked * 1e6, 1) if figures and asked else None,
                }
            )
        return {"items": [in_zone(item) for item in items], "next": None}

    @routes.post("/v1/routing/rules/{rule}/on")
    async def switch_on(rule: RuleName, who: Keeper, idempotency: Idempotency) -> dict[str, Any]:
        """Ask a rule again that was slow or stuck: after its author mended it."""

        async def work(uow: Uow) -> dict[str, Any]:
            if not await repository.switch_on(uow.pg, rule):
                raise not_found(f"A rule {rule!r} that is off")
            await audit.record(uow, actor=who.actor, action="rule_switched_on", subject=rule)
            return {"rule": rule, "state": "on"}

        return (await jobs.submit(work, idempotency(who, None))).answer

    @routes.post("/v1/routing/replay", status_code=202)
    async def ask_replay(body: ReplayBody, who: Keeper, idempotency: Idempotency) -> dict[str, Any]:
        """Who would have got the orders opened from `from` to before `to`, had the chain been as given. `id` leads to
        progress and result; nothing else changes."""
        if body.until <= body.since:
            raise invalid("/to", "lies before `from`")
        if not (body.rules or body.add_duties or body.without_duties or body.units_version):
            raise invalid("/", "changes nothing: give rules, add_duties, without_duties or units_version")
        if body.rules is not None:
            try:
                rules_named(body.rules)
            except PluginMissing as error:
                raise invalid("/rules", str(error)) from error
        async with database.read() as pg:
            await desk.refresh(pg)
            if body.units_version is not None and await repository.read_units(pg, body.units_version) is None:
                raise invalid("/units_version", "was never imported")
        unknown = set(body.without_duties) - {duty.id for duty in desk.duties.entries}
        if unknown:
            raise invalid("/without_duties", f"{sorted(unknown)[0]!r} is no entry of the duty list")
        for number, entry in enumerate(body.add_duties):
            if body.units_version is None and not desk.accountable(entry.lead):
                raise invalid(f"/add_duties/{number}/lead", f"{entry.lead!r} is no unit that can handle orders")
        change = Change(
            rules=tuple(body.rules) if body.rules is not None else None,
            add_duties=tuple(entry.duty("replay") for entry in body.add_duties),
            without_duties=tuple(body.without_duties),
            units_version=body.units_version,
        )
        outcome = await jobs.submit(
            lambda uow: replays.ask(change, body.since, body.until, who.actor, uow), idempotency(who, body)
        )
        return outcome.answer

    @routes.get("/v1/routing/replay")
    async def list_replays(who: Staff, page: Paged) -> dict[str, Any]:
        """What was asked so far, the newest first."""
        async with database.read() as pg:
            rows = await store.listed(pg, after_of(page, str), page.limit + 1)
        return page_of([_view(row) for row in rows], page, lambda row: [row["id"]])

    @routes.get("/v1/routing/replay/{replay_id}")
    async def show_replay(replay_id: Id, who: Staff, page: Paged) -> dict[str, Any]:
        """How far it is, how many orders would go from which lead to which, and every one of them."""
        identifier = uuid_of(replay_id, "This replay")
        async with database.read() as pg:
            await desk.refresh(pg)
            found = await store.one(pg, identifier)
            if found is None:
                raise not_found("This replay")
            units = await store.by_unit(pg, identifier, LISTED)
            rows = await store.moves(pg, identifier, after_of(page, str), page.limit + 1)
        names = desk.units.name
        by_unit = [
            {"lead_now_name": names(row["lead_now"]), "lead_then_name": names(row["lead_then"])} | row for row in units
        ]
        return _view(found) | {"by_unit": by_unit} | page_of(rows, page, lambda row: [row["work_order_id"]])


def _view(row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = in_zone(row)
    return {"from": shown.pop("opened_from"), "to": shown.pop("opened_to")} | shown
