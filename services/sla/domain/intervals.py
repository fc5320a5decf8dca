"""How a budget is used up: counting on a line with holes (domain.md, SLA, Counting).

A suspension is a half-open span [from, to) during which nothing is counted; `None` as its end means still open.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from services.sla.domain.calendar import Measure


class Suspension(NamedTuple):
    """An approved stop of the complete clock (挂账)."""

    since: datetime
    until: datetime | None


def merged(suspensions: Iterable[Suspension]) -> tuple[Suspension, ...]:
    """The same time as ordered, non-overlapping, non-empty spans."""
    result: list[Suspension] = []
    for span in sorted(suspensions, key=lambda s: s.since):
        if span.until is not None and span.until <= span.since:
            continue
        if result and (result[-1].until is None or span.since <= result[-1].until):
            last = result[-1]
            if last.until is not None and (span.until is None or span.until > last.until):
                result[-1] = Suspension(last.since, span.until)
        else:
            result.append(span)
    return tuple(result)


def counted(measure: Measure, start: datetime, end: datetime, suspensions: tuple[Suspension, ...]) -> timedelta:
    """Time counted in [start, end) outside the suspensions (which must be merged)."""
    total = measure.between(start, end)
    for since, until in suspensions:
        if since >= end:
            break
        total -= measure.between(max(since, start), end if until is None else min(until, end))
    return total


def used_up_at(
    measure: Measure, start: datetime, budget: timedelta, suspensions: tuple[Suspension, ...]
) -> datetime | None:
    """The earliest instant at which `budget` is used up; None while an open suspension comes first."""
    position, left = start, budget
    for since, until in suspensions:
        available = measure.between(position, since)
        if available >= left:
            break
        if until is None:
            return None
        left -= available
        position = max(position, until)
    return measure.after(position, left)
