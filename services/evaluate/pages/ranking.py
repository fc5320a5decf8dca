"""The ranking of a month: who stands where by what, who moved and why, and whose sample is too small to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

from services.evaluate.comparison import Comparison
from services.evaluate.domain import RATES, Level, sides
from services.evaluate.months import Month
from services.evaluate.pages.frame import (
    count_of,
    framed,
    interval,
    month_name,
    months_around,
    moved,
    opening,
    percent,
    portrait_of,
    signed,
    state_of,
    strip,
    table,
    tabs,
)
from services.evaluate.standings import Standing
from services.evaluate.words import COUNT_NAMES, LEVEL_NAMES, RATE_NAMES, called

SHOWN = ("response", "solution", "satisfaction", "on_time", "second_handling", "return", "repeat")
WITH_INTERVAL = ("response", "solution", "satisfaction")
POINTS = ("shirked", "false_completions", "late")
MOVED = 5


@dataclass(frozen=True, slots=True)
class _View:
    """What the caller sees of a month."""

    month: Month
    comparison: Comparison
    seen: Mapping[str, Standing]
    warned: Collection[str]

    def name(self, one: Standing) -> str:
        """Escaped; the code where there is no name."""
        return escape(self.month.names.get(one.name, ("", ""))[0] or one.name)

    def number(self, one: Standing, count: str) -> str:
        """A count that opens its cases."""
        value = getattr(one.counts, count)
        return self.opens(one, count, f"{value:,}") if value else "0"

    def opens(self, one: Standing, count: str, shown: object) -> str:
        return opening(self.month.period, self.month.level, one.name, count, shown)

    def link(self, one: Standing) -> str:
        """The name; that of a unit opens its portrait."""
        if self.month.level is not Level.UNIT:
            return self.name(one)
        return portrait_of(one.name, self.month.period, self.name(one))


def ranking_page(
    place: str,
    month: Month,
    comparison: Comparison,
    city: Standing | None,
    seen: Sequence[Standing],
    warned: Collection[str],
) -> HTMLResponse:
    """The page; `city` is the line of all together, `seen` are the lines that the caller may see, best first, `warned`
    who is among the last tenth for the third time in a row."""
    view = _View(month, comparison, {one.name: one for one in seen}, warned)
    ranked = [one for one in seen if one.rank is not None]
    small = [one for one in seen if one.rank is None]
    parts = [
        tabs(month.period, month.level),
        _tiles(view, city, ranked),
        _movers(view),
        _table(view, ranked),
        _small(view, small),
    ]
    title = f"{place} 12345 热线　{month_name(month.period)}赛马排名（{LEVEL_NAMES[month.level]}）"
    nav = months_around(month.period, lambda other: f"/v1/rankings/{other}?level={month.level.value}")
    published = None if month.published is None else month.published.facts()
    return framed(title, state_of(published), nav, "\n".join([*parts, _method(month)]))


def _tiles(view: _View, city: Standing | None, ranked: Sequence[Standing]) -> str:
    tiles = []
    if city is not None:
        counts, period = city.counts, view.month.period
        shown = [("closed", f"{counts.closed:,}", "反馈办结诉求"), ("asked", f"{counts.asked:,}", "已问到市民")]
        shown += [
            (count_of(rate), percent(counts, rate), f"全市{RATE_NAMES[rate]}") for rate in (*WITH_INTERVAL, "on_time")
        ]
        tiles += [(opening(period, Level.CITY, city.name, count, number), words) for count, number, words in shown]
    tiles.append((f"{len(ranked)}", "参加排名"))
    middle = next((line["peers"]["median_score"] for line in view.comparison.lines.values()), None)
    tiles.append(("—" if middle is None else f"{middle:.2f}", "得分中位数"))
    return (
        '<div class="tiles">'
        + "".join(f"<div><strong>{number}</strong><small>{words}</small></div>" for number, words in tiles)
        + "</div>"
    )


def _movers(view: _View) -> str:
    then = {one.name: one for one in view.comparison.before}
    blocks = []
    for words, names in zip(("进步最大", "退步最大"), view.comparison.moved(MOVED), strict=True):
        rows = [_mover(view, then[name], view.seen[name]) for name in names if name in view.seen]
        if rows:
            head = [LEVEL_NAMES[view.month.level], "名次", "得分", "主要原因（对得分的影响）"]
            blocks.append(f"<section><h2>{words}</h2>{table(head, rows)}</section>")
    return f'<div class="sides">{"".join(blocks)}</div>' if blocks else ""


def _mover(view: _View, then: Standing, now: Standing) -> str:
    reasons = [
        f"{view.opens(now, count_of(reason['name']), called(reason['name']))} {signed(reason['points'])}"
        for reason in view.comparison.reasons(now.name)[:3]
    ]
    return (
        f'<tr><td class="name">{view.link(now)}</td><td>{then.rank} → <b>{now.rank}</b></td>'
        f"<td>{then.score} → <b>{now.score}</b></td><td>{'　'.join(reasons) or '各项变化不足 0.01 分'}</td></tr>"
    )


def _table(view: _View, ranked: Sequence[Standing]) -> str:
    if not ranked:
        return "<h2>排名</h2><p>本月没有达到样本要求的对象，不排名。</p>"
    ties = Counter(one.rank for one in view.month.standings)
    head = ["名次", LEVEL_NAMES[view.month.level], "得分", *(RATE_NAMES[rate] for rate in SHOWN), "扣分事项", "已问到"]
    rows = [_row(view, one, tied=ties[one.rank] > 1) for one in ranked]
    caption = "百分比右侧小字为该项指标的名次；下方为分子/分母，点击数字打开背后的案件；横条为95%区间（Wilson）。"
    return f"<h2>排名</h2>{table(head, rows, caption, name=1)}"


def _row(view: _View, one: Standing, *, tied: bool) -> str:
    line = view.comparison.lines[one.name]
    trend: dict[str, Any] = line["trend"] or {}
    words = "连续三期末位" if one.name in view.warned else "末位10%" if line["last_tenth"] else ""
    marks = f'<span class="mark">{words}</span>' if words else ""
    points = "　".join(
        f"{COUNT_NAMES[count]} {view.number(one, count)}" for count in POINTS if getattr(one.counts, count)
    )
    rates = "".join(
        f"<td>{percent(one.counts, rate)}<sup>{line['race'][rate] or ''}</sup>{_sides(view, one, rate)}</td>"
        for rate in SHOWN
    )
    return (
        f'<tr><td class="rank"><strong>{one.rank}</strong>{"<sup>并列</sup>" if tied else ""}'
        f"<small>{moved(trend.get('places'))}</small></td>"
        f'<td class="name">{view.link(one)}{marks}</td>'
        f'<td class="score"><strong>{one.score}</strong><small>{signed(trend.get("score_change"))}</small></td>'
        f"{rates}<td>{points or '—'}</td><td>{view.number(one, 'asked')}</td></tr>"
    )


def _sides(view: _View, one: Standing, rate: str) -> str:
    above, below = sides(one.counts, rate)
    if not below:
        return ""
    if rate == "on_time":  # what it lost can be opened, and what it is a part of
        shown = f"超期 {view.number(one, 'late')}/{view.number(one, 'completed')}"
    else:
        shown = f"{view.number(one, RATES[rate][0])}/{view.number(one, RATES[rate][1])}"
    return f"<small>{shown}{strip(above, below) if rate in WITH_INTERVAL else ''}</small>"


def _small(view: _View, small: Sequence[Standing]) -> str:
    if not small:
        return ""
    rows = [
        f'<tr><td class="name">{view.link(one)}<span class="mark few">样本不足</span></td>'
        f"<td>{view.number(one, 'asked')}</td>"
        + "".join(
            f"<td>{percent(one.counts, rate)}{_sides(view, one, rate)}</td><td>{interval(one.counts, rate)}</td>"
            for rate in ("solution", "satisfaction")
        )
        + "</tr>"
        for one in sorted(small, key=lambda one: (-one.counts.asked, one.name))
    ]
    least = view.month.formula.min_asked
    head = [LEVEL_NAMES[view.month.level], "已问到", "解决率", "95%区间", "满意率", "95%区间"]
    return f"<h2>样本不足、不参加排名 <small>问到市民少于 {least} 人次，只列不排</small></h2>{table(head, rows)}"


def _method(month: Month) -> str:
    digest = (
        f"<p>快照摘要 SHA-256 <code>{month.published.digest}</code>，日志位置 {month.published.position:,}；"
        f'任何人可据事件日志重算（<a href="/v1/evaluations/{month.period}/snapshot">快照</a>）。</p>'
        if month.published
        else ""
    )
    names = "，".join(f"{name} = {called(name)}" for name in month.formula.names)
    return (
        f"<footer><p>得分公式（{escape(month.formula.version)}）：<code>{escape(month.formula.expression)}</code></p>"
        f"<p>其中 {names}。得分不低于 0；得分相同名次并列。</p>"
        "<p>问到 = 回访到人（含拒答）或已评价；问不到和过期的不计入任何率，剔除的评价分子分母都不计。"
        "区间重叠较多时，名次的差别可能只是偶然。已发布的月份：发布之后才确定的事实不改数字，在其后的通报中更正。</p>"
        f"{digest}</footer>"
    )
