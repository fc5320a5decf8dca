"""Time as a dependency: services ask a `Clock`, so that tests and local stacks can turn it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
"""The zone of every platform's business days (domain.md, "SLA")."""


def loop_time() -> float:
    """Seconds on the running event loop's own clock, for pauses and deadlines inside a process: the one clock by
    which its sleeps are measured, and one that a simulation can turn."""
    return asyncio.get_running_loop().time()


class Clock(Protocol):
    """Business time. Tokens, leases, back-off and sessions use real time, never this."""

    def now(self) -> datetime:
        """The present business instant, aware, in UTC."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait so many real seconds, or less when the clock was turned."""
        ...


class SystemClock:
    """Business time is real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until a test turns it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 11, 2, 2, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))

    def set(self, instant: datetime) -> None:
        self._now = instant.astimezone(UTC)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


SKEW = timedelta(seconds=10)
"""how far two machines' clocks may differ and still be reconciled by `CausalClock`"""


class CausalClock:
    """A clock that is not earlier than a cause: what follows from an event never carries a time before it, although
    the clocks of two machines differ a little. A cause further ahead than `SKEW` is not believed."""

    def __init__(self, clock: Clock, cause: datetime) -> None:
        self._clock = clock
        self._cause = cause

    def now(self) -> datetime:
        now = self._clock.now()
        return self._cause if now < self._cause <= now + SKEW else now

    async def pause(self, seconds: float) -> None:
        await self._clock.pause(seconds)


def rfc3339(instant: datetime) -> str:
    """An aware instant in the platform's zone, e.g. `2026-11-02T10:00:00+08:00` (api.md: RFC 3339 with offset)."""
    return instant.astimezone(ZONE).isoformat()


def in_zone(value: Any) -> Any:
    """Plain values as an answer shows them: every instant in them, however deep, in the platform's zone."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {name: in_zone(part) for name, part in value.items()}
    return [in_zone(part) for part in value] if isinstance(value, (list, tuple)) else value


def period_of(at: datetime, zone: ZoneInfo = ZONE) -> str:
    """The month (YYYY-MM) of an instant in the platform's zone."""
    local = at.astimezone(zone)
    return f"{local.year:04d}-{local.month:02d}"


def period_bounds(period: str, zone: ZoneInfo = ZONE) -> tuple[datetime, datetime]:
    """First instant of the month and of the next one. Raises `ValueError` for anything but YYYY-MM."""
    year, dash, month = period.partition("-")
    if not (dash and len(year) == 4 and len(month) == 2 and (year + month).isdecimal() and year.isascii()):
        raise ValueError(f"a period is YYYY-MM, not {period!r}")
    start = datetime(int(year), int(month), 1, tzinfo=zone)
    ends_year, ends_month = divmod(start.year * 12 + start.month, 12)
    return start, datetime(ends_year, ends_month + 1, 1, tzinfo=zone)
