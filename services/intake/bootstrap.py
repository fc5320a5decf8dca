"""Puts intake together."""

from pathlib import Path

from services.intake import api
from services.intake.attachments import api as attachments
from services.intake.attachments.handlers import Attaching, Keep
from services.intake.attachments.keeper import Keeper
from services.intake.attachments.sealing import Sealer
from services.intake.attachments.stores import open_store
from services.intake.consumer import subscriptions
from services.intake.federation import api as federation
from services.intake.federation.courier import Courier
from services.intake.federation.handovers import Handovers, Offer, Receipt
from services.intake.federation.mirror import Mirror
from services.intake.finding import Finder
from services.intake.handlers import CaseCommand, Intake
from services.intake.keys import Keys
from services.intake.learned_places import LearnedPlaces
from services.intake.projections import Projections
from services.intake.queries import Queries
from services.intake.receiving import Desk, Prepared
from services.intake.reconcile import Reconciliation
from services.intake.settings import Limits
from services.intake.tables import PARTITIONED
from services.intake.vault import Vault
from shared import city, regions
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.db.months import Partitions
from shared.federation.peers import Door, Peers
from shared.http import local
from shared.http.commands import CommandQueue
from shared.service.service import Service
from shared.service.turned_clock import ClockDesk, TurnedClock
from shared.settings import Settings

NAME = "intake"


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The only place where the parts of intake meet."""
    keys = Keys.load(settings.keys, make=settings.env == "local")
    vault = Vault(keys.vault, keys.current)
    profile = city.load(settings.city)
    divisions = regions.CityDivisions(profile.folder, clock)
    directory = divisions.present
    directory.resolve("", settings.platform)  # builds the resolver of the home platform before the first appeal
    limits = Limits.of(profile)
    attaching = Attaching(settings.platform, limits)
    keeper = Keeper(open_store(settings), Sealer(keys.vault, keys.current), database)
    intake = Intake(keys, vault.current, attaching)
    receiving: CommandQueue[Prepared] = CommandQueue(database, intake.receive, largest=api.CHUNK, waiting=20_000)
    cases: CommandQueue[CaseCommand] = CommandQueue(database, intake.handle)
    desk = Desk(settings.platform, keys, vault, directory)
    peers = Peers(settings)
    handovers = Handovers(peers, desk, Mirror(peers, keys, settings.url), intake)
    finder = Finder(database, real_time=not settings.sim_clock)
    queries = Queries(database, keys, directory, settings.url, finder, handovers.mirror)

    def use(present: regions.DivisionDirectory) -> None:
        """From the next appeal and the next answer on."""
        desk.regions = queries.regions = present

    learned = LearnedPlaces(database, divisions, settings.platform, use)
    receiver = api.Receiver(desk, clock, receiving)
    router = api.router(receiver, cases, queries, vault, learned)
    keep: CommandQueue[Keep] = CommandQueue(database, attaching.keep)
    router.include_router(attachments.router(keeper, keep, queries, vault, limits))
    letters: CommandQueue[Offer | Receipt] = CommandQueue(database, handovers.receive)
    door = Door(peers, database)
    router.include_router(federation.router(door, handovers, letters, clock))
    courier = Courier(peers, vault, database)
    if settings.env == "local":
        router.include_router(local.router(ClockDesk(clock, bus) if isinstance(clock, TurnedClock) else None))

    partitions = Partitions(database, PARTITIONED)
    return Service(
        name=NAME,
        database=database,
        router=router,
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(Projections(handovers)),
        start=partitions.make,
        background=(partitions.care, learned.run, courier.run, keeper.run, door.care),
        not_ready=lambda: peers.trouble,
        reconcile=Reconciliation(database, clock),
        state=intake,
    )
