"""HTTP of dispatch: parse, hand to a handler, answer."""

from fastapi import APIRouter

from services.dispatch.api import disputes as disputes_api
from services.dispatch.api import offers as offers_api
from services.dispatch.api import registers as registers_api
from services.dispatch.api import routing as routing_api
from services.dispatch.api import work_orders as work_orders_api
from services.dispatch.desk import RoutingDesk
from services.dispatch.handlers import Act, Decide, Registers
from services.dispatch.replay import Replays
from shared.clock import Clock
from shared.db.database import Database
from shared.federation.directory import DirectoryFile
from shared.http.commands import CommandQueue, Job
from shared.http.requests import StrictRoute


def router(
    desk: RoutingDesk,
    registers: Registers,
    acts: CommandQueue[Act],
    jobs: CommandQueue[Job],
    decisions: CommandQueue[Decide],
    database: Database,
    clock: Clock,
    file: DirectoryFile,
    replays: Replays,
) -> APIRouter:
    """The routes of `work-orders`, `disputes`, `approvals`, `duties`, `routing`, `units` and `platforms`."""
    routes = APIRouter(tags=["dispatch"], route_class=StrictRoute)
    work_orders_api.add_routes(routes, desk, acts, database, clock)
    disputes_api.add_routes(routes, desk, acts, database, clock)
    registers_api.add_routes(routes, desk, registers, jobs, database, clock, file)
    offers_api.add_routes(routes, desk, decisions, database)
    routing_api.add_routes(routes, desk, replays, jobs, database)
    return routes
