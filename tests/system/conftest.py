"""Whole stacks, started as a user starts them, with the turned clock; shared by the tests of this folder."""

from collections.abc import Iterator

import httpx
import pytest

from tests.bench.stack import TOKEN, Stack, running


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """`make run` and `make up`, one after the other."""
    if request.param == "kafka":
        request.getfixturevalue("kafka_possible")
    with running(request.param, SUSHU_SIM_CLOCK="1") as found:
        yield found


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the stack with the admin token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=180, trust_env=False) as client:
        yield client
