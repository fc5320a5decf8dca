"""House-keeping that comes round every hour and never stops a service."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from shared.errors import Transient

log = logging.getLogger(__name__)

CARE_S = 3600


async def hourly(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` every hour; what fails for a passing reason is done an hour later."""
    while True:
        await asyncio.sleep(CARE_S)
        try:
            await work()
        except Transient as error:
            log.warning("partitions are looked after later", extra={"error": str(error)})
