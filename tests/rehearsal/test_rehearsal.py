"""The short form of `make rehearsal`: the two weeks of 春节 with their 补班 days, on the stack of `make run`."""

from datetime import datetime

import pytest

from shared.clock import ZONE
from tests.rehearsal.stacks import rehearse

START = datetime(2026, 2, 12, tzinfo=ZONE)  # a Thursday; Saturday the 14th is worked, the 15th to the 23rd are free


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_weeks_around_the_spring_festival_are_as_calculated() -> None:
    found = rehearse(60, 13, START, seed=5)
    assert found["differences"] == []
    assert found["orders"] >= 60
    assert found["escalations"] > 100
    assert found["climbed"] > 20
    assert set(found["by_clock"]) >= {"accept", "first_contact", "complete", "callback", "rating"}
    assert set(found["by_level"]) == {1, 2, 3}
