"""What a process says: everything, but what Kafka's client repeats ten times a second only now and then."""

import logging

from shared.telemetry.logs import QUIET_S, Seldom


def record(logger: str, line: str, at: float) -> logging.LogRecord:
    found = logging.LogRecord(logger, logging.ERROR, __file__, 1, line, (), None)
    found.created = at
    return found


def test_a_line_of_the_client_is_said_again_only_after_a_while() -> None:
    seldom = Seldom("aiokafka")
    said = [
        seldom.filter(record("aiokafka.producer.sender", "no broker", at))
        for at in (0.0 + QUIET_S, 0.1 + QUIET_S, 1.9 * QUIET_S, 2.1 * QUIET_S)
    ]
    assert said == [True, False, False, True]


def test_another_line_of_the_client_is_said_at_once() -> None:
    seldom = Seldom("aiokafka")
    assert seldom.filter(record("aiokafka", "no broker", 10.0))
    assert seldom.filter(record("aiokafka", "broker is back", 10.0))


def test_lines_of_others_are_never_held_back() -> None:
    seldom = Seldom("aiokafka")
    assert all(seldom.filter(record("shared.bus.worker", "partition paused", 10.0)) for _ in range(3))
