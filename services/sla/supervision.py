"""Who is told of a supervision (督办), and what happens when nobody takes notice (domain.md, SLA, Supervision).

Level 1 is the unit's own supervisor's, level 2 the district's, level 3 the city's. One that is raised in time is told
at once; those that an outage delayed are told together, one digest for each audience. One that nobody acknowledges
climbs by the ladder of its class: while its clock runs the next level does that, afterwards a timer.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.sla import repository
from services.sla.domain.explanation import CLOCK_WORDS
from services.sla.domain.policy import ClockName, HandlingClass
from services.sla.events import ACTOR, LATE_AFTER, LEVEL_WORDS
from services.sla.terms import TermsBook
from shared.events.catalog.notices import Notice, NoticeIssued
from shared.ids import uuid7
from shared.outbox.uow import Timer, Uow

UNNOTICED_TIMER = "unnoticed"
"""one per supervision that nobody acknowledged: when it climbs"""

DIGEST_TIMER = "digest"
"""one per audience with late supervisions"""

TOP = 3
LISTED = 100
_REGION_DIGITS = {1: 9, 2: 6}


def audience_of(level: int, unit: str, region_code: str, platform: str) -> str:
    """Who is told at a level: the unit (without one its township), the district, the city."""
    if level == 1 and unit:
        return f"unit:{unit}"
    digits = _REGION_DIGITS.get(level)
    if digits is not None and region_code:
        return f"region:{region_code[:digits]}"
    return f"platform:{platform}"


class Supervision:
    """Tells supervisors, and lets climb what they do not acknowledge."""

    def __init__(self, terms: TermsBook, platform: str) -> None:
        self.terms = terms
        self.platform = platform

    def audience(self, level: int, row: Mapping[str, Any]) -> str:
        return audience_of(level, row["unit"], row["region_code"], self.platform)

    def announce(self, raised: Sequence[Mapping[str, Any]], uow: Uow) -> None:
        """Tell of those that were raised in time; the late ones wait for their digest."""
        for row in raised:
            if row["withdrawn_at"] is not None:
                continue
            if row["late"]:
                uow.arm(Timer(DIGEST_TIMER, row["audience"], uow.clock.now()))
                continue
            self._tell(uow, "supervision", row["level"], row["audience"], [row], "", row["raised_at"])
            self._watch(row, uow)

    def take_back(self, rows: Sequence[Mapping[str, Any]], uow: Uow) -> None:
        """Supervisions that an event read late withdrew: whoever was told is told so."""
        for row in rows:
            uow.disarm(UNNOTICED_TIMER, row["id"])
            if row["told_at"] is not None:
                audience = self.audience(row["reach"], row)
                self._tell(uow, "withdrawn", row["reach"], audience, [row], "撤回：", uow.clock.now())

    async def on_digest(self, timers: Sequence[Timer], uow: Uow) -> None:
        """All that an audience was not told because it came late, as one notice, once nothing late is left to fire."""
        now = uow.clock.now()
        if await repository.something_is_late(uow.pg, now - LATE_AFTER):
            for timer in timers:
                uow.arm(Timer(DIGEST_TIMER, timer.key, now))
            return
        found = await repository.tell_late(uow.pg, [timer.key for timer in timers], now)
        together: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in found:
            together[row["audience"]].append(row)
            self._watch(row, uow)
        for audience, rows in together.items():
            self._tell(uow, "digest", max(row["level"] for row in rows), audience, rows, "补发：", now)

    async def on_unnoticed(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Supervisions that nobody acknowledged by the time of the next level go to that level's supervisor."""
        due = {timer.key: timer.due_at for timer in timers}
        climbed = []
        for row in await repository.lock_unnoticed(uow.pg, list(due)):
            clock = row["clock_set"].clock(ClockName(row["clock"]), row["round"])
            if clock is not None and clock.running:
                continue  # the next level of the clock is announced to that supervisor
            row = {**row, "reach": row["reach"] + 1, "climbed_at": due[row["id"]]}
            climbed.append(row)
            if row["reach"] > row["highest"]:
                audience = self.audience(row["reach"], row)
                self._tell(uow, "climbed", row["reach"], audience, [row], "无人签收，上报：", due[row["id"]])
            self._watch(row, uow)
        await repository.climb(uow.pg, climbed)

    def _watch(self, row: Mapping[str, Any], uow: Uow) -> None:
        """Arms the climb to the level after `reach`; the level itself is the first."""
        reach = row["reach"]
        if reach >= TOP:
            return
        ladder = self.terms.at(row["raised_at"]).policy.ladders[HandlingClass(row["handling_class"])]
        wait = ladder[reach] - ladder[row["level"] - 1]
        uow.arm(Timer(UNNOTICED_TIMER, row["id"], row["raised_at"] + max(wait, timedelta(minutes=1))))

    def _tell(
        self,
        uow: Uow,
        kind: str,
        level: int,
        audience: str,
        rows: Sequence[Mapping[str, Any]],
        prefix: str,
        at: datetime,
    ) -> None:
        notice = Notice(
            id=uuid7(),
            kind=kind,
            audience=audience,
            level=level,
            words=prefix + _words(rows),
            count=len(rows),
            supervision_ids=[row["id"] for row in rows[:LISTED]],
            work_order_ids=[row["work_order_id"] for row in rows[:LISTED]],
            by_unit=dict(Counter(row["unit"] for row in rows)),
            since=min(row["raised_at"] for row in rows),
        )
        uow.emit(NoticeIssued(actor=ACTOR, reason=notice.words, after=notice), key=notice.id, sequence=1, time=at)


def _words(rows: Iterable[Mapping[str, Any]]) -> str:
    counts = Counter((row["level"], row["clock"]) for row in rows)
    parts = (
        f"{LEVEL_WORDS[level]}督办（{CLOCK_WORDS[ClockName(clock)]}）" + (f" {n} 件" if n > 1 else "")
        for (level, clock), n in sorted(counts.items())
    )
    return "、".join(parts)
