"""What dispatch does: reacts to events and timers, takes people's actions, keeps its registers."""

from services.dispatch.handlers.act import Act, actor_of, sees
from services.dispatch.handlers.actions import Actions
from services.dispatch.handlers.handovers import Decide, Handovers, offer_view
from services.dispatch.handlers.reactions import Reactions
from services.dispatch.handlers.registers import Registers, duty_view, unit_view

__all__ = [
    "Act",
    "Actions",
    "Decide",
    "Handovers",
    "Reactions",
    "Registers",
    "actor_of",
    "duty_view",
    "offer_view",
    "sees",
    "unit_view",
]
