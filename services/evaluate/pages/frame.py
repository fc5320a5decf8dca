"""What all pages share: the look, the head, links, the small drawings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse

from services.evaluate.domain import RATES, Counts, Level, before, later, quotient, rounded, sides, wilson
from services.evaluate.words import LEVEL_NAMES
from shared.http.html import page

_STYLE: Final = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def framed(title: str, line: str, nav: str, body: str) -> HTMLResponse:
    """A page: `line` stands below the title, `nav` beside it; both are HTML."""
    head = f'<header><div class="row"><div><h1>{escape(title)}</h1><p>{line}</p></div><nav>{nav}</nav></div></header>'
    return page(title, _STYLE, f"{head}\n<main>\n{body}\n</main>")


def month_name(period: str) -> str:
    """2026年10月."""
    return f"{period[:4]}年{int(period[5:])}月"


def tabs(period: str, chosen: Level | None) -> str:
    """The rankings of all levels, and beside them the incentives (`chosen` None)."""
    places = [(level, f"/v1/rankings/{period}?level={level.value}", words) for level, words in LEVEL_NAMES.items()]
    shown = "".join(
        f"<b>{words}</b>" if place is chosen else f'<a href="{address}">{words}</a>'
        for place, address, words in [*places, (None, f"/v1/evaluations/{period}/incentives", "标签激励")]
    )
    return (
        f'<nav class="tabs" aria-label="层级">{shown}<span><a href="/v1/bulletins/{period}?format=pdf">通报 PDF</a>'
        f'<a href="/v1/evaluations/{period}/signs">异常提示</a></span></nav>'
    )


def state_of(published: Mapping[str, Any] | None) -> str:
    """Published when and by which formula, or a draft; HTML."""
    if published is None:
        return '<span class="draft">草稿</span>本月尚未发布，数字随时变化'
    return (
        f"{escape(published['published_at'][:10])} 发布　公式 {escape(published['formula'])}　"
        f"摘要 {escape(published['digest'][:16])}…　日志位置 {published['position']:,}"
    )


def months_around(period: str, address: Callable[[str], str]) -> str:
    """Links to the month before and the next one; `address` is that of a month."""
    return "".join(
        f'<a href="{escape(address(month))}">{words}</a>'
        for month, words in ((before(period), "← 上月"), (later(period), "下月 →"))
    )


def count_of(name: str) -> str:
    """The count whose cases stand behind a rate or count: those above the line, and the late orders behind the rate of
    those in time, because they are what it lost."""
    if name not in RATES:
        return name
    return "late" if name == "on_time" else RATES[name][0]


def opening(period: str, level: Level, name: str, count: str, shown: object) -> str:
    """A number that opens the cases behind it."""
    query = {"unit": name, "count": count} | ({} if level is Level.UNIT else {"level": level.value})
    return f'<a href="/v1/evaluations/{period}/cases?{escape(urlencode(query))}">{shown}</a>'


def portrait_at(unit: str, period: str) -> str:
    """The address of a unit's portrait."""
    return f"/v1/portraits/{quote(unit, safe='')}?period={period}"


def portrait_of(unit: str, period: str, shown: str) -> str:
    """A unit's name that opens its portrait."""
    return f'<a href="{portrait_at(unit, period)}">{shown}</a>'


def percent(counts: Counts, rate: str) -> str:
    """96.3% or a dash."""
    value = quotient(counts, rate)
    return "—" if value is None else f"{rounded(value * 100, 1)}%"


def interval(counts: Counts, rate: str) -> str:
    """The 95 % interval in words, a dash without one."""
    found = wilson(*sides(counts, rate))
    return "—" if found is None else f"{float(found[0]) * 100:.1f}–{float(found[1]) * 100:.1f}%"


def strip(numerator: int, denominator: int, other: float | None = None) -> str:
    """The interval as a drawing from 0 to 100 %: the range, the rate itself, and that of all others as a ring."""
    found = wilson(numerator, denominator)
    if found is None:
        return ""
    low, high, at = (2 + 70 * float(value) for value in (*found, numerator / denominator))
    ring = "" if other is None else f'<circle class="other" cx="{2 + 70 * other:.0f}" cy="4" r="3"/>'
    return (
        '<svg width="74" height="8" aria-hidden="true"><path class="all" d="M2 4H72"/>'
        f'<path class="range" d="M{low:.0f} 4H{high:.0f}"/>'
        f'<circle class="at" cx="{at:.0f}" cy="4" r="2.5"/>{ring}</svg>'
    )


def moved(places: int | None) -> str:
    """Places won or lost since the month before."""
    if places is None:
        return "上月未排"
    if places == 0:
        return "—"
    return f'<span class="up">▲ {places}</span>' if places > 0 else f'<span class="down">▼ {-places}</span>'


def signed(value: float | Decimal | None, unit: str = "") -> str:
    """+1.20, coloured."""
    if value is None:
        return ""
    if round(value, 2) == 0:
        return f"±0{unit}"
    kind = "up" if value > 0 else "down"
    return f'<span class="{kind}">{value:+.2f}{unit}</span>'


def table(head: Sequence[str], rows: Iterable[str], caption: str = "", *, name: int = 0) -> str:
    """`head` are texts, `name` the column that is set left; `rows` are `<tr>`s."""
    cells = "".join(
        f'<th scope="col"{" class=name" if column == name else ""}>{words}</th>' for column, words in enumerate(head)
    )
    told = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{told}<thead><tr>{cells}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
