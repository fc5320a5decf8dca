"""The pure part of dispatch: units, duties, routing, and the life of a work order. Standard library only."""

from services.dispatch.domain.case import Case, HandlingClass
from services.dispatch.domain.duties import Duty, DutyKind, DutyList
from services.dispatch.domain.machine import Changed, Refused, allowed_actions, step
from services.dispatch.domain.platforms import Agreement, Platform, PlatformDirectory
from services.dispatch.domain.routing import Context, Decision, Outcome, Pass, Proposal, RoutingRule, RuleAnswer, decide
from services.dispatch.domain.units import Unit, UnitDirectory, UnitKind, UnitState
from services.dispatch.domain.work_order import SYSTEM, Actor, Part, Status, WorkOrder, contest_until, return_until

__all__ = [
    "SYSTEM",
    "Actor",
    "Agreement",
    "Case",
    "Changed",
    "Context",
    "Decision",
    "Duty",
    "DutyKind",
    "DutyList",
    "HandlingClass",
    "Outcome",
    "Part",
    "Pass",
    "Platform",
    "PlatformDirectory",
    "Proposal",
    "Refused",
    "RoutingRule",
    "RuleAnswer",
    "Status",
    "Unit",
    "UnitDirectory",
    "UnitKind",
    "UnitState",
    "WorkOrder",
    "allowed_actions",
    "contest_until",
    "decide",
    "return_until",
    "step",
]
