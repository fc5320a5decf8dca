"""Puts sla together: the only place where its parts meet."""

import asyncio
from pathlib import Path

from services.sla import repository
from services.sla.api import router
from services.sla.commands import Commands
from services.sla.consumer import subscriptions
from services.sla.handlers import CLOCK_TIMER, RULES_TIMER, Handlers
from services.sla.settings import SlaSettings
from services.sla.supervision import DIGEST_TIMER, UNNOTICED_TIMER, Supervision
from services.sla.terms import TermsBook
from shared import city
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.errors import Transient
from shared.http.commands import CommandQueue
from shared.service.service import SHORTLY_S, Service
from shared.settings import Settings

REFRESH_S = 5.0
"""other replicas see a new policy or calendar after at most this many real seconds"""


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service on its database."""
    terms = TermsBook(SlaSettings.of(city.load(settings.city).sections.get("sla")).policy)
    supervision = Supervision(terms, settings.platform)
    handlers = Handlers(terms, supervision)
    commands = Commands(terms)

    async def read_terms() -> None:
        async with database.read() as pg:
            await terms.read(pg)

    async def refresh() -> None:
        while True:
            try:
                async with asyncio.timeout(REFRESH_S):
                    await terms.fresh.wait()
            except TimeoutError:
                pass
            terms.fresh.clear()
            try:
                await read_terms()
            except Transient:
                continue  # the versions in memory hold on; the database is reported by the runtime

    async def reconcile() -> dict[str, int]:
        async with database.read() as pg:
            return {"clock sets whose timer is another": await repository.sets_without_timer(pg)}

    return Service(
        name="sla",
        pace_s=SHORTLY_S,
        database=database,
        router=router(
            database,
            terms,
            CommandQueue(database, commands.acknowledge),
            CommandQueue(database, commands.add_rules, largest=1),
        ),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(handlers),
        timers={
            CLOCK_TIMER: handlers.on_due,
            RULES_TIMER: handlers.on_rules,
            UNNOTICED_TIMER: supervision.on_unnoticed,
            DIGEST_TIMER: supervision.on_digest,
        },
        start=read_terms,
        background=(refresh,),
        reconcile=reconcile,
        state=handlers,
    )
