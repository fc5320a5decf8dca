"""Who is told of a supervision (督办), and what happens when nobody takes notice (domain.md, SLA, Supervision).

Level 1 is the unit's own supervisor's, level 2 the district's, level 3 the city's. One that is raised in time is told
at once; those that an outage delayed are told together, one digest for each audience. One that nobody acknowledges
climbs by the ladder of its class, from when it was told: while its clock runs the next level does that, afterwards a
timer.
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
from shared.events.catalog.evaluations import EvaluationUnitWarned
from shared.events.catalog.notices import Notice, NoticeIssued
from shared.events.event import Message
from shared.ids import uuid7
from shared.outbox.uow import Timer, Uow

UNNOTICED_TIMER = "unnoticed"
"""one per supervision that nobody acknowledged: when it climbs"""

DIGEST_TIMER = "digest"
"""one per audience with late supervisions"""

STEPS = ("clock", UNNOTICED_TIMER)
"""the timers by which something is raised or climbs (`handlers.CLOCK_TIMER`); a digest waits for the late ones"""

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
            # what has just climbed may wait for its digest still: then the one below is the last who knows
            reach = row["reach"] if row["told_at"] is not None else row["reach"] - 1
            if reach >= row["level"]:
                audience = self.audience(reach, row)
                self._tell(uow, "withdrawn", reach, audience, [row], "撤回：", uow.clock.now())

    async def on_digest(self, timers: Sequence[Timer], uow: Uow) -> None:
        """All that an audience was not told because it came late, as one notice, once nothing late is left to fire."""
        now = uow.clock.now()
        # the batch that brought this timer may have fired late ones, too, and is about to arm the next of their steps
        waiting = uow.arms(STEPS, now - LATE_AFTER)
        if waiting or await repository.something_is_late(uow.pg, STEPS, now - LATE_AFTER):
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
        now = uow.clock.now()
        due = {timer.key: timer.due_at for timer in timers}
        climbed = []
        for row in await repository.lock_unnoticed(uow.pg, list(due)):
            clock = row["clock_set"].clock(ClockName(row["clock"]), row["round"])
            if clock is not None and clock.running:
                continue  # the next level of the clock is announced to that supervisor
            at, reach = due[row["id"]], row["reach"] + 1
            row = {**row, "reach": reach, "climbed_at": at, "audience": self.audience(reach, row)}
            if reach > row["highest"] and now - at > LATE_AFTER:
                row["told_at"] = None
                uow.arm(Timer(DIGEST_TIMER, row["audience"], now))
            else:
                if reach > row["highest"]:
                    self._tell(uow, "climbed", reach, row["audience"], [row], "无人签收，上报：", at)
                self._watch(row, uow)
            climbed.append(row)
        await repository.climb(uow.pg, climbed)

    async def on_warnings(self, batch: Sequence[Message[EvaluationUnitWarned]], uow: Uow) -> None:
        """专项督办 of units among the last tenth for three published periods in a row (domain.md, Evaluation): the unit
        and the city are told, each once. It hangs on no order and no clock, so nothing climbs."""
        for message in batch:
            warned = message.data.warning
            ranks = "、".join(
                f"{period} 第 {rank} 名" for period, rank in zip(warned.periods, warned.ranks, strict=False)
            )
            words = f"专项督办：{warned.name or warned.unit}连续三期排名末位（{ranks}）"
            for level in (1, TOP):
                notice = Notice(
                    id=uuid7(),
                    kind="special",
                    audience=audience_of(level, warned.unit, warned.region_code, self.platform),
                    level=level,
                    words=words,
                    by_unit={warned.unit: 1},
                    since=message.time,
                )
                _issue(notice, uow, message.time)

    def _watch(self, row: Mapping[str, Any], uow: Uow) -> None:
        """Arms the climb to the level after `reach`: from the instant of `reach`, or from when it was told, if late."""
        reach = row["reach"]
        if reach >= TOP:
            return
        ladder = self.terms.at(row["raised_at"]).policy.ladders[HandlingClass(row["handling_class"])]
        wait = max(ladder[reach] - ladder[reach - 1], timedelta(minutes=1))
        since, told_at = row.get("climbed_at") or row["raised_at"], row["told_at"]
        uow.arm(Timer(UNNOTICED_TIMER, row["id"], (told_at if told_at - since > LATE_AFTER else since) + wait))

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
        _issue(notice, uow, at)


def _issue(notice: Notice, uow: Uow, at: datetime) -> None:
    uow.emit(NoticeIssued(actor=ACTOR, reason=notice.words, after=notice), key=notice.id, sequence=1, time=at)


def _words(rows: Iterable[Mapping[str, Any]]) -> str:
    counts = Counter((row["level"], row["clock"]) for row in rows)
    parts = (
        f"{LEVEL_WORDS[level]}督办（{CLOCK_WORDS[ClockName(clock)]}）" + (f" {n} 件" if n > 1 else "")
        for (level, clock), n in sorted(counts.items())
    )
    return "、".join(parts)
