"""A unit's portrait: strong and weak beside all others, by rate, matter and tag; its months; what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

from services.evaluate.domain import RATES, Level
from services.evaluate.pages.frame import (
    count_of,
    framed,
    month_name,
    months_around,
    opening,
    portrait_at,
    signed,
    strip,
    table,
)
from services.evaluate.words import RATE_NAMES, called

_MARKS = {
    "strong": '<span class="mark good">强项</span>',
    "weak": '<span class="mark">弱项</span>',
    None: "",
}
_HEAD = ["本单位", "其他单位", "95%区间", "分子/分母", "样本与比较"]


def portrait_page(found: Mapping[str, Any]) -> HTMLResponse:
    """The page of what `GET /v1/portraits/{unit}` answers."""
    period, unit = found["period"], found["unit"]
    warned = "".join(
        f'<p><span class="mark">专项督办</span> {"、".join(warning["periods"])} 连续三期排名末位10%（名次'
        f" {'、'.join(map(str, warning['ranks']))}）</p>"
        for warning in found["warnings"]
    )
    parts = [
        warned,
        f"<p>强项：{_names(found['strengths'])}　弱项：{_names(found['weaknesses'])}　"
        '<span class="soft">与其他单位的差别超出95%区间的才标出，其余可能只是偶然。</span></p>',
        '<div class="sides"><section>' + _months(found["months"]) + "</section><section>",
        _changed(period, unit, found["changed"]) + "</section></div>",
        "<h2>各项指标</h2>" + table(["指标", *_HEAD], [_rate(period, unit, one) for one in found["rates"]]),
        "<h2>主要事项 <small>解决率</small></h2>"
        + table(["事项", "办结", "上月", *_HEAD], [_group(one, one["matter"]) for one in found["matters"]]),
        "<h2>标签画像 <small>解决率；一件诉求可有几个标签</small></h2>"
        + table(["标签", "办结", "上月", *_HEAD], [_group(one, one["name"] or one["tag"]) for one in found["tags"]]),
        "<footer><p>环形标记为其他单位合计；▲▼ 为与本单位上月的差别超出95%区间；"
        "口径见 docs/evaluation.md。</p></footer>",
    ]
    nav = f'<a href="/v1/rankings/{period}">← 返回排名</a>' + months_around(
        period, lambda other: portrait_at(unit, other)
    )
    title = f"{found['name'] or unit}　{month_name(period)}画像"
    return framed(title, f"单位代码 {escape(unit)}", nav, "\n".join(parts))


def _names(rates: Sequence[str]) -> str:
    return "、".join(RATE_NAMES[rate] for rate in rates) or "无"


def _months(months: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f'<tr><td class="name">{month_name(one["period"])}{"" if one["published"] else "（草稿）"}</td>'
        f"<td>{'—' if one['score'] is None else format(one['score'], '.2f')}</td>"
        f"<td>{one['rank'] or '不排名'} / {one['ranked']}</td><td>{one['asked']:,}</td></tr>"
        for one in months
    ]
    return f"<h2>近{len(months)}个月</h2>{_line(months)}{table(['月份', '得分', '名次', '已问到'], rows)}"


def _line(months: Sequence[Mapping[str, Any]]) -> str:
    """The scores as a line from 0 to 100."""
    points = [
        (30 + 560 * place / max(1, len(months) - 1), 86 - 0.76 * one["score"])
        for place, one in enumerate(months)
        if one["score"] is not None
    ]
    if len(points) < 2:
        return ""
    dots = "".join(f'<circle class="at" cx="{x:.0f}" cy="{y:.0f}" r="3"/>' for x, y in points)
    path = " ".join(f"{'L' if place else 'M'}{x:.0f} {y:.0f}" for place, (x, y) in enumerate(points))
    scale = "".join(
        f'<path class="all" d="M26 {86 - 0.76 * at:.0f}H600"/><text x="0" y="{90 - 0.76 * at:.0f}">{at}</text>'
        for at in (0, 50, 100)
    )
    line = f'{scale}<path class="line" d="{path}"/>{dots}'
    return f'<svg width="604" height="96" role="img" aria-label="得分走势">{line}</svg>'


def _changed(period: str, unit: str, changed: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f'<tr><td class="name">{called(one["name"])}</td><td>{signed(one["points"])}</td><td>'
        f"{opening(period, Level.UNIT, unit, count_of(one['name']), '打开案件')}</td></tr>"
        for one in changed
    ]
    told = table(["指标", "对得分的影响", "案件"], rows) if rows else "<p>没有可比的上月，或各项没有变化。</p>"
    return f"<h2>与上月相比</h2>{told}"


def _rate(period: str, unit: str, one: Mapping[str, Any]) -> str:
    upper, lower = RATES[one["rate"]]
    above = (
        f"{one['numerator']:,}"
        if one["rate"] == "on_time"
        else opening(period, Level.UNIT, unit, upper, f"{one['numerator']:,}")
    )
    below = opening(period, Level.UNIT, unit, lower, f"{one['denominator']:,}")
    name = RATE_NAMES[one["rate"]] + _MARKS[one["mark"]]
    return f'<tr><td class="name">{name}</td>{_beside(one, f"{above}/{below}")}</tr>'


def _group(one: Mapping[str, Any], words: str) -> str:
    sides = f"{one['numerator']:,}/{one['denominator']:,}"
    name = escape(words) + _MARKS[one["mark"]]
    return f'<tr><td class="name">{name}</td><td>{one["closed"]:,}</td>{_before(one)}{_beside(one, sides)}</tr>'


def _before(one: Mapping[str, Any]) -> str:
    """The rate of the month before, with a mark when what changed is hardly chance."""
    mark = {"better": '<span class="up">▲</span> ', "worse": '<span class="down">▼</span> ', None: ""}[one["changed"]]
    return f"<td>{mark}{_percent(one['before'])}</td>"


def _beside(one: Mapping[str, Any], sides: str) -> str:
    interval = one["interval"]
    between = "—" if interval is None else f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}%"
    return (
        f"<td><b>{_percent(one['value'])}</b></td><td>{_percent(one['others'])}</td><td>{between}</td>"
        f"<td>{sides}</td><td>{strip(one['numerator'], one['denominator'], one['others'])}</td>"
    )


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:.1f}%"
