"""The administrative divisions of the country and the place a text speaks of.

``load()`` gives the built-in directory; ``RegionDirectory`` is the Protocol any other source of regions answers
(architecture.md, Plug-ins). Rules: domain.md, 'Regions, platforms, units'.
"""

from shared.regions.directory import DivisionDirectory, Place, Region, RegionDirectory, load

__all__ = ["DivisionDirectory", "Place", "Region", "RegionDirectory", "load"]
