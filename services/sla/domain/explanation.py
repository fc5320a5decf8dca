"""A deadline in words: which spans were counted and why others were not (domain.md, "A deadline explains itself").

Words are Chinese, because handlers and citizens read them; times are in the platform's zone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby

from services.sla.domain.calendar import ZONE, WorkingCalendar
from services.sla.domain.clock import Clock
from services.sla.domain.policy import ClockName, Counting
from services.sla.domain.relay import Calendar

CLOCK_WORDS = {
    ClockName.ACCEPT: "签收",
    ClockName.FIRST_CONTACT: "首次联系",
    ClockName.COMPLETE: "办结",
    ClockName.CALLBACK: "回访",
    ClockName.REVIEW: "人工复核",
    ClockName.RULING: "争议裁定",
    ClockName.RATING: "评价督办",
    ClockName.HANDOFF: "移交回执",
}

_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")


@dataclass(frozen=True, slots=True)
class Segment:
    """One span of an explanation: [since, until), whether it counts, and how many seconds it used."""

    since: datetime
    until: datetime
    counted: bool
    seconds: int
    words: str


def explain(clock: Clock, calendar: Calendar) -> tuple[Segment, ...]:
    """The rule, every span from the start to the deadline in order, and the deadline."""
    if clock.name is ClockName.RATING:
        return ()
    start = clock.started_at.astimezone(ZONE)
    result = [Segment(start, start, False, 0, _rule_words(clock, start))]
    due = clock.due_at
    end = start if due is None else due.astimezone(ZONE)
    position = start
    for since, until in clock.suspensions:
        if due is not None and since >= end:
            break
        if since > position:
            result.extend(_spans(clock, position, since.astimezone(ZONE), calendar))
        begin = max(position, since.astimezone(ZONE))
        if until is None:
            result.append(Segment(begin, begin, False, 0, f"{_moment(begin)} 起挂账，停止计时，恢复后继续"))
            return tuple(result)
        finish = until.astimezone(ZONE)
        if finish > begin:
            result.append(Segment(begin, finish, False, 0, f"挂账 {_moment(begin)} 至 {_moment(finish)} 不计"))
            position = finish
    if end > position:
        result.extend(_spans(clock, position, end, calendar))
    if clock.not_before is not None:
        result.append(Segment(end, end, False, 0, f"类别或时限变更时按新规则已超期，以变更时刻 {_moment(end)} 为到期"))
    else:
        provisional = "（节假日安排尚未公布，暂按周一至周五计算）" if clock.provisional else ""
        result.append(Segment(end, end, False, 0, f"{_moment(end)} 到期{provisional}"))
    return tuple(result)


def _rule_words(clock: Clock, start: datetime) -> str:
    working = clock.allowance.counting is Counting.WORKING
    half = "的一半（二次办理）" if clock.halved else ""
    granted = f"，延期 {_length(clock.extension, by_day=not working)}" if clock.extension else ""
    words = f"{CLOCK_WORDS[clock.name]}时限 {clock.allowance.words()}{half}{granted}"
    if clock.allowance.working_days:
        words += "，起算当日不计入，至期满工作日下班时为止"
    source = f"规则 {clock.policy}" + (f"，历法 {clock.calendar}" if clock.calendar else "")
    return f"{_weekday(start.date())} {_moment(start)} 起计，{words}（{source}）"


def _spans(clock: Clock, start: datetime, end: datetime, calendar: Calendar) -> Iterator[Segment]:
    """Counted and uncounted spans of [start, end) outside suspensions."""
    if clock.allowance.counting is Counting.NATURAL:
        seconds = int((end - start).total_seconds())
        words = f"{_moment(start)} 至 {_moment(end)} 昼夜连续计 {_length(end - start)}"
        yield Segment(start, end, True, seconds, words)
        return
    for since, until, own in calendar.legs(start, end):
        yield from _working_spans(since.astimezone(ZONE), until.astimezone(ZONE), own)


def _working_spans(start: datetime, end: datetime, calendar: WorkingCalendar) -> Iterator[Segment]:
    days = [start.date() + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]
    for (works, name), group in groupby(days, key=lambda day: _nature(day, calendar)):
        members = list(group)
        since = max(start, datetime.combine(members[0], time(0), ZONE))
        until = min(end, datetime.combine(members[-1] + timedelta(days=1), time(0), ZONE))
        if until <= since:
            continue
        used = calendar.between(since, until)
        if not works:
            yield Segment(since, until, False, 0, f"{_range(members, name)}不计")
        elif used:
            how = f"{_day(members[0])} {_weekday(members[0])}补班计入 " if name else f"{_range(members, '')}计 "
            yield Segment(since, until, True, int(used.total_seconds()), how + _length(used, by_day=False))


def _nature(day: date, calendar: WorkingCalendar) -> tuple[bool, str]:
    """Whether the day is worked, and the word for why it is an exception."""
    name = calendar.data.name(day)
    if calendar.is_working(day):
        return True, f"补班{day}" if name else ""
    return False, name or "周末"


def _range(days: list[date], name: str) -> str:
    if name == "周末":
        return "周末"
    first, last = days[0], days[-1]
    span = _day(first) if first == last else f"{_day(first)} 至 {_day(last)}"
    return f"{name} {span} " if name else f"{span} "


def _day(day: date) -> str:
    return f"{day:%m-%d}"


def _weekday(day: date) -> str:
    return _WEEKDAYS[day.weekday()]


def _moment(instant: datetime) -> str:
    return f"{instant:%m-%d %H:%M:%S}" if instant.second else f"{instant:%m-%d %H:%M}"


def _length(amount: timedelta, *, by_day: bool = True) -> str:
    """The amount in words; working time is told in hours, because a working day is shorter than 24 of them."""
    seconds = int(amount.total_seconds())
    days, rest = divmod(seconds, 86_400) if by_day else (0, seconds)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((days, "天"), (hours, "小时"), (minutes, "分"), (seconds, "秒"))
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 分"
