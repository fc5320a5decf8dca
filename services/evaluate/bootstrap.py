"""Where the parts of evaluate meet."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from services.evaluate.api import router
from services.evaluate.consumer import subscriptions
from services.evaluate.formula import defaults
from services.evaluate.handlers import Handlers
from services.evaluate.months import Months
from services.evaluate.publishing.feed import PATIENCE_S, HttpFeed
from services.evaluate.publishing.jobs import Jobs
from services.evaluate.publishing.publication import Publisher
from shared import city, regions
from shared.bus.records import Transport
from shared.clock import ZONE, Clock
from shared.db.database import Database
from shared.http.commands import CommandQueue
from shared.security.tokens import Tokens
from shared.service.service import LATER_S, Service
from shared.settings import Settings


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service, ready to be run."""
    own = city.load(settings.city)
    publisher, close = publisher_of(settings, database)
    divisions = regions.CityDivisions(own.folder, clock)
    handlers, months = Handlers(ZONE), Months(ZONE, divisions.present, publisher)
    formulas = CommandQueue(database, handlers.on_formulas)
    jobs = Jobs()

    async def stop() -> None:
        await jobs.stop()
        await close()

    return Service(
        name="evaluate",
        database=database,
        router=router(months, database, clock, formulas, jobs),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(handlers),
        stop=stop,
        background=(lambda: divisions.follow(months.use_regions),),
        reconcile=publisher.reconcile,
        pace_s=LATER_S,
        state=months,
    )


def token_of(settings: Settings) -> Callable[[], str]:
    """The token that opens the journal's feed: the one that was given, or one of the local stack."""
    tokens = Tokens(settings)

    def token() -> str:
        return settings.journal_token or tokens.issue("evaluate", ["auditor"])[0]

    return token


def publisher_of(settings: Settings, database: Database) -> tuple[Publisher, Callable[[], Awaitable[None]]]:
    """What publishes and rebuilds, and how to close its connections."""
    client = httpx.AsyncClient(base_url=settings.journal_url or settings.url, timeout=PATIENCE_S, trust_env=False)
    known = defaults(city.load(settings.city).min_asked)
    return Publisher(database, HttpFeed(client, token_of(settings)), ZONE, known), client.aclose
