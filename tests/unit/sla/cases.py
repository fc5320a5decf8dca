"""Random cases for `python -m services.sla deadlines`, many of them where rules meet."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from tests.unit.sla import oracle


class Case(NamedTuple):
    """What is to be computed; `days` or `minutes`, never both."""

    start: datetime
    kind: str
    minutes: int
    days: int
    suspensions: list[tuple[datetime, datetime]]

    def line(self, number: int) -> bytes:
        """As the command reads it."""
        return orjson.dumps(
            {
                "id": number,
                "start": self.start,
                "kind": self.kind,
                "amount": f"P{self.days}D" if self.days else f"PT{self.minutes}M",
                "suspensions": self.suspensions,
            }
        )

    def expected(self, number: int) -> dict[str, object]:
        """The answer, by the walk over minutes."""
        due, provisional = oracle.deadline(
            self.start, self.kind, minutes=self.minutes, days=self.days, suspensions=self.suspensions
        )
        return {"id": number, "due_at": due.isoformat(), "provisional": provisional}


# around these days the rules meet: holidays, 调休 days, leap days, year ends with and without data
EDGES = [
    datetime(y, m, d, tzinfo=oracle.SHANGHAI)
    for y in range(2019, 2028)
    for m, d in ((1, 1), (2, 1), (4, 30), (9, 29), (12, 30))
]
EDGES += [datetime(y, 2, 29, tzinfo=oracle.SHANGHAI) for y in (2020, 2024)]


def start_of(rng: random.Random) -> datetime:
    if rng.random() < 0.4:
        day = rng.choice(EDGES) + timedelta(days=rng.randint(-6, 6))
    else:
        day = datetime(2019, 1, 1, tzinfo=oracle.SHANGHAI) + timedelta(days=rng.randrange(365 * 9))
    if rng.random() < 0.3:  # exactly on the borders of office hours
        hour, minute = rng.choice([(0, 0), (9, 0), (12, 0), (13, 30), (17, 30), (23, 59)])
        return day.replace(hour=hour, minute=minute)
    return day + timedelta(minutes=rng.randrange(24 * 60))


def case_of(rng: random.Random) -> Case:
    start = start_of(rng)
    kind = rng.choice(["working", "natural"])
    minutes, days = (
        (0, rng.randint(1, 20)) if rng.random() < 0.5 else (rng.choice([0, 10, 15, 240, rng.randint(1, 3000)]), 0)
    )
    suspensions = []
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        since = start + timedelta(minutes=rng.randint(-3000, 15000))
        suspensions.append((since, since + timedelta(minutes=rng.choice([0, 1, rng.randint(1, 20000)]))))
    return Case(start, kind, minutes, days, suspensions)
