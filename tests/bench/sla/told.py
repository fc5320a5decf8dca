"""What sla published, read from the log without a line of sla's or the catalogue's code."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson

ONE_CLOCK = "complete"


class Told(NamedTuple):
    """One event of `sla.clocks.v1`."""

    key: str
    sequence: int
    type: str
    at: datetime
    """business time"""
    named_ms: int
    """the millisecond in its UUIDv7, taken in the transaction that fires it"""
    appended: float
    """when it stood in the log, seconds"""
    clocks: tuple[str, ...]
    round: int | None
    level: int | None
    late: bool
    taken_back: tuple[int, ...]
    lamp: str
    """of the clock of the bench after the event"""
    supervision_id: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One of `sla.notices.v1`."""

    kind: str
    audience: str
    count: int
    supervision_ids: tuple[str, ...]
    at: datetime


async def _stream(url: str, topic: str) -> list[tuple[dict[str, str], Any, float]]:
    pg: Any = await asyncpg.connect(url, command_timeout=None)
    found = []
    try:
        async with pg.transaction():
            known: set[str] = set()
            async for row in pg.cursor(
                "SELECT headers::text AS headers, value, extract(epoch FROM appended_at) AS appended FROM bus.log"
                " WHERE topic = $1 ORDER BY partition, log_offset",
                topic,
                prefetch=2_000,
            ):
                headers = dict(orjson.loads(row["headers"]))
                if headers["ce_id"] not in known:  # the bus delivers at least once; readers drop what they know
                    found.append((headers, orjson.loads(row["value"]), float(row["appended"])))
                known.add(headers["ce_id"])
    finally:
        await pg.close()
    return found


async def clocks(url: str) -> dict[str, list[Told]]:
    """What was said of each order, in the order of the log."""
    found: dict[str, list[Told]] = defaultdict(list)
    for headers, data, appended in await _stream(url, "sla.clocks.v1"):
        lamps = [state["lamp"] for state in data["after"]["clocks"] if state["clock"] == ONE_CLOCK]
        key = headers["ce_subject"]
        found[key].append(
            Told(
                key,
                int(headers["ce_sequence"]),
                headers["ce_type"].removeprefix("clock."),
                datetime.fromisoformat(headers["ce_time"]),
                int(headers["ce_id"].replace("-", "")[:12], 16),
                appended,
                tuple(data["clocks"]) if "clocks" in data else (data["clock"],),
                data.get("round"),
                data.get("level"),
                bool(data.get("late")),
                tuple(data.get("levels", ())),
                lamps[-1] if lamps else "",
                data.get("supervision_id", ""),
            )
        )
    return found


async def notices(url: str) -> list[Notice]:
    """What supervisors were told."""
    return [
        Notice(
            data["after"]["kind"],
            data["after"]["audience"],
            data["after"]["count"],
            tuple(data["after"]["supervision_ids"]),
            datetime.fromisoformat(headers["ce_time"]),
        )
        for headers, data, _ in await _stream(url, "sla.notices.v1")
    ]


def escalations(events: Iterable[Told]) -> list[Told]:
    """Those that announce a level."""
    return [one for one in events if one.type == "escalated"]


def standing(events: Iterable[Told]) -> list[int]:
    """The levels announced and not taken back, as the stream says."""
    levels: list[int] = []
    for one in events:
        if one.type == "escalated" and one.level is not None:
            levels.append(one.level)
        elif one.type == "corrected":
            for level in one.taken_back:
                levels.remove(level)
    return levels


def faults_of_order(events: Sequence[Told], expected: Mapping[int, datetime]) -> list[str]:
    """What is wrong with the ladder of one order: `expected` has the instant of every level that must have been
    announced, once, in order, not before its time, and no other."""
    faults = []
    raised = escalations(events)
    levels = [one.level for one in raised]
    if [one.sequence for one in events] != list(range(1, len(events) + 1)):
        faults.append("numbers have a gap or repeat")
    if set(levels) - set(expected):
        faults.append("a level that must not be")
    if set(expected) - set(levels):
        faults.append("a level is missing")
    if len(levels) != len(set(levels)):
        faults.append("a level twice")
    if levels != sorted(levels, key=lambda level: level or 0):
        faults.append("levels out of order")
    if any((one.clocks, one.round) != ((ONE_CLOCK,), 1) for one in raised):
        faults.append("of another clock or round")
    if any(one.at != expected.get(one.level or 0, one.at) for one in raised):
        faults.append("another instant")
    if len(reds := [one for one in events if one.type == "turned_red"]) != (1 if expected else 0) or any(
        one.at != expected[1] for one in reds
    ):
        faults.append("red not once at due")
    return faults
