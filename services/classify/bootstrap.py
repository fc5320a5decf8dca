"""Where the parts of classify meet."""

from pathlib import Path

from services.classify import repository, tables
from services.classify.advice.adviser import Adviser
from services.classify.advice.endpoint import Endpoint
from services.classify.api import router
from services.classify.consumer import subscriptions
from services.classify.handlers.appeals import Appeals
from services.classify.handlers.models import Models
from services.classify.handlers.reviews import Reviews
from services.classify.knowledge import Library
from services.classify.memory import rows as memory_rows
from services.classify.places import Places
from services.classify.settings import RECENT_DAYS, ClassifySettings
from services.classify.setup import Setup
from services.classify.tag_care.keeping import Tags
from shared.bus.records import Transport
from shared.clock import Clock
from shared.db.care import hourly
from shared.db.database import Database
from shared.db.days import Days
from shared.errors import Transient
from shared.http.commands import CommandQueue, run_jobs
from shared.service.service import SOON_S, Service
from shared.settings import Settings


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service, ready to be run."""
    own = ClassifySettings.of(settings)
    library = Library(own.data_dir, own.classifiers, own.remembered)
    appeals = Appeals(own, library)
    reviewing = Reviews(library)
    reviews = CommandQueue(database, reviewing.on_commands)
    jobs = CommandQueue(database, run_jobs, largest=1)
    models = CommandQueue(database, Models(own.data_dir, library).on_commands, largest=1)
    setup = Setup(own, database)
    lately = Days(database, clock, tables.recent.name, RECENT_DAYS)

    async def forget() -> None:
        async with database.transaction() as uow:
            await memory_rows.forget_oldest(uow.pg, own.remembered)

    tags = Tags(library, database, clock)
    background = [lately.care, lambda: hourly(forget), tags.run]
    if own.llm is not None:
        background.append(Adviser(database, Endpoint(own.llm, settings.llm_key), own.llm).run)

    async def start() -> None:
        """Read catalogue and model before the first appeal comes, so that it needs not wait."""
        try:
            await lately.make()
            async with database.transaction() as uow:
                await library.present(uow.pg, clock.now())
        except Transient:
            pass  # no set-up yet: not_ready says so

    def not_ready() -> list[str]:
        if library.missing:
            return library.missing
        return [] if library.latest else ["there is no catalogue yet: run `python -m services.classify setup`"]

    async def reconcile() -> dict[str, int]:
        async with database.transaction() as uow:
            return {"labels_out_of_step": await repository.labels_out_of_step(uow.pg)}

    return Service(
        name="classify",
        pace_s=SOON_S,
        database=database,
        router=router(
            appeals,
            library,
            Places(own.platform, own.city.folder, clock),
            database,
            clock,
            reviews,
            jobs,
            models,
            tags,
        ),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(appeals, reviewing, tags),
        setup=setup.run,
        start=start,
        background=background,
        not_ready=not_ready,
        reconcile=reconcile,
        state=appeals,
    )
