"""Where the parts of evaluate meet."""

from dataclasses import replace
from pathlib import Path

from services.evaluate.api import router
from services.evaluate.consumer import subscriptions
from services.evaluate.domain import DEFAULT_FORMULA
from services.evaluate.handlers import Handlers
from shared import city, regions
from shared.bus.records import Transport
from shared.clock import ZONE, Clock
from shared.db.database import Database
from shared.http.commands import CommandQueue
from shared.service.service import LATER_S, Service
from shared.settings import Settings


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service, ready to be run."""
    own = city.load(settings.city)
    default = replace(DEFAULT_FORMULA, min_asked=own.min_asked)
    handlers = Handlers(ZONE, default, regions.of_city(own.folder, clock.now().date()))
    formulas = CommandQueue(database, handlers.on_formulas)
    return Service(
        name="evaluate",
        database=database,
        router=router(handlers, database, clock, formulas),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(handlers),
        pace_s=LATER_S,
        state=handlers,
    )
