"""Where the parts of dispatch meet."""

import asyncio
from functools import partial
from pathlib import Path

from services.dispatch import repository, tables
from services.dispatch.api import router
from services.dispatch.book import SUSPENSION_END
from services.dispatch.consumer import subscriptions
from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.platforms import PlatformDirectory
from services.dispatch.handlers import Act, Actions, Decide, Handovers, Reactions, Registers
from services.dispatch.handlers.linking import LINK
from services.dispatch.platforms import keep_current, neighbours, seen_from
from services.dispatch.reconcile import Reconciliation
from services.dispatch.replay import Replays
from services.dispatch.rules import BUILT_IN
from services.dispatch.rules.loading import RulesError, load_rules
from services.dispatch.working_time import after_working_time
from shared import city as cities
from shared import regions
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.database import Database
from shared.db.months import Partitions
from shared.federation.directory import DirectoryFile
from shared.http.commands import CommandQueue, Job, run_jobs
from shared.plugins.registry import PluginMissing
from shared.service.service import SOON_S, Service
from shared.settings import Settings

STORE_S = 5.0


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service, ready to be run.

    Rules or a platform directory that cannot be used leave it not ready, saying why: routing without them would give
    cases to the wrong owners. Raises CityError without a city folder.
    """
    city = cities.load(settings.city)
    trouble: str | None = None
    try:
        rules = load_rules(city.file("rules.yaml"), city.level)
    except (RulesError, PluginMissing) as error:
        rules, trouble = (), str(error)
    divisions = regions.CityDivisions(city.folder, clock)
    file = DirectoryFile(settings.platforms)
    file.look()
    if file.current is not None:
        platforms = seen_from(settings.platform, file.current)
    elif settings.platforms or settings.city != "demo":
        platforms = PlatformDirectory.of(settings.platform)
    else:
        platforms = neighbours(settings.platform, divisions.present)
    desk = RoutingDesk(
        platforms=platforms,
        regions=divisions.present,
        rules=rules,
        working_time=after_working_time,
        trouble=trouble or (file.trouble if file.current is None else None),
        rules_trouble=trouble,
    )
    reactions = Reactions(desk, city.auto_link_threshold)
    handovers = Handovers(desk, by_person=(city.sections.get("dispatch") or {}).get("incoming") == "person")
    registers = Registers(desk, database)
    acts: CommandQueue[Act] = CommandQueue(database, Actions(desk).act)
    jobs: CommandQueue[Job] = CommandQueue(database, run_jobs, largest=1)
    decisions: CommandQueue[Decide] = CommandQueue(database, handovers.decide)
    replays = Replays(desk, database)
    units_csv = city.file("units.csv").read_bytes()
    duties = city.folder / "duties.csv"
    duties_csv = duties.read_bytes() if duties.is_file() else None

    async def setup() -> None:
        await registers.set_up(units_csv, duties_csv)

    partitions = Partitions(database, [tables.order_words])

    async def start() -> None:
        await partitions.make()
        if any(type(rule) not in BUILT_IN for rule in rules):
            desk.guard.watch_from_outside(partial(_store_off, database))

    return Service(
        name="dispatch",
        pace_s=SOON_S,
        database=database,
        router=router(desk, registers, acts, jobs, decisions, database, clock, file, replays),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(reactions, handovers),
        timers={SUSPENSION_END: reactions.on_suspension_end, LINK: reactions.on_link},
        setup=setup,
        start=start,
        background=(
            partitions.care,
            lambda: keep_current(file, desk),
            lambda: divisions.follow(desk.use_regions),
            lambda: desk.keep_rules_off(database),
            replays.run,
        ),
        not_ready=lambda: [desk.trouble] if desk.trouble else [],
        reconcile=Reconciliation(database),
        state=desk,
    )


def _store_off(database: Database, rule: str, why: str) -> None:
    """Store that a rule is off from a thread of its own, while the event loop hangs in that very rule."""

    async def store() -> None:
        own = Database(
            database.url, database.schema, database.clock, platform=database.platform, role=database.role, pool_size=1
        )
        async with asyncio.timeout(STORE_S), own.transaction() as uow:
            await repository.switch_off(uow.pg, rule, why, uow.clock.now())

    asyncio.run(store())
