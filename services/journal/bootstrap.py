"""Puts the journal together."""

from pathlib import Path

from services.journal import api, consumer
from services.journal.handlers import Handlers
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.service.service import SHORTLY_S, Service
from shared.settings import Settings


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service on its database."""
    handlers = Handlers(database, settings.platform)
    return Service(
        name="journal",
        pace_s=SHORTLY_S,
        database=database,
        router=api.router(handlers),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=consumer.subscriptions(handlers),
        reconcile=handlers.reconcile,
        state=handlers,
    )
