"""The administrative divisions of the country and the place a text speaks of.

``load()`` gives the built-in directory; ``RegionDirectory`` is the Protocol any other source of regions answers
(architecture.md, Plug-ins). Rules: domain.md, 'Regions, platforms, units'.
"""

from shared.regions.directory import (
    Change,
    CityDivisions,
    DivisionDirectory,
    Place,
    Region,
    RegionDirectory,
    load,
    of_city,
    with_own,
)

__all__ = [
    "Change",
    "CityDivisions",
    "DivisionDirectory",
    "Place",
    "Region",
    "RegionDirectory",
    "load",
    "of_city",
    "with_own",
]
