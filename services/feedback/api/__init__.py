"""HTTP of feedback: call-backs for seats, ratings for citizens, what units and the centre contest."""

from fastapi import APIRouter

from services.feedback.api import callbacks, judgements, ratings
from services.feedback.api.desk import Desk
from shared.http.requests import StrictRoute

__all__ = ["Desk", "router"]


def router(desk: Desk) -> APIRouter:
    """The routes of `callbacks`, `ratings` and `exclusions` (api.md, "Routes")."""
    routes = APIRouter(tags=["feedback"], route_class=StrictRoute)
    callbacks.add_routes(routes, desk)
    ratings.add_routes(routes, desk)
    judgements.add_routes(routes, desk)
    return routes
