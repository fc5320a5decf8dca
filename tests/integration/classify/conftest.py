"""One hub with classify alone; tests that turn its models or its catalogue make their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.testing.harness import Harness


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "classify") as hub:
        yield hub
