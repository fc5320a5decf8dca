"""Where the parts of feedback meet."""

from datetime import date
from pathlib import Path

import chinese_calendar

from services.feedback import scripts, signs
from services.feedback.api import Desk, router
from services.feedback.commands import Acts
from services.feedback.consumer import subscriptions
from services.feedback.domain import CallingHours
from services.feedback.handlers import EXPIRY, Handlers
from shared import city
from shared.bus.records import Transport
from shared.clock import ZONE, Clock
from shared.db.database import Database
from shared.http.commands import CommandQueue
from shared.service.service import Service
from shared.settings import Settings


def is_working_day(day: date) -> bool:
    """By the State Council's calendar with 调休; weekdays in a year that is not published yet."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.weekday() < 5


def build(settings: Settings, clock: Clock, bus: Transport, database: Database) -> Service:
    """The service, ready to be run."""
    hours = CallingHours(ZONE)
    handlers = Handlers(hours)
    desk = Desk(
        handlers,
        Acts(hours, is_working_day),
        database,
        clock,
        scripts.load(city.load(settings.city).folder),
        CommandQueue(database, handlers.on_commands),
        CommandQueue(database, handlers.on_leases),
    )
    return Service(
        name="feedback",
        database=database,
        router=router(desk),
        migrations=Path(__file__).parent / "migrations",
        subscriptions=subscriptions(handlers),
        timers={EXPIRY: handlers.on_expiry, signs.TIMER: handlers.signs.on_night},
        state=handlers,
    )
