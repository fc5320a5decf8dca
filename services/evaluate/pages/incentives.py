"""Incentives: tag accuracy beside handling efficiency."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fastapi.responses import HTMLResponse

from services.evaluate.domain import RATES, Level, sides
from services.evaluate.formula import Formula
from services.evaluate.months import Month
from services.evaluate.pages.frame import (
    framed,
    month_name,
    months_around,
    opening,
    percent,
    portrait_of,
    state_of,
    strip,
    table,
    tabs,
)
from services.evaluate.standings import Standing
from services.evaluate.words import RATE_NAMES, called

_ALWAYS = ("tag_accuracy", "tag_coverage", "on_time", "solution")


def incentives_page(place: str, month: Month, formula: Formula, seen: Sequence[Standing]) -> HTMLResponse:
    """The page of a month; `seen` are the lines that the caller may see, best first."""
    rates = [*_ALWAYS, *(name for name in formula.names if name in RATES and name not in _ALWAYS)]
    head = ["名次", "单位", "激励分", *(RATE_NAMES[rate] for rate in rates), "已问到"]
    rows = [_row(month, formula, rates, one) for one in seen]
    names = "，".join(f"{name} = {called(name)}" for name in formula.names)
    method = (
        f"<footer><p>激励公式（{escape(formula.version)}）：<code>{escape(formula.expression)}</code>，"
        f"其中 {names}。</p>"
        "<p>标签准确率 = 首次人工复核时，机器已打且复核人保留的标签 ÷（已打或复核人认为应有的标签）。"
        "激励分只用于评优，不影响排名得分；只评单位，不评个人。"
        f"问到市民或经复核标签少于 {formula.min_asked} 的，只列不排。</p></footer>"
    )
    body = f"{tabs(month.period, None)}{table(head, rows, name=1)}{method}"
    title = f"{place} 12345 热线　{month_name(month.period)}标签激励"
    published = None if month.published is None else month.published.facts()
    nav = months_around(month.period, lambda other: f"/v1/evaluations/{other}/incentives")
    return framed(title, state_of(published), nav, body)


def _row(month: Month, formula: Formula, rates: Sequence[str], one: Standing) -> str:
    name = escape(month.names.get(one.name, ("", ""))[0] or one.name)
    few = "" if formula.ranks(one.counts) else '<span class="mark few">样本不足</span>'
    cells = []
    for rate in rates:
        above, below = sides(one.counts, rate)
        upper, lower = RATES[rate]
        words = f"{above:,}" if rate == "on_time" else _opens(month, one, upper, above)
        shown = f"<small>{words}/{_opens(month, one, lower, below)}{strip(above, below)}</small>" if below else ""
        cells.append(f"<td>{percent(one.counts, rate)}{shown}</td>")
    return (
        f'<tr><td class="rank"><strong>{one.rank or "—"}</strong></td>'
        f'<td class="name">{portrait_of(one.name, month.period, name)}{few}</td>'
        f'<td class="score"><strong>{"—" if one.score is None else one.score}</strong></td>{"".join(cells)}'
        f"<td>{_opens(month, one, 'asked', one.counts.asked)}</td></tr>"
    )


def _opens(month: Month, one: Standing, count: str, number: int) -> str:
    return opening(month.period, Level.UNIT, one.name, count, f"{number:,}") if number else "0"
