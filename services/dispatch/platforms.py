"""The platform directory (`SUSHU_PLATFORMS`) as routing sees it (api.md, Between platforms)."""

import asyncio

from services.dispatch.desk import RoutingDesk
from services.dispatch.domain.platforms import Agreement, Platform, PlatformDirectory
from shared.federation.directory import Directory, DirectoryFile
from shared.regions import RegionDirectory

LOOK_S = 1.0
"""real seconds between two looks at the file"""


def seen_from(own: str, directory: Directory) -> PlatformDirectory:
    """The directory seen from the platform `own`."""
    return PlatformDirectory.of(
        own,
        [Platform(peer.code, peer.level, peer.parent, peer.base_url) for peer in directory.peers.values()],
        [Agreement(pact.platforms, pact.until) for pact in directory.pacts],
    )


async def keep_current(file: DirectoryFile, desk: RoutingDesk) -> None:
    """Route by the directory as it is now; one that cannot be used leaves the last good one in force."""
    while file.path:
        if file.look() and file.current is not None:
            desk.platforms, desk.trouble = seen_from(desk.platform, file.current), desk.rules_trouble
        await asyncio.sleep(LOOK_S)


def neighbours(own: str, regions: RegionDirectory) -> PlatformDirectory:
    """The directory of the demo city: every province and city of the division list is a platform, without an address.

    So a case of another city is offered there and stays `offered` until a real directory says how to reach it.
    """
    provinces = regions.children("")
    cities = [region for province in provinces for region in regions.children(province.code) if region.level == 2]
    return PlatformDirectory.of(
        own, [Platform(region.code, region.level, region.parent or None) for region in (*provinces, *cities)]
    )
