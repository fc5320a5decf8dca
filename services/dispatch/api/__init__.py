"""HTTP of dispatch: parse, hand to a handler, answer."""

from fastapi import APIRouter

from services.dispatch.api import registers as registers_api
from services.dispatch.api import work_orders as work_orders_api
from services.dispatch.desk import RoutingDesk
from services.dispatch.handlers import Actions, Registers
from shared.clock import Clock
from shared.db.database import Database
from shared.http.requests import StrictRoute


def router(desk: RoutingDesk, registers: Registers, actions: Actions, database: Database, clock: Clock) -> APIRouter:
    """The routes of `work-orders`, `disputes`, `approvals`, `duties`, `routing`, `units` and `platforms`."""
    routes = APIRouter(tags=["dispatch"], route_class=StrictRoute)
    work_orders_api.add_routes(routes, desk, actions, database, clock)
    registers_api.add_routes(routes, desk, registers, database, clock)
    return routes
