"""Puts the journal together."""

from pathlib import Path

from services.journal import api, consumer, keys, tables
from services.journal.handlers import Handlers
from services.journal.peers.puller import Puller
from services.journal.sharing import WITHHELD
from services.journal.webhooks.api import add_routes
from services.journal.webhooks.handlers import Command, Webhooks
from services.journal.webhooks.sender import Sender
from shared import city
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.db.days import Days
from shared.federation.peers import Door, Peers
from shared.http.commands import CommandQueue
from shared.http.outgoing import Outgoing, networks_of
from shared.service.service import SHORTLY_S, Service
from shared.settings import Settings

DELIVERIES_DAYS = 30
PUSH_S = 10.0
"""a receiver that takes longer has failed"""


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service on its database."""
    handlers = Handlers(database, settings.platform)
    section = city.load(settings.city).sections.get("journal") or {}
    withheld = tuple(str(path) for path in section.get("withheld", WITHHELD))
    networks = networks_of(settings.webhook_networks)
    key = keys.load(settings.keys, make=settings.env == "local")
    commands: CommandQueue[Command] = CommandQueue(database, Webhooks().on_commands, largest=1)
    log = Days(database, clock, tables.webhook_deliveries.name, DELIVERIES_DAYS)
    peers = Peers(settings)
    door = Door(peers, database)
    routes = api.router(handlers, door, withheld)
    add_routes(routes, database, commands, key, withheld, networks, tls_only=settings.env == "production")
    background = [log.care, door.care, Puller(peers, database).run]
    if key is not None:
        outgoing = Outgoing(networks, timeout_s=PUSH_S)
        background.append(Sender(database, clock, key, outgoing, lambda: handlers.appended).run)
    return Service(
        name="journal",
        pace_s=SHORTLY_S,
        database=database,
        router=routes,
        migrations=Path(__file__).parent / "migrations",
        subscriptions=consumer.subscriptions(handlers),
        start=log.make,
        background=background,
        reconcile=handlers.reconcile,
        state=handlers,
    )
