"""What a service is to the runtime: its name and the parts that `bootstrap.build` put together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from shared.bus.subscriptions import Subscription, TimerHandler
from shared.db.database import Database


async def _nothing() -> None:
    return None


def _ready() -> list[str]:
    return []


SOON_S, SHORTLY_S, LATER_S = 0.01, 0.1, 0.5
"""paces: the unit that must act waits; clocks count from the event's time whenever they are armed; nobody waits"""

Reconcile = Callable[[], Awaitable[Mapping[str, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, ready to be run alone or beside others in one process.

    `subscriptions` and `timers` say what it reacts to; `router` its HTTP; `migrations` the folder of its Alembic
    revisions. `setup` imports what a fresh database needs (idempotent); `start`/`stop` frame the process's life;
    `background` are coroutines that run beside (cancelled at the end); `not_ready` names reasons not to be ready;
    `reconcile` compares tables with the event log: name of a check → differences.
    """

    name: str
    database: Database
    router: APIRouter
    migrations: Path
    subscriptions: Sequence[Subscription] = ()
    timers: Mapping[str, TimerHandler] = field(default_factory=dict)
    setup: Callable[[], Awaitable[None]] = _nothing
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    not_ready: Callable[[], list[str]] = _ready
    reconcile: Reconcile | None = None
    pace_s: float = 0.05
    """at most one batch in so many seconds (see `Worker`): `SOON_S` where others wait for what this service says"""
    state: Any = None
    """for tests: the service's handlers object"""
