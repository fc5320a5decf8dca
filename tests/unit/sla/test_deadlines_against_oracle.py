"""The calendar against a minute-by-minute walk that shares no code with it.

`SLA_ORACLE_CASES=100000` widens the run; the default is small enough for every change.
"""

import os
import random
from datetime import datetime, timedelta

import orjson
import pytest

from services.sla.calendars import published_calendar
from services.sla.deadlines import answer_lines
from tests.unit.sla import oracle

CASES = int(os.environ.get("SLA_ORACLE_CASES", "4000"))
SEED = int(os.environ.get("SLA_ORACLE_SEED", "20190101"))

# around these days the rules meet: holidays, 调休 days, leap days, year ends with and without data
EDGES = [
    datetime(y, m, d, tzinfo=oracle.SHANGHAI)
    for y in range(2019, 2028)
    for m, d in ((1, 1), (2, 1), (4, 30), (9, 29), (12, 30))
]
EDGES += [datetime(y, 2, 29, tzinfo=oracle.SHANGHAI) for y in (2020, 2024)]


def _start(rng: random.Random) -> datetime:
    if rng.random() < 0.4:
        day = rng.choice(EDGES) + timedelta(days=rng.randint(-6, 6))
    else:
        day = datetime(2019, 1, 1, tzinfo=oracle.SHANGHAI) + timedelta(days=rng.randrange(365 * 9))
    if rng.random() < 0.3:  # exactly on the borders of office hours
        hour, minute = rng.choice([(0, 0), (9, 0), (12, 0), (13, 30), (17, 30), (23, 59)])
        return day.replace(hour=hour, minute=minute)
    return day + timedelta(minutes=rng.randrange(24 * 60))


def _case(rng: random.Random) -> tuple[datetime, str, int, int, list[tuple[datetime, datetime]]]:
    start = _start(rng)
    kind = rng.choice(["working", "natural"])
    minutes, days = (
        (0, rng.randint(1, 20)) if rng.random() < 0.5 else (rng.choice([0, 10, 15, 240, rng.randint(1, 3000)]), 0)
    )
    suspensions = []
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        since = start + timedelta(minutes=rng.randint(-3000, 15000))
        suspensions.append((since, since + timedelta(minutes=rng.choice([0, 1, rng.randint(1, 20000)]))))
    return start, kind, minutes, days, suspensions


def test_random_cases_agree_with_a_walk_over_every_minute() -> None:
    rng = random.Random(SEED)
    cases = [_case(rng) for _ in range(CASES)]
    lines = (
        orjson.dumps(
            {
                "id": i,
                "start": start,
                "kind": kind,
                "amount": f"P{days}D" if days else f"PT{minutes}M",
                "suspensions": suspensions,
            }
        )
        for i, (start, kind, minutes, days, suspensions) in enumerate(cases)
    )
    for (answer, succeeded), case in zip(answer_lines(lines, published_calendar()), cases, strict=True):
        start, kind, minutes, days, suspensions = case
        due, provisional = oracle.deadline(start, kind, minutes=minutes, days=days, suspensions=suspensions)
        expected = {"due_at": due.isoformat(), "provisional": provisional}
        found = orjson.loads(answer)
        assert succeeded
        assert {key: found[key] for key in expected} == expected, (case, found)


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
