"""The short form of `make test-chaos`, one for each stack: every kind of disturbance that fits into two minutes."""

import asyncio
from typing import Any

import pytest

from tests.chaos.run import Form, chaos

SEED = 7


def play(transport: str) -> dict[str, Any]:
    # a loop of its own: the stack's processes belong to nobody else
    return asyncio.run(chaos(Form(transport=transport, rounds=1, seed=SEED, short=True, rate=50, lives=3, calm_s=1)))


def assert_nothing_lost_and_nothing_twice(result: dict[str, Any]) -> None:
    assert not result["faults"], result
    assert result["appeals_accepted"] > 500, "the load must have been flowing"
    assert result["lives"]["ended"] > 20, "people must have got through with their work"
    assert result["escalations"] > 0, "deadlines must have passed"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_process_under_fire_loses_nothing_and_does_nothing_twice() -> None:
    assert_nothing_lost_and_nothing_twice(play("embedded"))


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_services_on_kafka_under_fire_lose_nothing_and_do_nothing_twice(kafka_possible: None) -> None:
    result = play("kafka")
    assert_nothing_lost_and_nothing_twice(result)
    assert result["repeats_in_the_log"] > 0, "a relay must have been met between send and mark"
