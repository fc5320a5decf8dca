"""One intake for all tests of this folder: each test makes its own appeals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.testing.harness import Harness


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def hub(server_url: str) -> AsyncIterator[Harness]:
    async with Harness.fresh(server_url, "intake") as harness:
        yield harness
