"""The short form of `make test-federation`: two platforms, as starting them is most of the time. The way through a
third one is walked in tests/integration/federation."""

import asyncio

import pytest

from tests.federation.run import Form, run


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_platforms_under_fire_lose_nothing_and_double_nothing() -> None:
    result = asyncio.run(run(Form(n=60, rate=20, down_s=2, cut=0.08, direct=True)))
    assert not result["faults"], result
    assert (result["lost"], result["doubled"]) == (0, 0)
    assert result["handed_over"] == 60
    assert result["cut_after_send"] > 5, "answers must have been cut off"
    assert result["receipts_repeated_late"] > 5, "receipts must have come again"
    assert result["rated_through_both"], "a rating must have come back"
