"""One command through HTTP, who may give it, and what a batch of them works on."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.dispatch.book import Book, present
from services.dispatch.domain.duties import Duty
from services.dispatch.domain.machine import allowed_actions
from services.dispatch.domain.work_order import Actor, WorkOrder
from services.dispatch.handlers.action_table import ACTIONS
from services.dispatch.known import KnownCase
from shared.errors import Problem
from shared.http.bodies import Body
from shared.security.principal import Principal


@dataclass(frozen=True, slots=True)
class Act:
    """One command through HTTP. `target` is `work order`, `dispute` or `approval`, named by `id`; `part` names the
    on-site check of a dispute.

    `action` is a name of `ACTIONS` or of `DISPUTE_ACTIONS`, `dispute`, `approve` or `reject`; `version` that of
    `If-Match`, None without one.
    """

    id: str
    action: str
    body: Body
    who: Principal
    target: str = "work order"
    part: str = ""
    version: int | None = None

    @property
    def routes(self) -> bool:
        """Whether it needs the units in force at this moment, not only their names."""
        if self.target == "work order":
            return self.action not in ACTIONS or ACTIONS[self.action].routes
        return self.target == "dispute"


def actor_of(who: Principal) -> Actor:
    """In which parts a principal may act: handlers and supervisors for their units, people without units or regions for
    the centre (leaders also one level above its rulings), admin everywhere."""
    unlimited = not who.units and not who.regions
    return Actor(
        who.actor,
        units=who.units if who.has("handler", "supervisor") else frozenset(),
        head="supervisor" in who.roles,
        centre=unlimited and not who.roles.isdisjoint({"seat", "supervisor", "leader"}),
        leads=unlimited and "leader" in who.roles,
        everywhere="admin" in who.roles,
    )


def sees(who: Principal, order: WorkOrder) -> bool:
    """Row scope: region × unit; a handler sees orders that his units lead, help with, or are sent to look at."""
    return who.sees_region(order.region_code) and who.sees_unit(order.lead, *order.co_handlers, *order.checking)


@dataclass(frozen=True, slots=True)
class Added:
    """An entry of the duty list."""

    duty: Duty
    by: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The entries of a source hold no longer."""

    source: str


@dataclass(slots=True)
class Batch:
    """What a batch of acts needs beside the orders, and what it leaves to be written: changes of the duty list in their
    order, and audit entries."""

    book: Book
    at: datetime
    cases: dict[str, list[KnownCase]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """attachment → its appeal, of those that the bodies name"""
    duties: list[Added | Ended] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)


def too_late(detail: str, order: WorkOrder, actor: Actor, at: datetime) -> Problem:
    """409 for what was settled before, with the present state."""
    allowed = list(allowed_actions(order, actor, at))
    return Problem(409, "invalid_transition", detail, actions=allowed, present=present(order))
