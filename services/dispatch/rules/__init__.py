"""The built-in routing rules, in the order in which a city usually asks them; `rules.yaml` decides."""

from typing import Any

from services.dispatch.rules.cross_region import CrossRegion
from services.dispatch.rules.duty_list import DutyListRule
from services.dispatch.rules.emergency_roster import EmergencyRoster
from services.dispatch.rules.green_channel import GreenChannel
from services.dispatch.rules.last_resort import LastResort
from services.dispatch.rules.load_absence import LoadAbsence
from services.dispatch.rules.matter_territory import MatterTerritory
from services.dispatch.rules.territory_first import TerritoryFirst

ENTRY_POINT_GROUP = "sushu.routing_rules"

BUILT_IN: tuple[type[Any], ...] = (
    GreenChannel,
    EmergencyRoster,
    CrossRegion,
    DutyListRule,
    TerritoryFirst,
    MatterTerritory,
    LoadAbsence,
    LastResort,
)
