"""The calendar against a minute-by-minute walk that shares no code with it.

`SLA_ORACLE_CASES=100000` widens the run; the default is small enough for every change.
"""

import os
import random

import orjson
import pytest

from services.sla.calendars import published_calendar
from services.sla.deadlines import answer_lines
from tests.unit.sla.cases import case_of

CASES = int(os.environ.get("SLA_ORACLE_CASES", "4000"))
SEED = int(os.environ.get("SLA_ORACLE_SEED", "20190101"))


def test_random_cases_agree_with_a_walk_over_every_minute() -> None:
    rng = random.Random(SEED)
    cases = [case_of(rng) for _ in range(CASES)]
    lines = (case.line(number) for number, case in enumerate(cases))
    answers = answer_lines(lines, published_calendar())
    for number, ((answer, succeeded), case) in enumerate(zip(answers, cases, strict=True)):
        assert succeeded
        assert orjson.loads(answer) == case.expected(number), case


def test_a_year_without_published_holidays_is_provisional() -> None:
    line = b'{"id": 1, "start": "2026-12-31T16:30:00+08:00", "kind": "working", "amount": "PT2H"}'
    [(answer, _)] = answer_lines([line], published_calendar())
    assert orjson.loads(answer) == {"id": 1, "due_at": "2027-01-01T10:00:00+08:00", "provisional": True}


@pytest.mark.parametrize(
    ("case", "pointer"),
    [
        (b'{"id": 1, "start": "2026-01-05T10:00:00", "kind": "working", "amount": "PT4H"}', "/start"),
        (b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "working", "amount": "-PT4H"}', "/amount"),
        (b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "working", "amount": "P1DT2H"}', "/amount"),
        (b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "natural", "amount": "P1M"}', "/amount"),
        (b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "lunar", "amount": "P1D"}', "/kind"),
        (b'{"id": 1, "start": "1999-01-05T10:00:00+08:00", "kind": "working", "amount": "P1D"}', "/start"),
        (b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "working", "amount": "P999999D"}', "/start"),
        (b'{"id": 1, "start": 7, "kind": "working", "amount": "P1D"}', "/start"),
        (
            b'{"id": 1, "start": "2026-01-05T10:00:00+08:00", "kind": "working", "amount": "P1D",'
            b' "suspensions": [["2026-01-06T10:00:00+08:00", "2026-01-05T10:00:00+08:00"]]}',
            "/suspensions/0",
        ),
        (b"[1]", ""),
        (b"{", ""),
    ],
)
def test_a_case_that_cannot_be_computed_is_refused_with_line_and_reason(case: bytes, pointer: str) -> None:
    good = b'{"id": 0, "start": "2026-01-05T10:00:00+08:00", "kind": "natural", "amount": "PT1H"}'
    answers = list(answer_lines([good, b"\n", case, good], published_calendar()))
    assert [succeeded for _, succeeded in answers] == [True, False, True]
    refusal = orjson.loads(answers[1][0])
    assert refusal["line"] == 3
    assert refusal["error"]["pointer"] == pointer
    assert refusal["error"]["detail"]
