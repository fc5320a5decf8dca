"""The cases behind one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse

from services.evaluate.domain import Level
from services.evaluate.pages.frame import framed, month_name, portrait_of, table
from services.evaluate.words import COUNT_NAMES

_ANSWERS = ("contacted", "solved", "satisfied")


def cases_page(
    period: str, level: Level, name: str, shown: str, count: str, rows: Sequence[Mapping[str, Any]], next_: str | None
) -> HTMLResponse:
    """A page of `rows` (`services.evaluate.cases.behind`); `shown` is what the line `name` of the level is called."""
    title = f"{shown}　{month_name(period)}　{COUNT_NAMES[count]}"
    who = portrait_of(name, period, "单位画像") if level is Level.UNIT else ""
    back = f'<a href="/v1/rankings/{period}?level={level.value}">← 返回排名</a>{who}'
    head = ["工单", "诉求", "事项", "标签", "反馈办结时间", "已联系", "已解决", "满意", "备注"]
    listed = table(head, map(_row, rows)) if rows else "<p>没有案件。</p>"
    query = {"unit": name, "level": level.value, "count": count, "limit": "200", "after": next_ or ""}
    more = f'<p><a href="?{escape(urlencode(query))}">下一页 →</a></p>' if next_ else ""
    line = "已发布的月份：发布之后才确定的事实，随其后一次发布在此更正。"
    return framed(title, line, back, f"{listed}{more}")


def _row(row: Mapping[str, Any]) -> str:
    marks = set(row["marks"])
    notes = [words for mark, words in (("second_handled", "二次办理"), ("excluded", "已剔除")) if mark in marks]
    if row["sequence"] is not None:
        notes.append(f"工单第 {row['sequence']} 步")
    answers = "".join(f"<td>{_answer(mark in marks, asked='asked' in marks)}</td>" for mark in _ANSWERS)
    closed = (row["closed_at"] or "").replace("T", " ")[:16]
    texts = [row["work_order_id"], row["appeal_id"], row["matter"], row["tag"], closed]
    cells = "".join(f"<td>{escape(text or '—')}</td>" for text in texts[1:])
    return f'<tr><td class="name">{escape(texts[0])}</td>{cells}{answers}<td>{"、".join(notes)}</td></tr>'


def _answer(yes: bool, *, asked: bool) -> str:
    if yes:
        return '<span class="up">是</span>'
    return '<span class="down">否</span>' if asked else "—"
